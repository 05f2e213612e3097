"""What `make setup` says where it cannot work: one line, and nothing is left that looks finished."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, SOURCES

pytestmark = pytest.mark.slow

OFFLINE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",  # the discard port: nobody answers
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_RETRIES": "0",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What set-up reads, in a folder of its own."""
    for folder in ("tools", "requirements", "protos"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for source in SOURCES.values():
        target = tmp_path / source.relative_to(ROOT)
        target.mkdir(parents=True)
        shutil.copy(source / "pyproject.toml", target)
    shutil.copy(ROOT / "clients/python/hatch_build.py", tmp_path / "clients/python")
    return tmp_path


def test_a_python_that_is_too_old_is_refused_in_one_line(checkout: Path) -> None:
    old = _script(checkout / "old-python", 'if [ "$1" = --version ]; then echo "Python 3.9.2"; else exit 1; fi')
    refused = _setup(checkout, PYTHON=str(old))
    assert refused.returncode == 1
    assert refused.stderr.startswith("set-up: needs Python 3.11 to 3.13, found Python 3.9.2;")
    assert refused.stderr.count("\n") == 1


def test_without_venv_and_pip_one_line_says_what_to_install(checkout: Path) -> None:
    refused = _setup(checkout, PYTHON=str(_bare(checkout, "ensurepip", "pip")))
    assert refused.returncode == 1
    assert refused.stderr.endswith("has neither venv nor pip; on Debian: apt-get install python3-venv\n")
    assert refused.stderr.count("\n") == 1
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("missing", ["nothing", "ensurepip"])
def test_without_a_network_one_line_says_so_and_the_next_run_begins_anew(checkout: Path, missing: str) -> None:
    refused = _setup(checkout, PYTHON=str(_bare(checkout, missing)), **OFFLINE)
    assert refused.returncode == 1
    assert "the package index does not answer" in refused.stderr, (checkout / ".venv/setup.log").read_text()
    assert refused.stderr.count("\n") == 1
    assert (checkout / ".venv/.unfinished").exists()
    assert not (checkout / ".venv/.fingerprint").exists()


def _setup(checkout: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **settings}
    script = checkout / "tools/setup.sh"
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)


def _bare(checkout: Path, *missing: str) -> Path:
    """A Python in which some modules cannot be imported."""
    shadows = checkout / "shadows"
    shadows.mkdir()
    for module in missing:
        (shadows / f"{module}.py").write_text("raise ImportError('not on this machine')\n")
    return _script(checkout / "bare-python", f'PYTHONPATH="{shadows}" exec "{sys.executable}" "$@"')


def _script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path
