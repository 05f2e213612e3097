"""A server's data folder: made private, and owned by one server at a time through a lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from fivefold_runtime.settings import StartError


class DataFolder:
    """Holds the lock of a data folder from `take` to `release`."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._handle: int | None = None

    def take(self) -> None:
        """Makes the folder if need be and locks it. Raises StartError: in use, not writable, disk full."""
        lock = self.path / "lock"
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(
                f"cannot use the data folder {self.path}: {error.strerror}. Choose another with --data."
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "another server"
            os.close(handle)
            raise StartError(
                f"the data folder {self.path} is in use by process {owner}. Stop it, or choose another with --data."
            ) from None
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            os.close(handle)
            raise StartError(f"cannot write into the data folder {self.path}: {error.strerror}.") from None
        self._handle = handle

    def release(self) -> None:
        """Gives the folder up. The lock file stays: removing it would let two servers each lock a file of that name."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
