"""What a distribution imports it declares: nothing rests on what another dependency happens to bring."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.architecture.tree import SOURCES, modules

SAME_MODULE = {"xgboost-cpu": "xgboost"}
PARTS_OF_A_NAMESPACE = {"google": {"protobuf", "googleapis-common-protos"}}


@pytest.mark.parametrize("package", SOURCES)
def test_a_distribution_declares_what_it_imports(package: str) -> None:
    allowed = _declared(package)
    if package not in ("fivefold", "fivefold_runtime"):
        allowed |= _declared("fivefold_runtime", extras=False) | _declared("fivefold", extras=False)
    providers = packages_distributions()
    undeclared = set()
    for module in modules(package):
        for top in {imported.partition(".")[0] for imported in module.imports()}:
            if top in sys.stdlib_module_names or top in SOURCES or not top:
                continue
            dists = PARTS_OF_A_NAMESPACE.get(top) or {_normal(name) for name in providers.get(top, [top])}
            if not allowed & {SAME_MODULE.get(dist, dist) for dist in dists}:
                undeclared.add(f"{module.where} imports {top}")
    assert not undeclared, f"{package.replace('_', '-')}'s pyproject.toml does not declare: {sorted(undeclared)}"


def _declared(package: str, *, extras: bool = True) -> set[str]:
    project = tomllib.loads((SOURCES[package] / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    if extras:
        wanted += [each for group in project.get("optional-dependencies", {}).values() for each in group]
    return {_normal(re.match(r"[A-Za-z0-9_.-]+", each)[0]) for each in wanted}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
