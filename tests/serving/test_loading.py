"""What is verified before a version answers, and what is never loaded."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml

from fivefold.sdk.errors import FivefoldError
from fivefold_serving import worker
from fivefold_serving.cache import Cache
from fivefold_serving.loader import Loader, VersionRefused
from fivefold_serving.versions import File, Version, digest_of
from fivefold_serving.worker import Worker, WorkerLost
from tests.serving.conftest import Packages
from tests.serving.world import World, row


class Folder:
    """A registry that holds one folder: what a Loader asks of it, without a network."""

    def __init__(self, folder: Path) -> None:
        self.contents = {
            path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        self.downloads = 0

    def version(self) -> Version:
        files = tuple(
            File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(self.contents.items())
        )
        return Version("late", 1, digest_of(files), files)

    def download(self, version: Version, path: str) -> Iterator[bytes]:
        self.downloads += 1
        yield self.contents[path]


@pytest.fixture
def folder(packages: Packages) -> Folder:
    return Folder(packages.of("ridge"))


def loader(folder: Folder, tmp_path: Path) -> Loader:
    return Loader(Cache(tmp_path, 2**40), folder, None)  # type: ignore[arg-type]  # asked for files only


def refused(folder: Folder, tmp_path: Path, version: Version | None = None) -> str:
    with pytest.raises(VersionRefused) as raised:
        loader(folder, tmp_path).load(version or folder.version())
    return str(raised.value)


def test_a_file_with_another_byte_than_the_registry_states_is_refused(folder: Folder, tmp_path: Path) -> None:
    version = folder.version()
    changed = bytearray(folder.contents["model.skops"])
    changed[len(changed) // 2] ^= 1
    folder.contents["model.skops"] = bytes(changed)
    assert "'model.skops' does not have the digest" in refused(folder, tmp_path, version)
    folder.contents["model.skops"] += b"x"
    assert "'model.skops' does not have the digest" in refused(folder, tmp_path, version)
    assert not list((tmp_path / "models").iterdir())


def test_a_digest_that_is_not_that_of_the_files_is_refused(folder: Folder, tmp_path: Path) -> None:
    version = folder.version()
    other = Version("late", 1, "0" * 64, version.files)
    assert "digest of the version" in refused(folder, tmp_path, other)


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a\\b", "", "a/./b"])
def test_a_path_out_of_the_package_is_refused_and_never_written(folder: Folder, tmp_path: Path, path: str) -> None:
    folder.contents[path] = b"canary"
    assert "path that is not allowed" in refused(folder, tmp_path / "data")
    assert b"canary" not in [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]


def test_files_are_fetched_once_and_verified_every_time(folder: Folder, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2**40)
    version = folder.version()

    def fetch() -> Path:
        return cache.fetch(version, lambda path: folder.download(version, path))

    home = fetch()
    assert fetch() == home
    assert folder.downloads == len(version.files)
    (home / "package" / "model.skops").write_bytes(b"rotten")
    fetch()
    assert folder.downloads == 2 * len(version.files)
    (home / "package" / "more").write_bytes(b"")
    fetch()
    assert not (home / "package" / "more").exists()


def test_the_cache_keeps_what_is_used_and_the_newest_up_to_its_limit(tmp_path: Path) -> None:
    import os

    cache = Cache(tmp_path, 250)
    digests = []
    for number in range(4):
        data = str(number).encode() * 100
        file = File("MLmodel", len(data), hashlib.sha256(data).hexdigest())
        version = Version("late", number, digest_of([file]), (file,))
        home = cache.fetch(version, lambda _, data=data: iter([data]))  # type: ignore[misc]
        os.utime(home, (number, number))
        digests.append(version.digest)
    cache.trim({digests[0]})
    assert {home.name for home in (tmp_path / "models").iterdir()} == {digests[0], digests[2], digests[3]}


def test_what_was_live_is_remembered_and_a_broken_note_is_nothing(folder: Folder, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2**40)
    assert cache.remembered() == []
    cache.remember([folder.version()])
    assert Cache(tmp_path, 2**40).remembered() == [folder.version()]
    (tmp_path / "live.json").write_text('[{"model": "late"}]')
    assert cache.remembered() == []


def edited(folder: Folder, change: Callable[[dict[str, Any]], None]) -> None:
    described = yaml.safe_load(folder.contents["MLmodel"])
    change(described)
    folder.contents["MLmodel"] = yaml.safe_dump(described).encode()


class Canary:
    """What a pickle would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("/tmp/fivefold-canary-of-a-test", "w")


def test_a_pickle_is_never_opened(folder: Folder, tmp_path: Path) -> None:
    folder.contents["model.pkl"] = pickle.dumps(Canary())
    edited(folder, lambda it: it["flavors"]["sklearn"].update(serialization_format="pickle", pickled_model="model.pkl"))
    assert "only skops" in refused(folder, tmp_path)
    folder.contents["model.skops"] = folder.contents.pop("model.pkl")
    edited(
        folder, lambda it: it["flavors"]["sklearn"].update(serialization_format="skops", pickled_model="model.skops")
    )
    assert refused(folder, tmp_path) == "model.skops is no skops file"
    assert not Path("/tmp/fivefold-canary-of-a-test").exists()


