"""The locks: complete, hashed, and without a host, so that they work behind any mirror."""

import re
import tomllib

import pytest

from tests.architecture.tree import ROOT, SERVICES, SOURCES

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
COMPILED = [path for path in LOCKS if path.name != "overrides.txt"]


def test_every_distribution_that_is_deployed_alone_has_a_lock() -> None:
    assert {path.stem for path in COMPILED} == {"setup", "build", "client", "dev", *SERVICES}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_a_lock_names_no_host_and_no_path(lock) -> None:
    named = [
        line for line in lock.read_text().splitlines() if re.search(r"://|^-|--index|--find-links| @ |file:", line)
    ]
    assert not named, f"{lock.name}: {named}"


@pytest.mark.parametrize("lock", COMPILED, ids=lambda path: path.stem)
def test_every_requirement_in_a_lock_is_pinned_and_hashed(lock) -> None:
    requirements = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", lock.read_text())).strip().splitlines()
    loose = [line.split(" ")[0] for line in requirements if "==" not in line or "--hash=sha256:" not in line]
    assert requirements, f"{lock.name} is empty"
    assert not loose, f"{lock.name}: not pinned with a hash: {loose}"


@pytest.mark.parametrize("package", SOURCES)
def test_a_distributions_own_lock_holds_all_it_declares(package) -> None:
    """A dependency that was added to a pyproject.toml without `make lock` fails here, not in an image."""
    project = tomllib.loads((SOURCES[package] / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).items()
    declared = project["dependencies"] + [each for _, wanted in extras for each in wanted]
    names = {re.match(r"[A-Za-z0-9_.-]+", each)[0].lower().replace("_", "-") for each in declared}
    wanted = {name for name in names if not name.startswith("fivefold")} - {"xgboost"}
    stems = [package.removeprefix("fivefold_")] if package.removeprefix("fivefold_") in SERVICES else ["dev"]
    for stem in stems:
        locked = set(re.findall(r"(?m)^([A-Za-z0-9_.-]+)==", (ROOT / f"requirements/{stem}.txt").read_text()))
        assert not wanted - locked, f"requirements/{stem}.txt lacks {sorted(wanted - locked)}; run `make lock`"


def test_only_the_images_that_need_them_carry_the_heavy_packages() -> None:
    heavy = {
        "ray": {"automl"},
        "scikit-learn": {"automl", "serving"},
        "pandas": {"automl", "serving"},
        "polars": {"features"},
    }
    for package, allowed in heavy.items():
        having = {
            stem
            for stem in SERVICES
            if re.search(rf"(?m)^{package}==", (ROOT / f"requirements/{stem}.txt").read_text())
        }
        assert having == allowed, f"{package} is locked for {having}, expected {allowed}"
