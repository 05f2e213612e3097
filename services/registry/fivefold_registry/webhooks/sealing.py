"""Seals webhooks' secrets for the database, with AES-256-GCM, when the operator gives a key.

A sealed secret is `v1:KEY:BASE64`, where KEY tells which of the file's keys opens it; without a key file it is
`plain:SECRET`, as safe as the database and its backups are. The webhook's id is bound in, so that a sealed secret copied
to another row does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from fivefold_runtime.settings import StartError

_NONCE = 12  # bytes
_KEY = 32  # bytes


class SealBroken(Exception):
    """The secret does not open with the keys of this server."""


class Seal:
    """Keys of this server, the first of which seals; all of them open."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = {_mark(key): key for key in keys}

    @classmethod
    def of(cls, path: str) -> Seal:
        """Reads a file with one key a line, 32 bytes in base64; "" is no file. Raises StartError."""
        if not path:
            return cls()
        try:
            lines = Path(path).read_text().split()
            keys = [base64.b64decode(line, validate=True) for line in lines]
        except OSError as error:
            raise StartError(
                f"--webhook-key-file {path} cannot be read: {error.strerror or 'it does not open'}."
            ) from None
        except (binascii.Error, ValueError):
            keys = []
        if not keys or any(len(key) != _KEY for key in keys):
            raise StartError(
                f"--webhook-key-file {path} must have keys of 32 bytes in base64, one a line; `openssl rand -base64 32` makes one."
            )
        return cls(keys)

    def close(self, webhook: str, secret: str) -> str:
        """Returns what may be stored of a secret; "" of ""."""
        if not secret:
            return ""
        if not self._keys:
            return f"plain:{secret}"
        mark, key = next(iter(self._keys.items()))
        nonce = os.urandom(_NONCE)
        sealed = nonce + _cipher(key).encrypt(nonce, secret.encode(), webhook.encode())
        return f"v1:{mark}:{base64.b64encode(sealed).decode()}"

    def open(self, webhook: str, stored: str) -> str:
        """Returns the secret of what was stored. Raises SealBroken, which does not repeat it."""
        kind, _, rest = stored.partition(":")
        if kind == "v1":
            return self._opened(webhook, rest)
        return rest

    def _opened(self, webhook: str, rest: str) -> str:
        from cryptography.exceptions import InvalidTag

        mark, _, text = rest.partition(":")
        if mark not in self._keys:
            raise SealBroken("the webhook's secret was sealed with a key that this server does not have")
        sealed = base64.b64decode(text)
        try:
            return _cipher(self._keys[mark]).decrypt(sealed[:_NONCE], sealed[_NONCE:], webhook.encode()).decode()
        except InvalidTag:
            raise SealBroken("the webhook's sealed secret is damaged") from None


def _mark(key: bytes) -> str:
    return hashlib.sha256(b"fivefold webhook key" + key).hexdigest()[:8]


def _cipher(key: bytes):  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 15 MB that a registry without secrets never needs

    return AESGCM(key)
