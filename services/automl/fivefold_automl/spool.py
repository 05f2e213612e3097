"""Model packages that wait to be uploaded, a folder per trial below the service's data folder.

Written before the trial is journalled as finished, removed when tracking has them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from fivefold_automl.names import TrialName


class Spool:
    """Folders of packages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: TrialName, files: Mapping[str, bytes]) -> None:
        """Writes a trial's files durably; replaces what an interrupted attempt left."""
        folder = self._of(name)
        partial = folder.with_name(f".{name.number}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in files.items():
            target = partial / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as file:
                file.write(content)
                os.fsync(file.fileno())
        partial.rename(folder)

    def get(self, name: TrialName) -> dict[str, bytes]:
        """Returns a trial's files by relative path; none when they were uploaded before."""
        folder = self._of(name)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def drop(self, name: TrialName) -> None:
        """Removes a trial's files."""
        shutil.rmtree(self._of(name), ignore_errors=True)

    def drop_job(self, job: str) -> None:
        """Removes what is left of a job."""
        shutil.rmtree(self._folder / job, ignore_errors=True)

    def _of(self, name: TrialName) -> Path:
        return self._folder / name.job / str(name.number)
