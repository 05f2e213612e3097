"""Artifacts' bytes: up, down, resumed, broken, altered, and paths that want to leave."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.testing import Running
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking, sha256, upload

# The known ways out of a folder, in the forms that a path may take.
HOSTILE = [
    "../canary", "a/../../canary", "..", ".", "a/./b", "..\\canary", "a\\..\\b", "/etc/passwd", "/canary",
    "//a", "a//b", "a/", "file:///etc/passwd", "file://canary", "%2e%2e/canary", "%252e%252e/canary", "a%2fb",
    "a;b", "a#b", "a?b", "C:/canary", "c:canary", "C:", "a/\u2025/b", "\uff0e\uff0e/canary", "a\uff0fb",
    "a\u2044b", "a\nb", "a\x1bb", "a\u202eb", "a\u200bb", " a", "a ", "x" * 257, "\ufeffa",
]  # fmt: skip


@pytest.fixture
def run(tracking: Tracking) -> str:
    return tracking.run(tracking.experiment().name).name


def stored(service: Running) -> list[Path]:
    """Returns every file that the service keeps of artifacts."""
    return [path for path in objects(service).rglob("*") if path.is_file()]


def objects(service: Running) -> Path:
    return Path(service.server._config.data) / "objects"


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3_500_000])
def test_bytes_come_back_as_they_went(tracking: Tracking, run: str, size: int) -> None:
    data = noise(size)
    digest = sha256(data)
    pieces = [data[start : start + 1_500_000] for start in range(0, size, 1_500_000)]
    header = pb.UploadArtifactRequest.Header(parent=run, path="a/b", sha256=digest, size_bytes=size)

    put = tracking.stub.UploadArtifact(
        iter([pb.UploadArtifactRequest(header=header), *(pb.UploadArtifactRequest(data=piece) for piece in pieces)])
    )

    assert put == pb.Artifact(path="a/b", size_bytes=size, sha256=digest)
    assert tracking.download(run, "a/b") == (put, data)


@pytest.mark.parametrize("offset", [0, 1, 2500, 4999, 5000])
def test_a_download_resumes_at_any_byte(tracking: Tracking, run: str, offset: int) -> None:
    data = noise(5000)
    tracking.upload(run, "a", data)

    described, rest = tracking.download(run, "a", offset)

    assert described.size_bytes == 5000
    assert rest == data[offset:]


def test_a_download_beyond_the_end_is_refused(tracking: Tracking, run: str) -> None:
    tracking.upload(run, "a", b"123")

    with refused("FIELD_INVALID") as refusal:
        tracking.download(run, "a", 4)
    assert refusal.code == grpc.StatusCode.OUT_OF_RANGE


def test_equal_bytes_are_stored_once(service: Running, tracking: Tracking, run: str) -> None:
    for path in ("a", "b/c"):
        tracking.upload(run, path, b"same")
    tracking.upload(tracking.run("experiments/1").name, "d", b"same")

    assert [path.name for path in stored(service)] == [sha256(b"same")]


def test_a_digest_alone_opens_nobodys_file(tracking: Tracking, run: str) -> None:
    tracking.upload(run, "secret", b"secret bytes")
    other = tracking.run("experiments/1").name

    with refused("DIGEST_MISMATCH"):
        tracking.upload(other, "mine", b"", sha256=sha256(b"secret bytes"), size_bytes=12)
    with refused("DIGEST_MISMATCH"):
        tracking.upload(other, "mine", b"x" * 12, sha256=sha256(b"secret bytes"))
    assert tracking.artifacts(other) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: b"",
        lambda data: data * 2,
    ],
    ids=["truncated", "longer", "last bit", "first bit", "empty", "twice"],
)
def test_bytes_that_are_not_the_announced_ones_become_no_file(
    service: Running, tracking: Tracking, run: str, spoil: Callable[[bytes], bytes]
) -> None:
    data = noise(5000)

    with refused("DIGEST_MISMATCH") as refusal:
        tracking.upload(run, "a", spoil(data), sha256=sha256(data), size_bytes=len(data))

    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert tracking.artifacts(run) == []
    assert [path for path in stored(service) if "uploads" not in path.parts] == []  # what was cut short may go on
    tracking.upload(run, "a", data)
    assert tracking.download(run, "a")[1] == data
    assert [path.name for path in stored(service) if "uploads" not in path.parts] == [sha256(data)]


def test_a_wrong_size_is_refused_even_with_the_right_digest(tracking: Tracking, run: str) -> None:
    for size in (0, 4, 6):
        with refused("DIGEST_MISMATCH"):
            tracking.upload(run, "a", b"12345", size_bytes=size)
    assert tracking.artifacts(run) == []


def test_a_broken_replacement_leaves_the_old_file(tracking: Tracking, run: str) -> None:
    tracking.upload(run, "a", b"old")

    with refused("DIGEST_MISMATCH"):
        tracking.upload(run, "a", b"new", sha256=sha256(b"other"))

    assert tracking.download(run, "a")[1] == b"old"


def test_an_upload_that_its_client_gives_up_leaves_nothing(service: Running, tracking: Tracking, run: str) -> None:
    def half() -> Iterator[pb.UploadArtifactRequest]:
        messages = upload(run, "a", noise(5000))
        yield next(messages)
        yield next(messages)
        raise RuntimeError("the client breaks")

    with pytest.raises(grpc.RpcError):
        tracking.stub.UploadArtifact(half())

    tracking.upload(run, "b", b"after")
    assert tracking.artifacts(run) == ["b"]
    assert sha256(noise(5000)) not in {path.name for path in stored(service)}


@pytest.mark.parametrize(
    "order",
    ["", "d", "dh", "hh", "hdh", "hn", "n"],
    ids=["none", "data", "data first", "two headers", "late", "gap", "empty"],
)
def test_messages_out_of_order_are_refused(tracking: Tracking, run: str, order: str) -> None:
    header = pb.UploadArtifactRequest.Header(parent=run, path="a", sha256=sha256(b"12"), size_bytes=2)
    kinds = {
        "h": pb.UploadArtifactRequest(header=header),
        "d": pb.UploadArtifactRequest(data=b"1"),
        "n": pb.UploadArtifactRequest(),
    }

    with refused("STREAM_ORDER") as refusal:
        tracking.stub.UploadArtifact(kinds[kind] for kind in order)
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert tracking.artifacts(run) == []


@pytest.mark.parametrize("digest", ["", "abc", "A" * 64, "../" + "a" * 61, "g" * 64, "a" * 63 + "\n"])
def test_a_digest_that_is_none_is_refused(tracking: Tracking, run: str, digest: str) -> None:
    with refused("FIELD_INVALID" if digest else "FIELD_REQUIRED"):
        tracking.upload(run, "a", b"1", sha256=digest)


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_could_leave_is_refused_by_every_call(
    service: Running, tracking: Tracking, run: str, path: str, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    stub, digest = tracking.stub, sha256(b"untouched")
    for parent in (run, logged_model(tracking)):
        calls: list[Any] = [
            lambda parent=parent: tracking.upload(parent, path, b"taken over"),
            lambda parent=parent: tracking.upload(parent, path, b"taken over", offset=3),
            lambda parent=parent: tracking.download(parent, path),
            lambda parent=parent: tracking.artifacts(parent, path),
            lambda parent=parent: tracking.artifacts(parent, path, recursive=True),
            lambda parent=parent: stub.GetUpload(pb.GetUploadRequest(parent=parent, path=path, sha256=digest)),
            lambda parent=parent: stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=parent, path=path)),
        ]
        for call in calls:
            with refused("NAME_INVALID") as refusal:
                call()
            assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT

    assert canary.read_text() == "untouched"
    assert stored(service) == []
    assert tracking.artifacts(run) == []


# A refusal shows what came, and must not hold what looks like our insides.
@pytest.mark.parametrize(
    "id",
    [
        *(each for each in HOSTILE if "/etc/" not in each),
        "",
        "0" * 32,
        "m-" + "0" * 31,
        "m-" + "G" * 32,
        "M-" + "0" * 32,
        "x" * 60,
    ],
)
def test_a_parent_that_is_none_is_refused_by_every_call(tracking: Tracking, id: str) -> None:
    stub = tracking.stub
    for parent in (f"logged_models/{id}", f"runs/m-{id}", f"logged_models/m-{'0' * 32}/{id}", f"experiments/{id}", id):
        for call in (
            lambda parent=parent: tracking.upload(parent, "a", b"1"),
            lambda parent=parent: tracking.download(parent, "a"),
            lambda parent=parent: tracking.artifacts(parent),
            lambda parent=parent: stub.GetUpload(pb.GetUploadRequest(parent=parent, path="a", sha256="0" * 64)),
            lambda parent=parent: stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=parent, path="a")),
        ):
            long = len(parent.encode()) > 64
            with refused("FIELD_TOO_LONG" if long else "NAME_INVALID" if parent else "FIELD_REQUIRED") as refusal:
                call()
            assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT


def logged_model(tracking: Tracking) -> str:
    experiment = tracking.experiment(allow_existing=True).name
    request = pb.CreateLoggedModelRequest(logged_model=pb.LoggedModel(experiment=experiment))
    return tracking.stub.CreateLoggedModel(request).name


def test_a_path_over_its_limit_or_with_nul_is_refused(tracking: Tracking, run: str) -> None:
    with refused("FIELD_TOO_LONG"):
        tracking.upload(run, "/".join(["x" * 200] * 6), b"1")
    with refused("FIELD_INVALID"):
        tracking.upload(run, "a\0b", b"1")
    deepest = "/".join(["d"] * 512)
    tracking.upload(run, deepest, b"1")
    assert tracking.download(run, deepest)[1] == b"1"


def test_a_folder_is_deleted_with_everything_below_it_and_nothing_beside(tracking: Tracking, run: str) -> None:
    for path in ("a/b/1", "a/b/c/2", "a/b.txt", "a/bc", "a/B/1", "z"):
        tracking.upload(run, path, b"1")

    tracking.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=run, path="a/b"))

    assert tracking.artifacts(run, recursive=True) == ["a/B/1", "a/b.txt", "a/bc", "z"]
    for gone in ("a/b", "a/b/1", "nothing"):
        with refused("RESOURCE_NOT_FOUND"):
            tracking.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=run, path=gone))
    tracking.upload(run, "a/b", b"a file now")


def test_a_deletion_with_a_request_id_happens_once(tracking: Tracking, run: str) -> None:
    request = pb.DeleteArtifactRequest(parent=run, path="a", request_id="1")
    tracking.upload(run, "a", b"1")
    tracking.stub.DeleteArtifact(request)
    tracking.upload(run, "a", b"2")

    tracking.stub.DeleteArtifact(request)

    assert tracking.download(run, "a")[1] == b"2"


def test_a_link_in_the_store_leads_nowhere(service: Running, tracking: Tracking, run: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    tracking.upload(run, "a", b"abcdef")
    (place,) = stored(service)
    place.unlink()
    place.symlink_to(secret)

    with refused("RESOURCE_NOT_FOUND"):
        tracking.download(run, "a")


def test_a_file_and_a_folder_cannot_share_a_path(tracking: Tracking, run: str) -> None:
    tracking.upload(run, "a/b", b"1")

    with refused("RESOURCE_EXISTS") as refusal:
        tracking.upload(run, "a", b"2")
    assert refusal.facts["kind"] == "folder"
    with refused("RESOURCE_EXISTS"):
        tracking.upload(run, "a/b/c", b"2")


def test_a_deleted_run_takes_no_files_but_shows_them(tracking: Tracking, run: str) -> None:
    tracking.upload(run, "a", b"1")
    tracking.stub.DeleteRun(pb.DeleteRunRequest(name=run))

    with refused("RUN_DELETED"):
        tracking.upload(run, "b", b"2")
    with refused("RUN_DELETED"):
        tracking.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=run, path="a"))
    assert tracking.download(run, "a")[1] == b"1"
