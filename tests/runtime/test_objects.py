"""Objects in a folder: whole or not at all, verified, never outside the root."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time

import pytest
from test_names import HOSTILE

from fivefold_runtime import faults
from fivefold_runtime.errors import InvalidArgument, OutOfRange
from fivefold_runtime.names import NameInvalid
from fivefold_runtime.objects import CHUNK, DigestMismatch, ObjectMissing, Objects, ObjectTooLong
from fivefold_runtime.settings import StartError


@pytest.fixture
def objects(tmp_path):
    return Objects.open(str(tmp_path / "root"))


def files(tmp_path) -> list[str]:
    return sorted(name for _, _, names in os.walk(tmp_path) for name in names)


def test_what_is_written_is_read_back_in_bounded_pieces(objects):
    content = os.urandom(3 * CHUNK + 17)
    stored = objects.put("ab/cd", (content[i : i + 100_000] for i in range(0, len(content), 100_000)))
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    pieces = list(objects.stream("ab/cd"))
    assert b"".join(pieces) == content and max(map(len, pieces)) <= CHUNK
    assert b"".join(objects.stream("ab/cd", 5, 2 * CHUNK)) == content[5 : 2 * CHUNK]
    assert objects.read("ab/cd") == content
    assert (objects.exists("ab/cd"), objects.size("ab/cd")) == (True, len(content))


def test_an_empty_object_is_an_object(objects):
    assert objects.put("empty", []).size == 0
    assert list(objects.stream("empty")) == []
    assert objects.read("empty") == b""


def test_bytes_that_are_not_what_was_announced_are_not_stored(objects, tmp_path):
    good = hashlib.sha256(b"good").hexdigest()
    objects.put("k", [b"go", b"od"], sha256=good)
    with pytest.raises(DigestMismatch) as caught:
        objects.put("k", [b"evil"], sha256=good)
    assert caught.value.reason == "DIGEST_MISMATCH"
    assert objects.read("k") == b"good"
    with pytest.raises(DigestMismatch):
        objects.put("big", [b"x" * 9_000_000] * 3, sha256=good)
    assert files(tmp_path) == ["k"]


def test_an_upload_that_breaks_off_leaves_nothing(objects, tmp_path):
    def broken():
        yield b"x" * 20_000_000
        raise ConnectionResetError("gone")

    with pytest.raises(Exception, match=r"gone|at the moment"):
        objects.put("k", broken())
    assert files(tmp_path) == []


def test_too_many_bytes_are_refused_before_they_are_all_there(objects):
    def endless():
        while True:
            yield b"x" * 1000

    with pytest.raises(ObjectTooLong) as caught:
        objects.put("k", endless(), limit=10_000)
    assert caught.value.reason == "FIELD_TOO_LONG"
    assert not objects.exists("k")


def test_reading_beyond_the_end_is_out_of_range(objects):
    objects.put("k", [b"12345"])
    assert list(objects.stream("k", 5)) == []
    with pytest.raises(OutOfRange):
        list(objects.stream("k", 6))
    assert b"".join(objects.stream("k", 3, 99)) == b"45"


def test_what_is_missing_is_not_found_except_to_delete(objects):
    for act in (objects.read, objects.size, lambda key: list(objects.stream(key)), lambda key: objects.copy(key, "b")):
        with pytest.raises(ObjectMissing) as caught:
            act("a/b")
        assert caught.value.reason == "RESOURCE_NOT_FOUND"
    objects.delete("a/b")
    assert not objects.exists("a/b")


def test_copies_and_lists(objects):
    objects.put("a/1", [b"x"])
    objects.copy("a/1", "b/c/2")
    objects.put("ab", [b"yy"])
    assert sorted(objects.list()) == [("a/1", 1), ("ab", 2), ("b/c/2", 1)]
    assert list(objects.list("a")) == [("a/1", 1)]
    assert list(objects.list("none")) == []
    objects.delete("a/1")
    assert objects.read("b/c/2") == b"x"


@pytest.mark.parametrize("hostile", [*HOSTILE[:-3], "a/../../x", "../canary", "a/.."])
def test_a_hostile_key_touches_nothing_outside(objects, tmp_path, hostile):
    canary = tmp_path / "canary"
    canary.write_text("alive")
    acts = [
        lambda: objects.put(hostile, [b"evil"]),
        lambda: objects.read(hostile),
        lambda: objects.delete(hostile),
        lambda: objects.copy("a", hostile),
        lambda: objects.copy(hostile, "b"),
    ]
    for act in acts:
        with pytest.raises((NameInvalid, ObjectMissing)):
            act()
    if hostile:
        with pytest.raises(NameInvalid):
            list(objects.list(hostile))
    assert canary.read_text() == "alive" and files(tmp_path) == ["canary"]


def test_a_link_that_leads_outside_is_neither_read_nor_written(objects, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("alive")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "file").symlink_to(tmp_path / "outside" / "canary")
    for key in ("link/canary", "file"):
        for act in (objects.read, objects.delete, lambda key: objects.put(key, [b"evil"])):
            with pytest.raises(ObjectMissing):
                act(key)
    assert (tmp_path / "outside" / "canary").read_text() == "alive"


def test_a_full_disk_is_storage_full_and_leaves_nothing_half_written(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        objects = Objects.open(str(place / "root"))
        objects.put("small", [b"x"])
        with pytest.raises(faults.StorageFull) as caught:
            objects.put("large", [b"x" * 100_000] * 10)
        assert caught.value.reason == "STORAGE_FULL"
        assert dict(objects.list()) == {"small": 1}
        assert files(place) == ["small"]
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_everything_below_a_prefix_goes_and_nothing_beside(objects, tmp_path):
    for key in ("a/b/1", "a/b/c/2", "a/bc", "a/x"):
        objects.put(key, [b"x"])

    objects.delete_below("a/b")
    objects.delete_below("nothing")

    assert {key for key, _ in objects.list()} == {"a/bc", "a/x"}
    for hostile in ("..", "a/..", "/etc"):
        with pytest.raises(NameInvalid):
            objects.delete_below(hostile)


def test_what_a_killed_write_left_goes_once_it_is_old(objects, tmp_path):
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom fivefold_runtime.objects import Objects\n"
            "def chunks():\n    yield b'x' * 20_000_000\n    print('some', flush=True)\n    time.sleep(600)\n"
            "Objects.open(sys.argv[1]).put('a/large', chunks())",
            str(tmp_path / "root"),
        ],
        stdout=subprocess.PIPE,
    )
    assert writer.stdout.readline() == b"some\n"
    while not [name for name in files(tmp_path / "root") if "large" in name]:
        time.sleep(0.02)
    writer.kill()
    writer.wait()
    objects.put("a/kept", [b"x"])

    assert objects.delete_unfinished(before=time.time() - 3600) == 0
    assert objects.delete_unfinished(before=time.time() + 3600) == 1
    assert files(tmp_path / "root") == ["kept"]


@pytest.mark.parametrize("url", ["ftp://x/y", "http://x/y", "/proc/no/such"])
def test_a_place_that_cannot_hold_objects_is_one_line(url):
    with pytest.raises(StartError) as caught:
        Objects.open(url)
    assert "\n" not in str(caught.value)


def test_errors_of_objects_are_for_callers_not_about_our_folders(objects, tmp_path):
    for act in (lambda: objects.read("k"), lambda: objects.read("../k")):
        with pytest.raises((InvalidArgument, ObjectMissing)) as caught:
            act()
        assert str(tmp_path) not in caught.value.message
