"""Makes the gRPC stubs from the contracts, whenever this distribution is built or installed.

Reads  protos/ of the repository, or the copy that an sdist carries.
Writes fivefold/<package>/v1/*_pb2.py, *_pb2_grpc.py, their .pyi and __init__.py, each only when its content changes.
Fails  when protoc refuses a contract: its own message names file and line.

`python hatch_build.py` (that is `make protos`) does the same without building anything;
`python hatch_build.py FILE` writes the contracts, comments included, as one descriptor set for linters and tests.
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent


def contracts() -> Path:
    """Finds the folder of .proto files: beside this file in an sdist, else at the repository's root."""
    for folder in (HERE / "protos", HERE.parent.parent / "protos"):
        if (folder / "fivefold").is_dir():
            return folder
    raise SystemExit(f"no contracts: expected protos/fivefold in {HERE} or two folders above it")


def protoc(*arguments: str) -> None:
    """Runs protoc so that it finds Google's own contracts and the plugins installed beside this Python."""
    includes = [contracts(), _folder("grpc_tools") / "_proto", _folder("google.api").parent.parent]
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"-I{folder}" for folder in includes), *arguments]
    outcome = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    if outcome.returncode:
        raise SystemExit(f"protoc refused the contracts:\n{outcome.stderr}")


def _folder(package: str) -> Path:
    """Where a package, or a namespace without __init__.py such as google.api, is installed."""
    spec = find_spec(package)
    assert spec and spec.submodule_search_locations, f"{package} is not installed"
    return Path(next(iter(spec.submodule_search_locations)))


def sources() -> list[str]:
    """Names every contract, relative to the folder of contracts."""
    return sorted(str(path.relative_to(contracts())) for path in contracts().rglob("*.proto"))


def generate(target: Path) -> int:
    """Brings the stubs below `target` up to date with the contracts; returns how many files changed."""
    with tempfile.TemporaryDirectory() as scratch:
        kinds = ("python_out", "grpc_python_out", "mypy_out", "mypy_grpc_out")
        protoc(*(f"--{kind}={'quiet:' if 'mypy' in kind else ''}{scratch}" for kind in kinds), *sources())
        fresh = {path.relative_to(scratch): path.read_bytes() for path in Path(scratch).rglob("*_pb2*.py*")}
    # Tools that draw import graphs see a module only where every folder above it is a regular package.
    fresh |= {folder / "__init__.py": b"" for name in fresh for folder in (name.parent, name.parent.parent)}
    stale = {path.relative_to(target) for path in (target / "fivefold").glob("*/v1/*.py*")} - fresh.keys()
    changed = {name for name, content in fresh.items() if not _holds(target / name, content)}
    for name in stale:
        (target / name).unlink()
    for name in changed:
        _replace(target / name, fresh[name])
    return len(stale | changed)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _replace(path: Path, content: bytes) -> None:
    """Swaps the file in one step, so that a process that imports it meanwhile sees the old or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def describe(descriptors: str) -> None:
    """Writes a FileDescriptorSet of all contracts and what they import, with comments and positions."""
    protoc(f"--descriptor_set_out={descriptors}", "--include_imports", "--include_source_info", *sources())


class Stubs(BuildHookInterface):
    """Hatchling's entry: an sdist carries the contracts along, wheels and editable installs get the stubs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            build_data["force_include"][str(contracts())] = "protos"
        else:
            generate(HERE)


if __name__ == "__main__":
    if sys.argv[1:]:
        describe(sys.argv[1])
    else:
        print(f"stubs: {generate(HERE)} files changed")
