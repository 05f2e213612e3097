"""Where a run comes from: the source file or notebook, and the commit of its repository. Never a credential."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from fivefold.tracking.v1 import tracking_pb2 as pb

_GIT_SECONDS = 2.0
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*://", re.IGNORECASE)


def source() -> pb.Source:
    """Returns what this process runs: a notebook, a module, a script or a session; arguments are left out."""
    kind, name, entry, folder = _program()
    commit, repo = _commit(folder)
    return pb.Source(
        type=kind, name=name[-2000:], entry_point=entry[:250], git_commit=commit[:64], git_repo=repo[:2000]
    )


def user() -> str:
    """Returns the name of the user of this process, "" where it has none."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def without_credentials(url: str) -> str:
    """Returns a repository's URL without user, password, query and fragment; a path or host:path stays as it is."""
    scheme = _SCHEME.match(url)
    if not scheme:
        # git@host:path names a user that says nothing; user:secret@host:path is no form of git's, but may be there.
        return url.rpartition("@")[2] if "@" in url.partition("/")[0] else url
    host, slash, path = url[scheme.end() :].partition("/")
    return scheme.group() + host.rpartition("@")[2] + slash + re.split(r"[?#]", path, maxsplit=1)[0]


def _program() -> tuple[pb.SourceType.ValueType, str, str, str]:
    """Returns (type, name, entry point, folder)."""
    if "ipykernel" in sys.modules:
        name = os.environ.get("JPY_SESSION_NAME") or _of_notebook() or "notebook"
        return pb.SOURCE_TYPE_NOTEBOOK, name, "", os.getcwd()
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    if file is None:
        return pb.SOURCE_TYPE_LOCAL, "session", "", os.getcwd()
    path = Path(file).resolve()
    return pb.SOURCE_TYPE_LOCAL, str(path), spec.name if spec is not None else path.name, str(path.parent)


def _of_notebook() -> str:
    """Returns the notebook's path where its front end tells it, as VS Code does."""
    main = sys.modules.get("__main__")
    return str(getattr(main, "__vsc_ipynb_file__", ""))


@cache
def _commit(folder: str) -> tuple[str, str]:
    """Returns (commit, repository), "" for what is not known: no git, no repository, or a slow disk."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return "", ""
    remote = _git(folder, "config", "--get", "remote.origin.url")
    return commit, without_credentials(remote or _git(folder, "rev-parse", "--show-toplevel"))


def _git(folder: str, *arguments: str) -> str:
    try:
        outcome = subprocess.run(
            ["git", "-C", folder, *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return outcome.stdout.strip() if outcome.returncode == 0 else ""
