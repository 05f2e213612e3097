"""Uploads that break: what has arrived is kept for their caller alone, and goes on where it stopped, on both kinds of
object store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any

import grpc
import psutil
import pytest

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.ids import new_id
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.objects import Objects
from fivefold_runtime.testing import Running, serve
from fivefold_tracking.__main__ import Config, build
from fivefold_tracking.store.sql import Store
from fivefold_tracking.store.upload_records import PartRecord, UploadKey
from fivefold_tracking.transfer import Receiver
from fivefold_tracking.uploads import PART
from tests.buckets import bucket, objects_url, s3_environment, s3_server  # noqa: F401
from tests.disks import small
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking, sha256
from tests.tracking.contract import new_run
from tests.tracking.test_artifacts import noise
from tests.tracking.test_process import running

MESSAGE = 1024 * 1024  # bytes
DAY = 24 * 3600 * 1_000_000  # microseconds


@pytest.fixture
def service(data: Path, objects_url: str) -> Iterator[Running]:  # noqa: F811
    """A service on each kind of object store."""
    with serve(build, Config(data=str(data), objects_url=objects_url)) as running:
        yield running


@pytest.fixture
def kept(objects_url: str) -> Objects:  # noqa: F811
    """The service's object store, seen from outside."""
    return Objects.open(objects_url)


@pytest.fixture
def run(tracking: Tracking) -> str:
    return tracking.run(tracking.experiment().name).name


def messages(parent: str, path: str, data: bytes, offset: int = 0, **header: Any) -> Iterator[pb.UploadArtifactRequest]:
    """Yields an upload in large messages. `header` overrides what is announced."""
    announced = {"parent": parent, "path": path, "sha256": sha256(data), "size_bytes": len(data), "offset": offset}
    yield pb.UploadArtifactRequest(header=pb.UploadArtifactRequest.Header(**(announced | header)))
    for start in range(offset, len(data), MESSAGE):
        yield pb.UploadArtifactRequest(data=data[start : start + MESSAGE])


def broken(tracking: Tracking, parent: str, path: str, data: bytes, count: int, offset: int = 0) -> None:
    """Sends the bytes from `offset` up to `count`, at least a part, and breaks off once whole parts have arrived.

    Of the rest nobody knows: a break overtakes what has just been sent.
    """
    whole = count - (count - offset) % PART

    def some() -> Iterator[pb.UploadArtifactRequest]:
        yield next(messages(parent, path, data, offset))
        for start in range(offset, count, MESSAGE):
            yield pb.UploadArtifactRequest(data=data[start : min(start + MESSAGE, count)])
        wait_until(lambda: received(tracking, parent, path, data) == whole)
        raise RuntimeError("the client breaks")

    with pytest.raises(grpc.RpcError):
        tracking.stub.UploadArtifact(some())
    looked = -1
    while looked != (now := received(tracking, parent, path, data)):  # It ends there after it ended here.
        looked = now
        threading.Event().wait(0.3)


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        threading.Event().wait(0.03)
    raise AssertionError("it never came about")


def received(tracking: Tracking, parent: str, path: str, data: bytes) -> int:
    request = pb.GetUploadRequest(parent=parent, path=path, sha256=sha256(data))
    return tracking.stub.GetUpload(request).received_bytes


def resume(tracking: Tracking, parent: str, path: str, data: bytes) -> pb.Artifact:
    return tracking.stub.UploadArtifact(messages(parent, path, data, received(tracking, parent, path, data)))


@pytest.mark.parametrize("size", [PART + 1, 2 * PART, 2 * PART + MESSAGE + 5])
def test_a_broken_upload_goes_on_where_it_stopped(kept: Objects, tracking: Tracking, run: str, size: int) -> None:
    data = noise(size)
    broken(tracking, run, "a/b", data, PART)
    assert received(tracking, run, "a/b", data) == PART
    assert tracking.artifacts(run) == []

    put = resume(tracking, run, "a/b", data)

    assert put == pb.Artifact(path="a/b", size_bytes=size, sha256=sha256(data))
    assert tracking.download(run, "a/b") == (put, data)
    assert [key.rpartition("/")[2] for key, _ in kept.list()] == [sha256(data)], "the parts are gone"
    assert received(tracking, run, "a/b", data) == 0


def test_an_upload_may_break_again_and_again(tracking: Tracking, run: str) -> None:
    data = noise(5 * PART)
    for _ in range(3):
        arrived = received(tracking, run, "a", data)
        broken(tracking, run, "a", data, arrived + PART + 10, arrived)

    resume(tracking, run, "a", data)

    assert tracking.download(run, "a")[1] == data


