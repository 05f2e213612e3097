"""The repository as these tests see it: distributions, their modules and what each module imports."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("tracking", "features", "registry", "automl", "serving")
SOURCES = {
    "fivefold": ROOT / "clients/python",
    "fivefold_mlflow": ROOT / "clients/mlflow",
    "fivefold_runtime": ROOT / "runtime",
    **{f"fivefold_{service}": ROOT / "services" / service for service in SERVICES},
}


@dataclass(frozen=True)
class Module:
    """One hand-written module."""

    name: str  # fivefold_registry.store.rows
    path: Path
    tree: ast.Module

    @property
    def lines(self) -> int:
        return self.path.read_text().count("\n")

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))

    def imports(self) -> Iterator[str]:
        """Every imported module, wherever in the file, relative ones resolved; `from a import b` gives a and a.b."""
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*up, *([node.module] if node.module else [])])
                yield base
                yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def modules(package: str) -> tuple[Module, ...]:
    """All modules of one of our import packages; generated stubs are left out."""
    base = SOURCES[package]
    found = []
    for path in sorted((base / package).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        if package == "fivefold" and (base / package / parts[1] / "v1").is_dir():
            continue
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, ast.parse(path.read_text(), str(path))))
    return tuple(found)


def all_modules() -> tuple[Module, ...]:
    return tuple(module for package in SOURCES for module in modules(package))
