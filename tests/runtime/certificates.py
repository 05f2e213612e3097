"""Certificates for tests: an authority, a server, a client, made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Paths:
    """PEM files: authority, server's and client's certificate and key."""

    ca: str
    cert: str
    key: str
    client_cert: str
    client_key: str


def make(folder: Path, *, lifetime: timedelta = timedelta(days=1)) -> Paths:
    """Makes an authority and what it signs. A negative `lifetime` makes an expired client certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = _sign("authority", None, None, timedelta(days=1))
    server, server_key = _sign("localhost", authority, authority_key, timedelta(days=1))
    client, client_key = _sign("client", authority, authority_key, lifetime)
    return Paths(
        _write(folder / "ca.pem", authority),
        _write(folder / "cert.pem", server),
        _write(folder / "key.pem", server_key),
        _write(folder / "client.pem", client),
        _write(folder / "client-key.pem", client_key),
    )


def _sign(name, issuer, issuer_key, lifetime):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(  # Python 3.13 takes no chain without this and the next.
            x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer_key or key).public_key()), critical=False
        )
    )
    if issuer is None:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    return builder.sign(issuer_key or key, hashes.SHA256()), key


def _write(path: Path, what) -> str:
    if isinstance(what, x509.Certificate):
        path.write_bytes(what.public_bytes(form.Encoding.PEM))
    else:
        path.write_bytes(what.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    return str(path)
