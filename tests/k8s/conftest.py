"""Renders each overlay once, exactly as `kubectl apply -k` would."""

import shutil
import subprocess

import pytest
import yaml

from tests.k8s.manifests import ROOT, Overlay


@pytest.fixture(scope="session", params=["embedded", "production"])
def overlay(request: pytest.FixtureRequest) -> Overlay:
    kubectl = shutil.which("kubectl") or str(ROOT / ".venv/bin/kubectl")
    folder = ROOT / "k8s/overlays" / request.param
    rendered = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert rendered.returncode == 0, rendered.stderr
    return Overlay(request.param, rendered.stdout, [item for item in yaml.safe_load_all(rendered.stdout) if item])