def test_an_upload_of_which_everything_has_arrived_is_finished_without_a_byte(tracking: Tracking, run: str) -> None:
    data = noise(PART)
    broken(tracking, run, "a", data, len(data))
    assert received(tracking, run, "a", data) == len(data)

    resume(tracking, run, "a", data)

    assert tracking.download(run, "a")[1] == data


def test_an_offset_that_is_not_what_has_arrived_is_refused_and_leaves_it(tracking: Tracking, run: str) -> None:
    data = noise(2 * PART)
    broken(tracking, run, "a", data, PART)
    arrived = received(tracking, run, "a", data)

    for offset in (1, arrived - 1, arrived + 1, 2 * PART, 2**62):
        with refused("FIELD_INVALID") as refusal:
            tracking.stub.UploadArtifact(messages(run, "a", data, offset))
        assert refusal.code == grpc.StatusCode.OUT_OF_RANGE
        assert refusal.facts["received"] == str(arrived)
    for path, other in (("b", data), ("a", data[::-1])):
        with refused("FIELD_INVALID"):
            tracking.stub.UploadArtifact(messages(run, path, other, arrived))
    resume(tracking, run, "a", data)
    assert tracking.download(run, "a")[1] == data


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rest: rest + b"x",
        lambda rest: bytes([rest[0] ^ 1]) + rest[1:],
    ],
    ids=["longer", "altered"],
)
def test_a_rest_that_is_not_the_right_one_leaves_nothing(kept: Objects, tracking: Tracking, run: str, spoil) -> None:
    data = noise(PART + 50_000)
    broken(tracking, run, "a", data, PART + 10)
    arrived = received(tracking, run, "a", data)
    header = next(messages(run, "a", data, arrived))

    with refused("DIGEST_MISMATCH"):
        tracking.stub.UploadArtifact(iter([header, pb.UploadArtifactRequest(data=spoil(data[arrived:]))]))

    assert received(tracking, run, "a", data) == 0, "bytes that may be wrong are not gone on with"
    assert list(kept.list()) == []
    assert tracking.artifacts(run) == []


@pytest.mark.parametrize("spoil", [lambda rest: rest[:-1], lambda rest: b""], ids=["truncated", "nothing"])
def test_a_rest_that_is_cut_short_may_be_gone_on_with(kept: Objects, tracking: Tracking, run: str, spoil) -> None:
    """A client that breaks off may look like one that has said all."""
    data = noise(PART + 50_000)
    broken(tracking, run, "a", data, PART + 10)
    arrived = received(tracking, run, "a", data)
    header = next(messages(run, "a", data, arrived))

    with refused("DIGEST_MISMATCH"):
        tracking.stub.UploadArtifact(iter([header, pb.UploadArtifactRequest(data=spoil(data[arrived:]))]))

    assert tracking.artifacts(run) == []
    assert received(tracking, run, "a", data) >= arrived
    resume(tracking, run, "a", data)
    assert tracking.download(run, "a")[1] == data


def test_parts_that_were_altered_in_the_store_never_become_a_file(kept: Objects, tracking: Tracking, run: str) -> None:
    data = noise(PART + 50_000)
    broken(tracking, run, "a", data, PART + 10)
    first = min(key for key, _ in kept.list("uploads"))
    kept.put(first, iter([b"x" * kept.size(first)]))

    with refused("DIGEST_MISMATCH"):
        resume(tracking, run, "a", data)

    assert tracking.artifacts(run) == []


