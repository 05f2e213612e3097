"""Who calls: bearer JWTs verified against a JWKS or PEM, signed asymmetrically only (EdDSA, ES256, RS256).

`exp` and `aud` are required, `sub` names the caller, `groups` lists their groups. A token is never logged and never
part of an error. Keys are read again when their file changes, or (from a URL) when a token names a key that is not
known yet.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fivefold_runtime.errors import Unauthenticated
from fivefold_runtime.principal import Principal
from fivefold_runtime.settings import ServerConfig, StartError

ALGORITHMS = ("EdDSA", "ES256", "RS256")
_LEEWAY = 30.0  # seconds that two machines' clocks may differ
_REFETCH = 10.0  # seconds between two reads of a JWKS URL at the least
_MAX_AGE = 3600.0  # seconds after which a JWKS URL is read again, so that a withdrawn key stops counting
_MAX_JWKS = 1 << 20  # bytes
_MAX_TOKEN = 16 * 1024  # bytes
_MAX_EMAIL = 254  # characters


class TokenMissing(Unauthenticated):
    """The call carries no bearer token."""

    reason = "TOKEN_MISSING"


class TokenInvalid(Unauthenticated):
    """The token is malformed, expired, for another audience or issuer, or signed by nobody we trust."""

    reason = "TOKEN_INVALID"


class Verifier:
    """Turns a call's metadata into a Principal. Safe for use by many threads."""

    def __init__(self, keys: str, *, audience: str, issuer: str = "", ca_file: str = "") -> None:
        """Reads the keys at once. Raises StartError when they cannot be read, or none can verify.

        keys     path of a JWKS (JSON) or of PEM public keys, or the https URL of a JWKS
        ca_file  PEM authorities trusted for that URL besides the system's
        """
        import jwt  # costs 15 MB (cryptography), so only a server that verifies tokens pays for it

        self._jwt = jwt
        self._audience = audience
        self._issuer = issuer or None
        self._source = _Url(keys, ca_file) if "://" in keys else _File(Path(keys))
        self._lock = threading.Lock()
        try:
            self._keys = self._parse(self._source.read())
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise StartError(
                f"cannot read the keys that verify tokens from {keys}: {_reason(error)}. Check --jwt-keys."
            ) from None
        if not self._keys:
            raise StartError(f"{keys} has no Ed25519, P-256 or RSA public key. Check --jwt-keys.")

    @classmethod
    def of(cls, config: ServerConfig) -> Verifier | None:
        """Returns the verifier that the settings ask for; None while authentication is off."""
        if config.auth == "off":
            return None
        return cls(config.jwt_keys, audience=config.jwt_audience, issuer=config.jwt_issuer, ca_file=config.tls_ca)

    def principal(self, metadata: Mapping[str, str | bytes]) -> Principal:
        """Returns who sent this metadata. Raises TokenMissing, TokenInvalid; neither repeats the token."""
        header = metadata.get("authorization", "")
        if not isinstance(header, str) or not header:
            raise TokenMissing("this server wants a token: send the metadata `authorization: Bearer TOKEN`")
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN:
            raise TokenInvalid("the metadata `authorization` is not of the form `Bearer TOKEN`")
        claims = self._claims(token)
        subject, groups = claims.get("sub"), claims.get("groups", [])
        if not isinstance(subject, str) or not subject or len(subject) > 256 or subject.startswith("group:"):
            raise TokenInvalid("the token's `sub` must be 1 to 256 characters that do not begin with group:")
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise TokenInvalid("the token's `groups` must be a list of texts")
        return Principal(subject, frozenset(groups), token, _email(claims))

    def _claims(self, token: str) -> dict[str, object]:
        jwt = self._jwt
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise TokenInvalid("the token is not a JWT") from None
        if header.get("alg") not in ALGORITHMS:
            raise TokenInvalid(f"the token is signed by an algorithm that is not one of {', '.join(ALGORITHMS)}")
        for key in self._candidates(header.get("kid"), header["alg"]):
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.algorithm_name],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=_LEEWAY,
                    options={"require": ["exp", "aud", "sub"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.ExpiredSignatureError:
                raise TokenInvalid("the token has expired; get a new one", why="expired") from None
            except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
                raise TokenInvalid("the token is for another audience or from another issuer", why="audience") from None
            except jwt.PyJWTError:
                raise TokenInvalid("the token lacks a claim or has a wrong one; it needs sub, exp and aud") from None
        raise TokenInvalid("the token is signed by no key that this server trusts", why="signature")

    def _candidates(self, kid: object, algorithm: str) -> list[Any]:
        """Returns the keys that may have signed. A key is only ever used with its own algorithm."""
        self._reload(force=False)
        keys = self._matching(kid, algorithm)
        if not keys:
            self._reload(force=True)
            keys = self._matching(kid, algorithm)
        return keys

    def _matching(self, kid: object, algorithm: str) -> list[Any]:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        named = [key for key in fitting if key.key_id is not None and key.key_id == kid]
        # A PEM file and a key without a name verify whatever the header says.
        return named or [key for key in fitting if key.key_id is None or kid is None]

    def _reload(self, *, force: bool) -> None:
        if not self._source.stale(force):
            return
        with self._lock:
            if not self._source.stale(force):
                return
            try:
                keys = self._parse(self._source.read())
            except (OSError, ValueError, self._jwt.PyJWTError):
                return  # The keys that were good a moment ago stay good; the source is asked again later.
            if keys:
                self._keys = keys

    def _parse(self, raw: bytes) -> list[Any]:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        if raw.lstrip().startswith(b"{"):
            return [
                key
                for key in self._jwt.PyJWKSet.from_dict(json.loads(raw)).keys
                if key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig")
            ]
        keys = []
        marker = b"-----BEGIN PUBLIC KEY-----"
        for block in raw.split(marker)[1:]:
            key = load_pem_public_key(marker + block)
            for kind, name in (
                (ed25519.Ed25519PublicKey, "EdDSA"),
                (rsa.RSAPublicKey, "RS256"),
                (ec.EllipticCurvePublicKey, "ES256"),
            ):
                if isinstance(key, kind):
                    keys.append(_PemKey(key, name))
        return keys


@dataclass(frozen=True, slots=True)
class _PemKey:
    key: object
    algorithm_name: str
    key_id: None = None


class _File:
    """Keys in a file, read again when its time stamp, size or inode changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def stale(self, force: bool) -> bool:
        try:
            return _stamp(self._path) != self._seen
        except OSError:
            return False

    def read(self) -> bytes:
        self._seen = _stamp(self._path)
        return self._path.read_bytes()


class _Url:
    """Keys at a URL, read again every hour, and sooner when a token names an unknown key."""

    def __init__(self, url: str, ca_file: str) -> None:
        if not url.startswith("https://"):
            raise StartError(f"--jwt-keys is {url!r}; a URL of keys must be https.")
        self._url = url
        self._ca_file = ca_file
        self._asked = -_MAX_AGE

    def stale(self, force: bool) -> bool:
        return time.monotonic() - self._asked > (_REFETCH if force else _MAX_AGE)

    def read(self) -> bytes:
        import ssl

        self._asked = time.monotonic()
        trust = ssl.create_default_context()
        if self._ca_file:
            trust.load_verify_locations(self._ca_file)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), _NoRedirect)
        with opener.open(self._url, timeout=5) as answer:
            return answer.read(_MAX_JWKS)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from where the operator said, and from nowhere that answers in its place."""

    def redirect_request(self, *_: object) -> None:
        return None


def _email(claims: Mapping[str, object]) -> str:
    email = claims.get("email")
    if not isinstance(email, str) or len(email) > _MAX_EMAIL or claims.get("email_verified") is False:
        return ""
    return email


def _stamp(path: Path) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _reason(error: Exception) -> str:
    return (
        error.strerror or "it does not open" if isinstance(error, OSError) else "it holds no keys in JWKS or PEM form"
    )
