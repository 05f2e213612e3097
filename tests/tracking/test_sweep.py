"""What nobody has any more goes, and what somebody has stays, whatever an upload does meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold_runtime.clock import micros
from fivefold_runtime.objects import Objects
from fivefold_tracking.paths import content_key
from fivefold_tracking.store.sql import Store
from fivefold_tracking.sweeping import Sweeper
from fivefold_tracking.transfer import Receiver
from fivefold_tracking.uploads import PART
from tests.buckets import bucket, objects_url, s3_environment, s3_server  # noqa: F401
from tests.runtime.asserting import refused
from tests.tracking.client import Tracking, sha256, upload
from tests.tracking.contract import new_run
from tests.tracking.test_artifacts import noise
from tests.tracking.test_uploads import messages

START = datetime(2026, 1, 1, tzinfo=UTC)


class Hands:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time


class Place:
    """A store with its objects, a receiver of uploads and a sweeper, but no server."""

    def __init__(self, store: Store, objects: Objects, run: str = "") -> None:
        self.store, self.objects, self.clock = store, objects, Hands()
        self.receiver = Receiver(store.artifacts, store.uploads, objects, lambda: micros(self.clock.now()))
        self.sweeper = Sweeper(store, objects, self.clock)
        self.run = run or store.runs.create(new_run(store.experiments.create("a", {}, 1).number), 1).name

    def put(self, path: str, data: bytes) -> None:
        self.receiver.receive(upload(self.run, path, data), "mia")

    def delete(self, path: str) -> None:
        self.store.artifacts.delete(self.run.removeprefix("runs/"), path)

    def read(self, path: str) -> bytes:
        file = self.store.artifacts.get(self.run.removeprefix("runs/"), path)
        return b"".join(self.objects.stream(content_key(file.sha256)))

    def stored(self) -> set[str]:
        return {key for key, _ in self.objects.list()}


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(request.getfixturevalue(request.param), Objects.open(str(tmp_path / "objects")))


def test_bytes_of_a_deleted_file_go_unless_another_has_them(place: Place) -> None:
    for path, data in (("a", b"one"), ("b", b"one"), ("c/d", b"two"), ("c/e", b"three")):
        place.put(path, data)

    place.delete("a")
    place.delete("c")
    place.sweeper.sweep()

    assert place.stored() == {content_key(sha256(b"one"))}
    assert place.read("b") == b"one"
    place.delete("b")
    place.sweeper.sweep()
    assert place.stored() == set()


def test_a_content_that_was_swept_can_come_back(place: Place) -> None:
    place.put("a", b"one")
    place.delete("a")
    place.sweeper.sweep()

    place.put("a", b"one")
    place.sweeper.sweep()

    assert place.read("a") == b"one"


def test_bytes_of_a_replaced_file_go(place: Place) -> None:
    place.put("a", b"old")
    place.put("a", b"new")

    place.sweeper.sweep()

    assert place.stored() == {content_key(sha256(b"new"))}


def test_bytes_that_a_crash_left_without_an_entry_go(place: Place) -> None:
    place.put("a", b"one")
    place.objects.put(content_key(sha256(b"left")), iter([b"left"]))
    place.objects.put("uploads/" + "0" * 32 + "/part", iter([b"part"]))

    place.sweeper.sweep()
    assert len(place.stored()) == 3, "a look at everything is another matter"
    place.sweeper.look()
    place.sweeper.sweep()

    assert place.stored() == {content_key(sha256(b"one"))}


def test_a_file_that_is_no_content_is_left_alone(place: Place) -> None:
    place.objects.put("somebody/elses", iter([b"file"]))

    place.sweeper.look()
    place.sweeper.sweep()

    assert place.stored() == {"somebody/elses"}


def test_parts_of_an_upload_go_a_day_after_its_last_byte(place: Place) -> None:
    data = noise(2 * PART)

    def half() -> Iterator[pb.UploadArtifactRequest]:
        yield from list(messages(place.run, "a", data))[:6]
        raise RuntimeError("the client breaks")

    with pytest.raises(RuntimeError):
        place.receiver.receive(half(), "mia")
    place.clock.time += timedelta(hours=23)
    place.sweeper.look()
    place.sweeper.sweep()
    assert place.stored() != set()

    place.clock.time += timedelta(hours=2)
    place.sweeper.sweep()

    assert place.stored() == set()


class Between(Objects):
    """An object store in which something happens right after bytes were put, or before they are deleted."""

    def __init__(self, inner: Objects) -> None:
        super().__init__(inner._store, inner._root)
        self.after_put: Callable[[], None] = lambda: None
        self.before_delete: Callable[[], None] = lambda: None

    def put(self, *args, **more):
        stored = super().put(*args, **more)
        then, self.after_put = self.after_put, lambda: None
        then()
        return stored

    def delete(self, key: str) -> None:
        then, self.before_delete = self.before_delete, lambda: None
        then()
        super().delete(key)


@pytest.fixture
def racing(place: Place) -> Place:
    return Place(place.store, Between(place.objects), place.run)


def test_a_sweep_between_the_bytes_and_their_entry_does_not_lose_them(racing: Place) -> None:
    """The content is known and unused, so the sweep removes what the upload has just stored."""
    racing.put("old", b"one")
    racing.delete("old")
    racing.objects.delete(content_key(sha256(b"one")))
    racing.objects.after_put = racing.sweeper.sweep

    racing.put("a", b"one")

    assert racing.read("a") == b"one"


def test_a_sweep_after_an_upload_found_its_bytes_does_not_lose_them(racing: Place) -> None:
    """The content is stored already, so the upload only checks its bytes: they are stored again all the same."""
    racing.put("old", b"one")
    racing.delete("old")

    def pieces() -> Iterator[pb.UploadArtifactRequest]:
        yield from upload(racing.run, "a", b"one")
        racing.sweeper.sweep()

    racing.receiver.receive(pieces(), "mia")
    assert racing.read("a") == b"one"


def test_an_upload_that_meets_a_sweep_at_its_work_waits_and_stores_again(racing: Place) -> None:
    racing.put("old", b"one")
    racing.delete("old")
    begun = threading.Event()

    def put() -> None:
        begun.set()
        racing.put("a", b"one")

    thread = threading.Thread(target=put)

    def while_removing() -> None:
        thread.start()
        begun.wait(10)
        threading.Event().wait(0.3)  # The upload is at the row by now, which the sweep holds.

    racing.objects.before_delete = while_removing
    racing.sweeper.sweep()
    thread.join()

    assert racing.read("a") == b"one"


@pytest.mark.parametrize("round", range(3))
def test_uploads_deletions_and_sweeps_all_at_once_lose_nothing(place: Place, round: int) -> None:
    """Four callers put, read and delete the same few contents at paths of their own, while two sweep."""
    failed: list[BaseException] = []
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            try:
                place.sweeper.look()
                place.sweeper.sweep()
            except BaseException as error:
                failed.append(error)
                return

    def work(who: int) -> None:
        try:
            for step in range(25):
                path, data = f"{who}/{step % 3}", f"content {step % 2}".encode()
                place.put(path, data)
                assert place.read(path) == data
                if step % 2:
                    place.delete(path)
        except BaseException as error:
            failed.append(error)

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    workers = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in (*sweepers, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    for thread in sweepers:
        thread.join()

    assert failed == []
    left = place.store.artifacts.list(place.run.removeprefix("runs/"), "", recursive=True, after=None, limit=100).items
    place.sweeper.sweep()
    assert place.stored() == {content_key(file.sha256) for file in left}
    for file in left:
        assert sha256(place.read(file.path)) == file.sha256


class TestInABucket:
    @pytest.fixture
    def place(self, sqlite_store: Store, bucket: str) -> Place:  # noqa: F811
        return Place(sqlite_store, Objects.open(bucket))

    def test_bytes_of_a_deleted_file_go(self, place: Place) -> None:
        place.put("a", b"one")
        place.put("b", b"two")
        place.delete("a")
        place.objects.put(content_key(sha256(b"left")), iter([b"left"]))

        place.sweeper.look()
        place.sweeper.sweep()

        assert place.stored() == {content_key(sha256(b"two"))}


def test_a_deletion_through_the_service_frees_the_bytes_soon(tracking: Tracking, service) -> None:
    run = tracking.run(tracking.experiment().name).name
    for path in ("a/b/1", "a/b/2", "a/c", "d"):
        tracking.upload(run, path, path.encode())

    tracking.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=run, path="a/b"))
    assert tracking.artifacts(run, recursive=True) == ["a/c", "d"]
    tracking.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=run, path="a/c"))
    assert tracking.artifacts(run) == ["d"], "a folder with nothing in it is gone"
    with refused("RESOURCE_NOT_FOUND"):
        tracking.stub.DeleteArtifact(pb.DeleteArtifactRequest(parent=run, path="a"))

    objects = Path(service.server._config.data) / "objects"
    for _ in range(1000):
        if {path.name for path in objects.rglob("*") if path.is_file()} == {sha256(b"d")}:
            break
        threading.Event().wait(0.05)
    else:
        raise AssertionError("the bytes are still there")
    assert tracking.download(run, "d")[1] == b"d"
