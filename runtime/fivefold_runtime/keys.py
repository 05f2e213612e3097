"""Development keys and tokens: an Ed25519 key on disk, its JWKS, and tokens signed with it.

For a laptop and for tests; an installation trusts its OIDC issuer instead. `fivefold token` is this module on the
command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

KEY = "signing-key.pem"
JWKS = "jwks.json"


def make_key(folder: str | Path) -> Path:
    """Makes a signing key and its JWKS in `folder` unless they are there, and returns the path of the JWKS.

    The key is readable by its owner only, from its first byte on.
    """
    import jwt
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (root / KEY).exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        _write_private(root / KEY, pem)
    public = _load(root / KEY).public_key()
    jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(public))
    jwk |= {"kid": _key_id(jwk["x"]), "alg": "EdDSA", "use": "sig"}
    text = json.dumps({"keys": [jwk]}, indent=1).encode()
    if not (root / JWKS).exists() or (root / JWKS).read_bytes() != text:
        _write_private(root / JWKS, text)
    return root / JWKS


def sign_token(
    folder: str | Path,
    subject: str,
    groups: Iterable[str] = (),
    *,
    audience: str = "fivefold",
    lifetime: timedelta = timedelta(hours=12),
    issuer: str = "",
    now: datetime | None = None,
) -> str:
    """Returns a token signed with the key of `make_key(folder)`. Raises FileNotFoundError when there is none."""
    import jwt

    key = _load(Path(folder) / KEY)
    jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
    issued = now or datetime.now(UTC)
    claims = {"sub": subject, "groups": sorted(groups), "aud": audience, "iat": issued, "exp": issued + lifetime}
    if issuer:
        claims["iss"] = issuer
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": _key_id(jwk["x"])})


def _load(path: Path):  # type: ignore[no-untyped-def]
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(path.read_bytes(), None)


def _key_id(public: str) -> str:
    """The RFC 7638 thumbprint would do as well; the start of the public key is shorter to read in a log."""
    return public[:16]


def _write_private(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
