"""TLS and mutual TLS: who gets in, who does not, and certificates that change while the server runs."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import certificates
import grpc
import pytest
from notes import Config, build
from notes_stubs import notes_pb2 as pb
from notes_stubs import notes_pb2_grpc

from fivefold_runtime.outgoing import channel
from fivefold_runtime.settings import StartError
from fivefold_runtime.testing import serve


@pytest.fixture
def paths(tmp_path):
    return certificates.make(tmp_path / "pki")


def config(tmp_path, paths, **more) -> Config:
    return Config(data=str(tmp_path / "data"), tls_cert=paths.cert, tls_key=paths.key, **more)


def read(path: str) -> bytes:
    return Path(path).read_bytes()


def answers(address: str, credentials: grpc.ChannelCredentials | None) -> bool:
    plain = [("grpc.use_local_subchannel_pool", 1)]
    made = grpc.secure_channel(address, credentials, plain) if credentials else grpc.insecure_channel(address, plain)
    with made:
        try:
            return notes_pb2_grpc.NotesServiceStub(made).Act(pb.Note(), timeout=10).text == "done"
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE, error
            return False


def test_only_who_trusts_the_authority_and_speaks_tls_gets_an_answer(tmp_path, paths):
    foreign = certificates.make(tmp_path / "foreign")
    with serve(build, config(tmp_path, paths)) as running:
        assert answers(running.address, grpc.ssl_channel_credentials(read(paths.ca)))
        assert not answers(running.address, grpc.ssl_channel_credentials(read(foreign.ca)))
        assert not answers(running.address, None)


def test_mutual_tls_wants_a_client_certificate_of_its_authority_that_has_not_expired(tmp_path, paths):
    foreign = certificates.make(tmp_path / "foreign")
    expired = certificates.make(tmp_path / "expired", lifetime=timedelta(days=-1))
    both = tmp_path / "both.pem"
    both.write_bytes(read(paths.ca) + read(expired.ca))

    def client(theirs) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(read(paths.ca), read(theirs.client_key), read(theirs.client_cert))

    with serve(build, config(tmp_path, paths, tls_client_ca=str(both))) as running:
        assert answers(running.address, client(paths))
        assert not answers(running.address, client(foreign))
        assert not answers(running.address, client(expired))
        assert not answers(running.address, grpc.ssl_channel_credentials(read(paths.ca)))


def test_a_new_certificate_is_taken_up_without_a_restart_and_half_a_change_is_not(tmp_path, paths):
    new = certificates.make(tmp_path / "new")
    with serve(build, config(tmp_path, paths)) as running:
        trusts_old, trusts_new = (grpc.ssl_channel_credentials(read(path.ca)) for path in (paths, new))
        old_ca = read(paths.ca)
        assert answers(running.address, trusts_old) and not answers(running.address, trusts_new)
        shutil.copy(new.cert, paths.cert)
        assert answers(running.address, grpc.ssl_channel_credentials(old_ca))
        shutil.copy(new.key, paths.key)
        assert answers(running.address, trusts_new) and not answers(running.address, trusts_old)


def test_our_own_channels_use_tls_and_show_our_certificate(tmp_path, paths):
    mutual = config(tmp_path, paths, tls_client_ca=paths.ca, tls_ca=paths.ca)
    with serve(build, mutual) as running, channel(running.address, mutual, acting_for="caller") as ours:
        assert notes_pb2_grpc.NotesServiceStub(ours).Act(pb.Note(), timeout=10).text == "done"


@pytest.mark.parametrize(
    ("cert", "key", "line"),
    [
        ("none.pem", "key.pem", "cannot read .*none.pem"),
        ("cert.pem", "client-key.pem", "the key does not belong to the certificate"),
        ("key.pem", "key.pem", "not in PEM form"),
    ],
)
def test_certificates_that_cannot_be_used_keep_the_server_from_starting(tmp_path, paths, cert, key, line):
    pki = Path(paths.ca).parent
    wrong = Config(data=str(tmp_path / "data"), tls_cert=str(pki / cert), tls_key=str(pki / key))
    with pytest.raises(StartError, match=line), serve(build, wrong):
        pass