def test_two_uploads_of_one_file_at_once_both_succeed(kept: Objects, tracking: Tracking, run: str) -> None:
    data, both = noise(2 * PART + 1), threading.Barrier(2)
    answers: list[object] = []

    def halting() -> Iterator[pb.UploadArtifactRequest]:
        for place, message in enumerate(messages(run, "a", data)):
            if place == PART // MESSAGE + 1:
                both.wait(60)
            yield message

    def put() -> None:
        answers.append(tracking.stub.UploadArtifact(halting()))

    threads = [threading.Thread(target=put) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [pb.Artifact(path="a", size_bytes=len(data), sha256=sha256(data))] * 2
    assert tracking.download(run, "a")[1] == data
    assert [key.rpartition("/")[2] for key, _ in kept.list()] == [sha256(data)]


def test_who_resumes_takes_over_from_a_call_that_still_hangs(tracking: Tracking, run: str) -> None:
    data = noise(3 * PART)
    first_arrived, go_on = threading.Event(), threading.Event()
    outcome: list[object] = []

    def hanging() -> Iterator[pb.UploadArtifactRequest]:
        for place, message in enumerate(messages(run, "a", data)):
            if place == PART // MESSAGE + 2:
                first_arrived.set()
                go_on.wait(60)
            yield message

    def put() -> None:
        try:
            outcome.append(tracking.stub.UploadArtifact(hanging()))
        except grpc.RpcError as error:
            outcome.append(error.code())

    thread = threading.Thread(target=put)
    thread.start()
    assert first_arrived.wait(60)
    wait_until(lambda: received(tracking, run, "a", data) == PART)
    resume(tracking, run, "a", data)
    go_on.set()
    thread.join()

    assert outcome == [grpc.StatusCode.OUT_OF_RANGE]
    assert tracking.download(run, "a")[1] == data


def test_a_deleted_parent_takes_no_rest(tracking: Tracking, run: str) -> None:
    data = noise(2 * PART)
    broken(tracking, run, "a", data, PART)
    tracking.stub.DeleteRun(pb.DeleteRunRequest(name=run))

    with refused("RUN_DELETED"):
        resume(tracking, run, "a", data)


def test_a_logged_model_takes_uploads_as_a_run_does(tracking: Tracking) -> None:
    asked = pb.LoggedModel(experiment=tracking.experiment().name)
    model = tracking.stub.CreateLoggedModel(pb.CreateLoggedModelRequest(logged_model=asked)).name
    data = noise(PART + 1)
    broken(tracking, model, "model/weights", data, PART)

    resume(tracking, model, "model/weights", data)

    assert tracking.download(model, "model/weights", PART)[1] == data[PART:]
    assert tracking.artifacts(model, recursive=True) == ["model/weights"]


def test_what_has_arrived_is_its_callers_alone(data: Path, tmp_path: Path) -> None:
    keys, content = tmp_path / "keys", noise(2 * PART)
    config = Config(data=str(data), auth="jwt", jwt_keys=str(make_key(keys)), admins="root")
    with serve(build, config) as service:
        mia, root = (
            Tracking(service.channel, sign_token(keys, who, [], lifetime=timedelta(hours=1))) for who in ("mia", "root")
        )
        run = mia.run(mia.experiment().name).name
        broken(mia, run, "a", content, PART)

        assert received(mia, run, "a", content) > 0
        assert received(root, run, "a", content) == 0, "not even an administrator's digest opens it"
        with refused("FIELD_INVALID"):
            root.stub.UploadArtifact(messages(run, "a", content, received(mia, run, "a", content)))


def test_a_killed_server_keeps_what_had_arrived(tmp_path: Path) -> None:
    folder, data = tmp_path / "data", noise(5 * PART)
    with running(folder) as process:
        run = process.tracking.run(process.tracking.experiment().name).name
        enough = threading.Event()

        def endless() -> Iterator[pb.UploadArtifactRequest]:
            for place, message in enumerate(messages(run, "a", data)):
                if place == 3 * PART // MESSAGE + 2:
                    enough.set()
                    threading.Event().wait(60)
                yield message

        call = process.tracking.stub.UploadArtifact.future(endless())
        assert enough.wait(60)
        wait_until(lambda: received(process.tracking, run, "a", data) == 3 * PART)
        process.end(SIGKILL)
        assert call.exception() is not None
    with running(folder) as process:
        assert received(process.tracking, run, "a", data) == 3 * PART
        resume(process.tracking, run, "a", data)
        assert process.tracking.download(run, "a")[1] == data
    assert not list((folder / "objects" / "uploads").rglob("*-*"))


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    size, piece = 100 * MESSAGE, noise(MESSAGE)
    digest = sha256(piece * (size // MESSAGE))
    with running(tmp_path / "data") as process:
        run = process.tracking.run(process.tracking.experiment().name).name
        process.tracking.upload(run, "warm", b"1")
        watched, most, done = psutil.Process(process.pid), [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.01):
                most[0] = max(most[0], watched.memory_info().rss)

        before = watched.memory_info().rss
        watcher = threading.Thread(target=watch)
        watcher.start()
        header = pb.UploadArtifactRequest.Header(parent=run, path="a", sha256=digest, size_bytes=size)
        process.tracking.stub.UploadArtifact(
            iter([pb.UploadArtifactRequest(header=header), *[pb.UploadArtifactRequest(data=piece)] * (size // MESSAGE)])
        )
        count = sum(
            len(part.data)
            for part in process.tracking.stub.DownloadArtifact(pb.DownloadArtifactRequest(parent=run, path="a"))
        )
        done.set()
        watcher.join()

    assert count == size
    assert most[0] - before < 70 * MESSAGE, f"{(most[0] - before) / MESSAGE:.0f} MB"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 24 MB."""
    with small(tmp_path, "24m") as place:
        yield place


def test_a_file_that_the_disk_does_not_hold_is_refused_and_leaves_the_room_to_others(small_disk: Path) -> None:
    data = noise(40 * MESSAGE)
    with serve(build, Config(data=str(small_disk / "data"))) as service:
        tracking = Tracking(service.channel)
        run = tracking.run(tracking.experiment().name).name
        tracking.upload(run, "before", b"1")

        for _ in range(3):
            with refused("STORAGE_FULL") as refusal:
                tracking.stub.UploadArtifact(messages(run, "large", data))
            assert refusal.code == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert tracking.download(run, "before")[1] == b"1"
        tracking.stub.UploadArtifact(messages(run, "fits", data[: 8 * MESSAGE]))

        assert tracking.download(run, "fits")[1] == data[: 8 * MESSAGE]
        assert tracking.artifacts(run) == ["before", "fits"]


@pytest.mark.parametrize("stop", [1, 1000, PART - 1, PART, PART + 1])
def test_the_last_bytes_before_a_break_are_kept_too(sqlite_store: Store, tmp_path: Path, stop: int) -> None:
    objects, data = Objects.open(str(tmp_path / "objects")), noise(PART + 1000)
    run = sqlite_store.runs.create(new_run(sqlite_store.experiments.create("a", {}, 1).number), 1)
    receiver = Receiver(sqlite_store.artifacts, sqlite_store.uploads, objects, lambda: DAY)

    def some() -> Iterator[pb.UploadArtifactRequest]:
        yield next(messages(run.name, "a", data))
        for start in range(0, stop, MESSAGE):
            yield pb.UploadArtifactRequest(data=data[start : min(start + MESSAGE, stop)])
        raise RuntimeError("the connection breaks")

    with pytest.raises(RuntimeError, match="breaks"):
        receiver.receive(some(), "mia")
    asked = pb.GetUploadRequest(parent=run.name, path="a", sha256=sha256(data))

    assert receiver.received(asked, "mia") == stop
    assert receiver.received(asked, "sam") == 0
    receiver.receive(messages(run.name, "a", data, stop), "mia")
    assert [key.rpartition("/")[2] for key, _ in objects.list()] == [sha256(data)]


class TestStore:
    """What an UploadStore promises beyond what calls show."""

    @pytest.fixture(params=["sqlite_store", "postgres_store"])
    def store(self, request: pytest.FixtureRequest) -> Store:
        return request.getfixturevalue(request.param)

    def key(self, path: str = "a", subject: str = "mia") -> UploadKey:
        return UploadKey("0" * 32, path, "0" * 64, subject)

    def begin(self, store: Store, key: UploadKey, now: int, size: int = 10, most: int = 100, most_bytes: int = 1000):
        upload = new_id()
        dropped = store.uploads.begin(upload, "1" * 32, key, now, most, most_bytes)
        assert store.uploads.add(upload, PartRecord(0, size, "1" * 32), now)
        return upload, dropped

    def test_what_nobody_went_on_with_for_a_day_is_forgotten(self, store: Store) -> None:
        old, _ = self.begin(store, self.key("old"), 1)
        new, _ = self.begin(store, self.key("new"), DAY)

        assert store.uploads.received(self.key("old"), 2) == 0
        assert store.uploads.take(self.key("old"), 10, "2" * 32, DAY, 2) is None
        assert store.uploads.expire(2) == [old]
        assert store.uploads.expire(2) == []
        assert store.uploads.unknown([old, new]) == {old}
        assert store.uploads.received(self.key("new"), 2) == 10

    def test_a_caller_keeps_the_newest_of_many_and_only_so_many_bytes(self, store: Store) -> None:
        first, _ = self.begin(store, self.key("1"), 1, most=3)
        second, _ = self.begin(store, self.key("2"), 2, most=3)
        foreign, _ = self.begin(store, self.key("1", "sam"), 0, most=3)
        _, dropped = self.begin(store, self.key("3"), 3, most=3)
        assert dropped == []

        _, dropped = self.begin(store, self.key("4"), 4, most=3)
        assert dropped == [first]
        _, dropped = self.begin(store, self.key("5"), 5, most=9, most_bytes=20)
        assert dropped == [second]
        assert store.uploads.unknown([foreign]) == set()

    def test_only_who_holds_an_upload_adds_to_it_and_ends_it(self, store: Store) -> None:
        upload, _ = self.begin(store, self.key(), 1)
        taken = store.uploads.take(self.key(), 10, "2" * 32, 2, 0)

        assert taken is not None
        assert (taken.id, taken.parts) == (upload, (PartRecord(0, 10, "1" * 32),))
        assert not store.uploads.add(upload, PartRecord(10, 5, "1" * 32), 3)
        assert not store.uploads.end(upload, "1" * 32)
        assert store.uploads.add(upload, PartRecord(10, 5, "2" * 32), 3)
        assert store.uploads.received(self.key(), 0) == 15
        assert store.uploads.end(upload, "2" * 32)
        assert store.uploads.received(self.key(), 0) == 0
