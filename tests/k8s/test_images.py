"""Each service's Dockerfile makes the image that the manifests run."""

import re
from importlib import import_module

import pytest

from tests.k8s.manifests import ROOT, SERVICES, Overlay


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_starts_its_service_as_the_user_of_its_pod(overlay: Overlay, service: str) -> None:
    last = dockerfile(service)[-1]
    pod = overlay.named("Deployment", service)["spec"]["template"]["spec"]
    user = pod["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in last  # a number: runAsNonRoot refuses names
    assert f'ENTRYPOINT ["python", "-m", "fivefold_{service}"]' in last
    config = import_module(f"fivefold_{service}.__main__").Config
    assert f"EXPOSE {config().listen.rpartition(':')[2]}" in last


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_takes_its_own_hashed_requirements_and_only_its_own_service(service: str) -> None:
    first = "\n".join(dockerfile(service)[0])
    copied = {source for line in re.findall(r"^COPY (.+)$", first, re.MULTILINE) for source in line.split()[:-1]}
    assert {path for path in copied if path.startswith("services/")} == {f"services/{service}"}
    assert {path for path in copied if path.startswith("requirements/")} == {
        "requirements/build.txt",
        f"requirements/{service}.txt",
    }
    assert all((ROOT / path).exists() for path in copied), copied
    for install in re.findall(r"pip install (.+)$", first, re.MULTILINE):
        assert "--require-hashes" in install or "--no-deps" in install, install


def dockerfile(service: str) -> list[list[str]]:
    """The lines of each stage."""
    text = (ROOT / f"services/{service}/Dockerfile").read_text()
    return [stage.splitlines() for stage in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]]
