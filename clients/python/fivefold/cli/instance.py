"""What `fivefold up --data DIR` keeps in DIR: a lock, state.json (who runs where), logs, keys, a folder per service.

The supervisor owns the lock and state.json; the others only read.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fivefold.cli import processes
from fivefold.cli.failures import Failure

DEFAULT = "fivefold-data"
_LEAST_BYTES = 100_000_000  # free at a start


@dataclass(frozen=True, slots=True)
class Member:
    """One service's process: pid, when it started (see processes.started), and its port."""

    service: str
    pid: int
    started: str
    port: int

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def is_alive(self) -> bool:
        """Says whether this very process runs."""
        return processes.is_alive(self.pid, self.started)


@dataclass(frozen=True, slots=True)
class Instance:
    """A running installation: its supervisor, its base port, whether it wants tokens, and its services."""

    pid: int
    started: str
    base: int
    auth: bool
    members: tuple[Member, ...]

    def is_supervised(self) -> bool:
        """Says whether its supervisor runs."""
        return processes.is_alive(self.pid, self.started)

    def left_over(self) -> list[Member]:
        """Lists services that run without their supervisor."""
        return [] if self.is_supervised() else [member for member in self.members if member.is_alive()]


class Folder:
    """The data folder of an installation."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self._lock: int | None = None

    def log(self, service: str) -> Path:
        """Returns where a service's log is."""
        return self.path / "logs" / f"{service}.log"

    @property
    def keys(self) -> Path:
        """Where keys and the services' tokens are."""
        return self.path / "keys"

    def token_file(self, service: str) -> Path:
        """Returns where a service's own token is."""
        return self.keys / f"{service}.token"

    def free_bytes(self) -> int:
        """Returns the free space where the folder is, or will be."""
        there = next(folder for folder in (self.path, *self.path.parents) if folder.is_dir())
        return shutil.disk_usage(there).free

    def instance(self) -> Instance | None:
        """Returns what runs, or ran when it was killed; None when nothing does."""
        try:
            kept = json.loads((self.path / "state.json").read_text())
            members = tuple(Member(**member) for member in kept.pop("members"))
            return Instance(members=members, **kept)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, NotADirectoryError):
            raise Failure(
                f"{self.path / 'state.json'} is not a state of `fivefold up`", "choose another folder with --data"
            ) from None

    def write(self, instance: Instance) -> None:
        """Records what runs, in one step."""
        handle, name = tempfile.mkstemp(prefix=".state.", dir=self.path)
        with os.fdopen(handle, "w") as file:
            json.dump(dataclasses.asdict(instance), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, self.path / "state.json")

    def forget(self) -> None:
        """Records that nothing runs."""
        (self.path / "state.json").unlink(missing_ok=True)

    def refuse_if_full(self) -> None:
        """Raises Failure when there is too little space for a start: a service could not even log why it fails."""
        if self.free_bytes() < _LEAST_BYTES:
            free, least = self.free_bytes() / 1e6, _LEAST_BYTES / 1e6
            raise Failure(
                f"only {free:.0f} MB are free at {self.path}; a start needs {least:.0f} MB",
                "free some space, or choose another folder with --data",
            )

    def refuse_if_busy(self) -> None:
        """Raises Failure when another instance runs from this folder, or has left services behind. Changes nothing."""
        if not self.path.exists():
            return
        instance = self.instance()
        if instance is not None and instance.is_supervised():
            raise self._busy(instance)
        if instance is not None and instance.left_over():
            names = ", ".join(f"{member.service} (pid {member.pid})" for member in instance.left_over())
            raise Failure(
                f"services of a killed instance still run from {self.path}: {names}",
                f"stop them with `fivefold down --data {self.path}`",
            )

    def take(self) -> None:
        """Makes the folder and holds it until this process ends. Raises Failure: in use, not writable, disk full."""
        try:
            (self.path / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failure(
                f"cannot use the data folder {self.path}: {error.strerror}", "choose another with --data"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise self._busy(self.instance()) from None
        self._lock = lock

    def _busy(self, instance: Instance | None) -> Failure:
        who = f"an instance on port {instance.base} (pid {instance.pid})" if instance else "another instance"
        return Failure(
            f"the data folder {self.path} is in use by {who}",
            f"stop it with `fivefold down --data {self.path}`, or choose another with --data",
        )
