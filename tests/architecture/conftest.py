"""Compiles the contracts once, comments included."""

import subprocess
import sys

import pytest

from tests.architecture.contracts import Contracts
from tests.architecture.tree import ROOT


@pytest.fixture(scope="session")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Contracts:
    target = tmp_path_factory.mktemp("contracts") / "contracts.binpb"
    subprocess.run([sys.executable, ROOT / "clients/python/hatch_build.py", target], check=True)
    return Contracts(target.read_bytes())
