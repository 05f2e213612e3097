"""Makes the stubs of the notes service, and gives tests a running one."""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import pytest
from google.rpc import status_pb2
from grpc_tools import protoc

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

_stubs = tempfile.TemporaryDirectory(prefix="fivefold-notes-")


def _make_stubs() -> None:
    target = Path(_stubs.name) / "notes_stubs"
    target.mkdir()
    (target / "__init__.py").touch()
    code = protoc.main(
        [
            "protoc",
            f"-I{HERE / 'protos'}",
            f"-I{ROOT / 'protos'}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"-I{Path(status_pb2.__file__).parents[2]}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            "notes.proto",
        ]
    )
    assert code == 0
    grpc_stub = target / "notes_pb2_grpc.py"
    grpc_stub.write_text(grpc_stub.read_text().replace("import notes_pb2", "from notes_stubs import notes_pb2"))


_make_stubs()
sys.path[:0] = [_stubs.name, str(HERE)]

from fivefold_runtime.testing import postgres_server, postgres_url  # noqa: E402, F401


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return request.getfixturevalue("postgres_url")
