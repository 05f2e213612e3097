"""Plans of versions on disk: made once by the compiler's child, then taken again as long as they are what was written.

    HOME/package/…      the version's verified files
    HOME/plan-KEY/…     its plan, and `digests.json` over the plan's files; KEY names the learners' versions

A plan holds numbers and texts only. It is checked against its digests, and its answers against the native ones that lie
beside it, each time it is taken; a restart costs milliseconds instead of seconds.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fivefold_serving import check, isolation, plan

log = logging.getLogger(__name__)

_DIGESTS = "digests.json"
_COMPILE_SECONDS = 300
_LEARNERS = ("fivefold-serving", "numpy", "scikit-learn", "skops", "lightgbm", "xgboost", "xgboost-cpu")


class CompilerRefused(Exception):
    """The package can be served in no way; the message says why."""


def planned(home: Path) -> Path:
    """Returns the folder of a version's plan; compiles the package where there is none yet. Raises CompilerRefused."""
    folder = home / f"plan-{_key()}"
    if not _whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=".plan-", dir=home))
        try:
            _compile(home / "package", partial)
            (partial / _DIGESTS).write_text(json.dumps(_digests(partial)), encoding="utf-8")
            if not folder.exists():
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def _key() -> str:
    found = []
    for name in _LEARNERS:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return hashlib.sha256(f"{plan.FORMAT} {found}".encode()).hexdigest()[:16]


def _whole(folder: Path) -> bool:
    """Says whether a plan's files are those that the compiler wrote."""
    try:
        stated = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
        return bool(stated) and stated == _digests(folder)
    except (OSError, ValueError):
        return False


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.name != _DIGESTS)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _compile(package: Path, out: Path) -> None:
    """Runs the compiler's child. Raises CompilerRefused."""
    child = isolation.start(
        "fivefold_serving.compile", str(package), str(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        said, failed = child.communicate(timeout=_COMPILE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise CompilerRefused(f"the model did not load within {_COMPILE_SECONDS} seconds") from None
    if child.returncode == check.REFUSED:
        raise CompilerRefused(said.decode("utf-8", "replace").strip()[:500] or "the package is refused")
    if child.returncode:
        last = failed.decode("utf-8", "replace")[-2000:]
        log.error("compiler failed", extra={"exit": child.returncode, "stderr": last})
        raise CompilerRefused("the model's library failed when it loaded the model")