def test_a_type_that_the_loader_does_not_know_is_refused_whatever_the_package_trusts(
    folder: Folder, tmp_path: Path
) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(folder.contents["model.skops"])) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                data = data.replace(b'"__class__": "Ridge"', b'"__class__": "Popen"', 1)
                data = data.replace(b'"__module__": "sklearn.linear_model._ridge"', b'"__module__": "subprocess"', 1)
            new.writestr(name, data)
    folder.contents["model.skops"] = content.getvalue()
    edited(folder, lambda it: it["flavors"]["sklearn"].update(skops_trusted_types=["subprocess.Popen"]))
    assert "types that are not allowed: subprocess.Popen" in refused(folder, tmp_path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: it.pop("flavors"), "flavors must be a mapping"),
        (lambda it: it["flavors"].pop("sklearn"), "one of sklearn, lightgbm, xgboost is needed"),
        (lambda it: (it.pop("signature"), it["metadata"]["fivefold"].pop("signature")), "has no signature"),
        (lambda it: it["metadata"]["fivefold"]["signature"]["inputs"].pop(0), "which its signature lacks"),
        (lambda it: it["metadata"]["fivefold"].update(format=99), "this version reads 1"),
    ],
)
def test_a_package_that_contradicts_itself_is_refused_with_the_reason(
    folder: Folder, tmp_path: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    edited(folder, change)
    assert why in refused(folder, tmp_path)


def test_files_that_are_no_model_package_are_refused(folder: Folder, tmp_path: Path) -> None:
    folder.contents = {"notes.txt": b"hello"}
    assert "the files are no model package" in refused(folder, tmp_path)
    folder.contents = {"MLmodel": b"\tnot: [yaml"}
    assert "MLmodel is not YAML" in refused(folder, tmp_path)


def test_a_plan_is_made_once_and_again_when_it_is_damaged(folder: Folder, tmp_path: Path) -> None:
    assert loader(folder, tmp_path).load(folder.version()).about == "compiled linear"
    (plan,) = tmp_path.rglob("plan.json")
    made, content = plan.stat().st_mtime_ns, plan.read_bytes()
    loader(folder, tmp_path).load(folder.version())
    assert plan.stat().st_mtime_ns == made
    plan.write_bytes(b"{}")
    assert loader(folder, tmp_path).load(folder.version()).about == "compiled linear"
    assert plan.read_bytes() == content


def test_a_plan_that_answers_otherwise_than_the_native_model_is_not_used(folder: Folder, tmp_path: Path) -> None:
    loader(folder, tmp_path).load(folder.version())
    (plan,) = tmp_path.rglob("plan.json")
    wrong = json.loads(plan.read_text())
    wrong["root"]["intercepts"][0] += 1e-3
    plan.write_text(json.dumps(wrong))
    (digests,) = tmp_path.rglob("digests.json")
    digests.write_text(
        json.dumps(json.loads(digests.read_text()) | {"plan.json": hashlib.sha256(plan.read_bytes()).hexdigest()})
    )
    fallback = loader(folder, tmp_path).load(folder.version())
    assert fallback.about.startswith("native linear (it differs from the native answers by")
    fallback.predictor.close()


def test_a_child_that_hangs_is_ended_and_the_next_call_has_another(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = packed_rows()
    native = Worker(packages.of("histogram pair"))
    answers = native(rows, 1)
    monkeypatch.setattr(worker, "ANSWER_SECONDS", 0.2)
    native._child.send_signal(signal.SIGSTOP)
    with pytest.raises(WorkerLost):
        native(rows, 1)
    monkeypatch.undo()
    assert native(rows, 1) == pytest.approx(answers)
    native.close()


def packed_rows() -> dict[str, Any]:
    """One row as predictors take it."""
    return {name: values if isinstance(values[0], str) else np.array(values, float) for name, values in row().items()}


def test_a_version_that_is_refused_is_named_with_its_reason_to_whoever_asks(quiet: World, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "notes.txt").write_text("no model")
    version = quiet.version("hopeless", tmp_path / "nothing")
    quiet.promote(version)
    with quiet.serve("serving-refused") as server:
        server.until(version, "REFUSED")
        assert "no model package" in server.served(version).reason
        with pytest.raises(FivefoldError) as raised:
            server.client.serving.predict("hopeless", row())
        assert raised.value.reason == "MODEL_NOT_SERVED"
        assert "no model package" in raised.value.message
        from fivefold.inference.v1 import inference_pb2 as pb
        from fivefold_runtime.errors import parse

        def call(name: str, request: Any, answer: Any) -> Any:
            return server.running.channel.unary_unary(
                f"/inference.GRPCInferenceService/{name}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=answer.FromString,
            )(request)

        index = call("RepositoryIndex", pb.RepositoryIndexRequest(), pb.RepositoryIndexResponse)
        entry = next(one for one in index.models if one.name == "hopeless")
        assert (entry.state, "no model package" in entry.reason) == ("UNAVAILABLE", True)
        with pytest.raises(grpc.RpcError) as failed:
            call(
                "RepositoryModelLoad",
                pb.RepositoryModelLoadRequest(model_name="hopeless"),
                pb.RepositoryModelLoadResponse,
            )
        assert failed.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert parse(failed.value)[0] == "MODEL_REFUSED"
    quiet.demote(version)
