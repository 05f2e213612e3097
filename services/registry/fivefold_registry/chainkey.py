"""The key of the chain of activities: a setting, or a file that only this server's user can read."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from fivefold_registry.store.sql import Store
from fivefold_runtime.settings import StartError

_FILE = "activity.key"
_BYTES = 32


def chain_key(setting: str, folder: str) -> bytes:
    """Returns the key: from the setting, or of the data folder, where it is made if it is not there.

    Raises StartError for a file that holds no key.
    """
    if setting:
        return hashlib.sha256(setting.encode()).digest()
    path = Path(folder) / _FILE
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _make(path)
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except ValueError:
        key = b""
    if len(key) != _BYTES:
        raise StartError(f"{path} holds no key. Restore it from a backup.")
    return key


def _make(path: Path) -> None:
    """Writes a new key. It appears whole or not at all, also when the machine stops meanwhile."""
    unfinished = path.with_suffix(".new")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, secrets.token_bytes(_BYTES).hex().encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    unfinished.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Binding:
    """Binds the database to the key before the first call is taken. Background work of an App, done at its start."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self) -> None:
        """Raises StartError when the database belongs to another key."""
        self._store.audit.begin()

    def stop(self) -> None:
        pass
