"""Paths of artifacts: relative, of plain steps, and what lies above each. Nothing in them can leave its run.

Bytes are kept by content, under a key made of their digest alone, so no path ever reaches a file system.
"""

from __future__ import annotations

from fivefold_runtime.errors import AlreadyExists
from fivefold_runtime.names import check_path

TOP = ""  # the folder of a run's artifacts


class PathTaken(AlreadyExists):
    """A file is where a folder is needed, or a folder where a file is."""


def check_file(path: str, field: str = "path") -> str:
    """Returns the path of a file. Raises NameInvalid."""
    return check_path(path, field)


def check_folder(path: str, field: str = "path") -> str:
    """Returns the path of a folder, TOP included. Raises NameInvalid."""
    return path if path == TOP else check_path(path, field)


def parent(path: str) -> str:
    """Returns the folder that a path lies in: "a/b" of "a/b/c", TOP of "a"."""
    return path.rpartition("/")[0]


def folders(path: str) -> list[str]:
    """Returns the folders that a path lies in, outermost first, without TOP: ["a", "a/b"] of "a/b/c"."""
    steps = path.split("/")[:-1]
    return ["/".join(steps[: depth + 1]) for depth in range(len(steps))]


def content_key(sha256: str) -> str:
    """Returns the key under which bytes of a digest are kept: "ab/cd/abcd…"."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"
