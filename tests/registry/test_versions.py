"""How a version is made: files by digest, package, lineage, failure, repetition."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fivefold.data.v1 import data_pb2
from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.tracking.v1 import tracking_pb2
from fivefold_registry import copying
from fivefold_registry.__main__ import Config, build
from fivefold_registry.store.records import VersionRecord
from fivefold_registry.store.versions import SqlVersions
from fivefold_runtime import mutation
from fivefold_runtime.errors import NotFound
from fivefold_runtime.testing import serve
from tests.registry.client import NONE, PRODUCTION, STAGING, Registry
from tests.registry.sources import MODEL, SOURCE, Faulty, Sources
from tests.runtime.asserting import refused
from tests.tracking.client import sha256

READY, FAILED = pb.VERSION_STATUS_READY, pb.VERSION_STATUS_FAILED


@pytest.fixture
def faulty() -> Faulty:
    return Faulty()


@pytest.fixture
def over_faulty(data: Path, faulty: Faulty) -> Iterator[Registry]:
    """A registry whose tracking service does what the test says."""
    with faulty.served() as address, serve(build, Config(data=str(data), tracking=address)) as running:
        yield Registry(running.channel, SOURCE)


def stored(data: Path) -> list[str]:
    """Digests of the contents that a registry keeps."""
    return sorted(path.name for path in (data / "objects").rglob("*") if path.is_file())


def test_a_version_has_its_own_copy_of_all_files(registry: Registry, data: Path) -> None:
    registry.model()
    made = registry.make(description="first", tags={"team": "ops"})

    assert (made.name, made.version, made.status, made.stage) == ("models/churn/versions/1", 1, READY, NONE)
    assert [(file.path, file.size_bytes, file.sha256) for file in made.files] == [
        (path, len(content), sha256(content)) for path, content in sorted(MODEL.items())
    ]
    assert stored(data) == sorted(sha256(content) for content in MODEL.values())
    for path, content in MODEL.items():
        file, downloaded = registry.download(made.name, path)
        assert downloaded == content
        assert file.sha256 == sha256(content)
    assert registry.version(made.name) == made
    assert not registry.versions()[0].files, "lists leave files out"


def test_the_digest_is_that_of_what_sha256sum_prints(registry: Registry) -> None:
    registry.model()
    made = registry.make()
    printed = "".join(f"{sha256(content)}  {path}\n" for path, content in sorted(MODEL.items()))
    assert made.digest == hashlib.sha256(printed.encode()).hexdigest()


def test_a_download_resumes_at_an_offset(registry: Registry) -> None:
    registry.model()
    name = registry.make().name
    whole = MODEL["model.skops"]
    assert registry.download(name, "model.skops", offset=17)[1] == whole[17:]
    assert registry.download(name, "model.skops", offset=len(whole))[1] == b""
    with refused("FIELD_INVALID") as refusal:
        registry.download(name, "model.skops", offset=len(whole) + 1)
    assert refusal.code == grpc.StatusCode.OUT_OF_RANGE
    with refused("RESOURCE_NOT_FOUND"):
        registry.download(name, "model.pkl")


def test_two_versions_share_contents_until_the_last_is_deleted(
    registry: Registry, sources: Sources, data: Path
) -> None:
    registry.model("one")
    registry.model("two")
    registry.make("one")
    registry.make("two", source=sources.upload({"MLmodel": MODEL["MLmodel"], "other": b"only here"}))
    registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/one"))
    assert stored(data) == sorted([sha256(MODEL["MLmodel"]), sha256(b"only here")])
    registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/two"))
    assert stored(data) == []


def test_the_package_says_flavors_and_signature(registry: Registry) -> None:
    registry.model()
    made = registry.make()
    assert list(made.flavors) == ["python_function", "sklearn"]
    assert [(column.name, column.type, column.required) for column in made.signature.inputs] == [
        ("distance", data_pb2.DATA_TYPE_DOUBLE, True),
        ("carrier", data_pb2.DATA_TYPE_STRING, False),
    ]
    assert [(column.name, column.type) for column in made.signature.outputs] == [("", data_pb2.DATA_TYPE_INT64)]


def test_a_source_that_is_no_package_becomes_ready_all_the_same(registry: Registry, sources: Sources) -> None:
    registry.model()
    made = registry.make(source=sources.upload({"weights.bin": b"1", "MLmodel": b"{ no: [yaml"}))
    assert (made.status, list(made.flavors)) == (READY, [])


def test_lineage_is_filled_from_package_and_run(registry: Registry, sources: Sources) -> None:
    registry.model()
    run = sources.model.partition("/artifacts")[0]
    assert registry.make().lineage == pb.Lineage(
        run=run,
        experiment=sources.experiment,
        training_set="trainingSets/0123456789abcdef0123456789abcdef",
        feature_spec="specs/delays",
    )


def test_lineage_is_filled_from_the_runs_tags_and_inputs(registry: Registry, sources: Sources) -> None:
    registry.model()
    source = sources.upload({"weights": b"1"}, tags={"fivefold.job": f"jobs/{'a' * 32}"})
    run = source.partition("/artifacts")[0]
    dataset = tracking_pb2.DatasetInput(
        dataset="d", digest="1", source_type="fivefold_training_set", source=f"trainingSets/{'b' * 32}"
    )
    sources.tracking.stub.LogInputs(tracking_pb2.LogInputsRequest(run=run, inputs=[dataset]))
    made = registry.make(source=source)
    assert (made.lineage.job, made.lineage.training_set) == (f"jobs/{'a' * 32}", f"trainingSets/{'b' * 32}")


def test_lineage_that_the_caller_gives_stays(registry: Registry) -> None:
    registry.model()
    given = pb.Lineage(
        run=f"runs/{'9' * 32}",
        training_set="trainingSets/mine",
        table_versions=["tables/weather/versions/2"],
        job="jobs/j",
        feature_spec="specs/own",
    )
    assert registry.make(lineage=given).lineage == given


@pytest.mark.parametrize(
    "source",
    [
        f"runs/{'f' * 32}/artifacts/model",
        f"runs/{'f' * 32}",
        "runs/1/artifacts/model",
        "s3://bucket/model",
        "file:///home/model",
        "/home/model",
        "models:/churn/1",
    ],
)
def test_a_source_that_is_not_there_makes_no_version(registry: Registry, source: str) -> None:
    registry.model()
    with refused("SOURCE_INVALID") as refusal:
        registry.make(source=source)
    assert refusal.facts["field"] == "model_version.source"
    assert registry.versions() == []


HOSTILE = [
    "../x",
    "model/../../x",
    "%2e%2e/x",
    "%252e%252e",
    "a\\b",
    "C:",
    "a;b",
    "a#b",
    "a?b",
    "/home",
    "a//b",
    "a/./b",
]


@pytest.mark.parametrize("path", ["nothing", "model/MLmodel", *HOSTILE, "a\u202eb", "\u2024\u2024/a", "x" * 1025])
def test_a_path_that_is_no_folder_of_the_run_makes_no_version(registry: Registry, sources: Sources, path: str) -> None:
    registry.model()
    run = sources.model.partition("/artifacts")[0]
    with refused("SOURCE_INVALID" if len(path) < 1000 else "FIELD_TOO_LONG"):
        registry.make(source=f"{run}/artifacts/{path}" if len(path) < 1000 else path * 2)
    assert registry.versions() == []


def test_all_artifacts_of_a_run_are_a_source_too(registry: Registry, sources: Sources) -> None:
    registry.model()
    run = sources.model.partition("/artifacts")[0]
    made = registry.make(source=f"{run}/artifacts")
    assert [file.path for file in made.files] == [f"model/{path}" for path in sorted(MODEL)]


def test_tracking_down_is_unavailable_and_leaves_a_failed_version(data: Path) -> None:
    with Faulty().served() as address:
        pass  # nobody listens there any more
    with serve(build, Config(data=str(data), tracking=address)) as running:
        registry = Registry(running.channel, SOURCE)
        registry.model()
        with refused("SERVICE_UNAVAILABLE") as refusal:
            registry.make()
        assert refusal.code == grpc.StatusCode.UNAVAILABLE
        (failed,) = registry.versions()
        assert failed.status == FAILED
        assert "tracking" in failed.status_message
        with refused("VERSION_NOT_READY"):
            registry.move(failed.name, STAGING)
        with refused("VERSION_NOT_READY"):
            registry.ask(failed.name, STAGING)
        with refused("VERSION_NOT_READY"):
            registry.download(failed.name, "weights")


def test_a_copy_that_breaks_off_leaves_a_failed_version_and_the_next_number_is_the_next(
    over_faulty: Registry, faulty: Faulty, data: Path
) -> None:
    def breaks(context: grpc.ServicerContext) -> Iterator[bytes]:
        yield faulty.listed[:5]
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    over_faulty.model()
    faulty.send = breaks
    with refused("SERVICE_UNAVAILABLE"):
        over_faulty.make()
    faulty.send = lambda context: iter([faulty.listed])
    made = over_faulty.make()
    assert [(version.version, version.status) for version in over_faulty.versions()] == [(2, READY), (1, FAILED)]
    assert over_faulty.download(made.name, "weights")[1] == faulty.listed
    assert stored(data) == [sha256(faulty.listed)]


@pytest.mark.parametrize("sent", [b"other bytes of any length", b""])
def test_bytes_that_were_not_announced_make_a_failed_version(
    over_faulty: Registry, faulty: Faulty, data: Path, sent: bytes
) -> None:
    over_faulty.model()
    faulty.send = lambda context: iter([sent])
    made = over_faulty.make()
    assert (made.status, made.status_message) == (FAILED, "a file changed while it was copied")
    assert not made.files
    assert stored(data) == []


def test_a_file_that_vanished_makes_a_failed_version(over_faulty: Registry, faulty: Faulty) -> None:
    def gone(context: grpc.ServicerContext) -> Iterator[bytes]:
        error = NotFound.of("model/weights")
        context.set_trailing_metadata(error.trailers())
        context.abort(error.code, error.message)
        yield b""

    over_faulty.model()
    faulty.send = gone
    assert over_faulty.make().status == FAILED


def test_the_same_call_sent_again_takes_the_failed_version_up(over_faulty: Registry, faulty: Faulty) -> None:
    def breaks(context: grpc.ServicerContext) -> Iterator[bytes]:
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield b""

    over_faulty.model()
    faulty.send = breaks
    with refused("SERVICE_UNAVAILABLE"):
        over_faulty.make(request_id="one")
    faulty.send = lambda context: iter([faulty.listed])
    made = over_faulty.make(request_id="one")
    assert (made.version, made.status) == (1, READY)
    assert over_faulty.make(request_id="one") == made
    with refused("REQUEST_ID_REUSED"):
        over_faulty.make(request_id="one", description="another body")
    assert len(over_faulty.versions()) == 1


def test_a_server_killed_between_the_version_and_its_answer_makes_no_second_one(
    data: Path, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty.served() as address:
        config = Config(data=str(data), tracking=address)
        with serve(build, config) as running, monkeypatch.context() as killed:
            registry = Registry(running.channel, SOURCE)
            registry.model()
            killed.delattr(mutation, "_answer")
            with refused("INTERNAL"):
                registry.make(request_id="one")
        with serve(build, config) as running:
            registry = Registry(running.channel, SOURCE)
            again = registry.make(request_id="one")
            assert (again.version, again.status) == (1, READY)
            assert again == registry.version(again.name)


def test_a_second_call_with_the_id_of_one_at_work_is_told_so(over_faulty: Registry, faulty: Faulty) -> None:
    copying, go_on = threading.Event(), threading.Event()

    def waits(context: grpc.ServicerContext) -> Iterator[bytes]:
        copying.set()
        go_on.wait()
        yield faulty.listed

    over_faulty.model()
    faulty.send = waits
    first: list[pb.ModelVersion] = []
    thread = threading.Thread(target=lambda: first.append(over_faulty.make(request_id="one")))
    thread.start()
    copying.wait()
    assert over_faulty.versions()[0].status == pb.VERSION_STATUS_PENDING
    with refused("VERSION_NOT_READY"):
        over_faulty.move("models/churn/versions/1", PRODUCTION)
    with refused("REQUEST_RUNNING"):
        over_faulty.make(request_id="one")
    go_on.set()
    thread.join()
    assert first[0].status == READY


def test_a_deadline_that_passes_while_copying_leaves_a_failed_version(over_faulty: Registry, faulty: Faulty) -> None:
    ended = threading.Event()

    def waits(context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(ended.set)
        yield faulty.listed[:3]
        ended.wait()

    over_faulty.model()
    faulty.send = waits
    request = pb.CreateModelVersionRequest(
        parent="models/churn", model_version=pb.ModelVersion(source=SOURCE), request_id="late"
    )
    with pytest.raises(grpc.RpcError) as caught:
        over_faulty.stub.CreateModelVersion(request, timeout=1.0)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    ended.wait()
    with over_faulty.watch() as watch:
        assert [event.type for event in watch.take(2)][-1] == pb.EVENT_TYPE_MODEL_VERSION_CREATED
    assert over_faulty.versions()[0].status == FAILED
    faulty.send = lambda context: iter([faulty.listed])
    assert over_faulty.stub.CreateModelVersion(request).status == READY


def test_files_that_are_there_already_are_signs_of_life_too(
    over_faulty: Registry, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_faulty.model()
    over_faulty.make()
    faulty.paths = tuple(f"model/{number}" for number in range(5))
    beaten: list[VersionRecord] = []
    monkeypatch.setattr(copying, "_BEAT_SECONDS", -1.0)
    monkeypatch.setattr(SqlVersions, "beat", lambda _, version: beaten.append(version))
    assert over_faulty.make().status == READY
    assert [version.number for version in beaten] == [2] * 5


def test_more_copies_than_allowed_are_refused_with_a_time_to_come_back(
    data: Path, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PATIENCE_SECONDS", 0.1)
    started, go_on = threading.Event(), threading.Event()

    def waits(context: grpc.ServicerContext) -> Iterator[bytes]:
        started.set()
        go_on.wait()
        yield faulty.listed

    faulty.send = waits
    with faulty.served() as address, serve(build, Config(data=str(data), tracking=address, copies=1)) as running:
        registry = Registry(running.channel, SOURCE)
        registry.model()
        thread = threading.Thread(target=registry.make)
        thread.start()
        started.wait()
        with refused("TOO_MANY_CALLS"):
            registry.make()
        assert len(registry.versions()) == 1
        go_on.set()
        thread.join()


def test_a_burst_of_copies_leaves_threads_to_other_calls(data: Path, faulty: Faulty) -> None:
    go_on = threading.Event()

    def waits(context: grpc.ServicerContext) -> Iterator[bytes]:
        go_on.wait()
        yield faulty.listed

    faulty.send = waits
    with (
        faulty.served() as address,
        serve(build, Config(data=str(data), tracking=address, threads=4, copies=1)) as running,
    ):
        registry = Registry(running.channel, SOURCE)
        registry.model()
        request = pb.CreateModelVersionRequest(parent="models/churn", model_version=pb.ModelVersion(source=SOURCE))
        burst = [registry.stub.CreateModelVersion.future(request) for _ in range(20)]
        started = time.monotonic()
        registry.get()
        assert time.monotonic() - started < 3.0  # A call that waits for a copy waits five seconds.
        go_on.set()
        ends = Counter(call.code() for call in burst)
        assert ends[grpc.StatusCode.OK] >= 1
        assert set(ends) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert ends[grpc.StatusCode.RESOURCE_EXHAUSTED] >= 15


@pytest.mark.parametrize("path", ["../escape", "model/../../escape", "/home/canary", "model/a\\b"])
def test_a_tracking_service_that_lists_hostile_paths_is_not_followed(
    over_faulty: Registry, faulty: Faulty, data: Path, path: str
) -> None:
    over_faulty.model()
    faulty.paths = (path,)
    with pytest.raises(grpc.RpcError) as caught:
        over_faulty.make()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert stored(data) == []
    assert over_faulty.versions() == []


def test_words_and_labels_of_a_version_change_and_nothing_else(registry: Registry) -> None:
    registry.model()
    made = registry.make(description="old", tags={"a": "1"})
    asked = pb.ModelVersion(name=made.name, description="new", tags={"b": "2"}, source="elsewhere", etag=made.etag)
    changed = registry.stub.UpdateModelVersion(pb.UpdateModelVersionRequest(model_version=asked))
    assert (changed.description, dict(changed.tags), changed.source) == ("new", {"b": "2"}, made.source)
    with refused("ETAG_MISMATCH"):
        registry.stub.UpdateModelVersion(pb.UpdateModelVersionRequest(model_version=asked))
    with refused("FIELD_INVALID"):
        registry.stub.UpdateModelVersion(
            pb.UpdateModelVersionRequest(model_version=asked, update_mask={"paths": ["stage"]})
        )


def test_lists_come_in_pages_newest_first(registry: Registry) -> None:
    registry.model()
    for _ in range(5):
        registry.make()
    numbers, token = [], ""
    while True:
        page = registry.stub.ListModelVersions(
            pb.ListModelVersionsRequest(parent="models/churn", page_size=2, page_token=token)
        )
        numbers += [version.version for version in page.model_versions]
        token = page.next_page_token
        if not token:
            break
    assert numbers == [5, 4, 3, 2, 1]
    with refused("PAGE_TOKEN_INVALID"):
        registry.stub.ListModelVersions(pb.ListModelVersionsRequest(parent="models/churn", page_token="junk"))
