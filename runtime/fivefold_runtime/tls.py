"""TLS of a server and of its outgoing calls, from PEM files; a server's are read again when they change on disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import grpc

from fivefold_runtime.settings import ServerConfig, StartError


def server_credentials(config: ServerConfig) -> grpc.ServerCredentials | None:
    """Returns the credentials that the settings ask for, None without TLS.

    Every new connection looks whether the files changed; files that do not go together (half-way through a change) are
    not taken up, so that the certificate of before goes on. Raises StartError when they cannot be used at the start.
    """
    if not config.tls_cert:
        return None
    files = _Files(config)
    try:
        first = files.read()
    except OSError as error:
        raise StartError(
            f"cannot read {error.filename}: {error.strerror}. Check --tls-cert, --tls-key, --tls-client-ca."
        ) from None
    except ValueError as error:
        raise StartError(f"{error} Check --tls-cert, --tls-key, --tls-client-ca.") from None
    return grpc.dynamic_ssl_server_credentials(
        first,
        files.if_changed,  # type: ignore[arg-type]  # None means "as before", which the stubs do not know
        require_client_authentication=bool(config.tls_client_ca),
    )


def channel_credentials(config: ServerConfig) -> grpc.ChannelCredentials | None:
    """Returns the credentials of outgoing calls, None when they go in plain text. Raises StartError.

    With tls_client_ca set, the same client-checked world is assumed of others: our certificate is shown to them.
    """
    if not config.tls_ca:
        return None
    try:
        authorities = Path(config.tls_ca).read_bytes()
        if not config.tls_client_ca:
            return grpc.ssl_channel_credentials(authorities)
        return grpc.ssl_channel_credentials(
            authorities, Path(config.tls_key).read_bytes(), Path(config.tls_cert).read_bytes()
        )
    except OSError as error:
        raise StartError(f"cannot read {error.filename}: {error.strerror}. Check --tls-ca.") from None


class _Files:
    """The PEM files, and whether they changed."""

    def __init__(self, config: ServerConfig) -> None:
        self._paths = [path for path in (config.tls_cert, config.tls_key, config.tls_client_ca) if path]
        self._seen: list[tuple[int, int, int]] = []
        self._lock = threading.Lock()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Returns what the files say. Raises OSError, ValueError for what is no certificate or not its key."""
        self._seen = self._stamps()
        certificate, key, *authorities = (Path(path).read_bytes() for path in self._paths)
        _check_pair(certificate, key)
        if authorities and b"-----BEGIN CERTIFICATE-----" not in authorities[0]:
            raise ValueError("the file of client authorities holds no PEM certificate.")
        return grpc.ssl_server_certificate_configuration([(key, certificate)], *authorities)

    def if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Returns new credentials when a file changed and all go together, else None. Called by gRPC per connection."""
        with self._lock:
            try:
                return self.read() if self._stamps() != self._seen else None
            except (OSError, ValueError):
                return None

    def _stamps(self) -> list[tuple[int, int, int]]:
        return [(s.st_mtime_ns, s.st_size, s.st_ino) for s in map(os.stat, self._paths)]


def _check_pair(certificate: bytes, key: bytes) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
        private = load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError):
        raise ValueError("the certificate or the key is not in PEM form, or the key has a password.") from None
    if public != private:
        raise ValueError("the key does not belong to the certificate.")
