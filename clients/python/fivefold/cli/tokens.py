"""Development keys and tokens in DIR/keys, made by the runtime library's own signer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from fivefold.cli.failures import Failure
from fivefold.cli.instance import Folder

LIFETIME_HOURS = 24.0  # of a service's own token
RENEW_SECONDS = 6 * 3600.0  # between two renewals of those


def make_keys(folder: Folder, services: Sequence[str]) -> None:
    """Makes the signing key unless it is there, and a fresh token for each service."""
    _signer().make_key(folder.keys)
    for service in services:
        group = f"fivefold:{service}"
        _write_private(folder.token_file(service), signed(folder, group, [group], LIFETIME_HOURS))


def signed(folder: Folder, subject: str, groups: Sequence[str], hours: float) -> str:
    """Returns a token. Raises Failure when the folder has no key."""
    try:
        token: str = _signer().sign_token(folder.keys, subject, groups, lifetime=timedelta(hours=hours))
        return token
    except FileNotFoundError:
        raise Failure(
            f"{folder.keys} has no signing key", f"`fivefold up --data {folder.path} --auth` makes one"
        ) from None


def _signer() -> Any:
    try:
        from fivefold_runtime import keys

        return keys
    except ImportError:
        raise Failure("tokens need the package fivefold-runtime", "pip install fivefold-runtime") from None


def _write_private(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
    os.replace(name, path)
