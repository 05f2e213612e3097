"""Copies share contents and outlive their source; versions from elsewhere have none; logged models are sources too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.tracking.v1 import tracking_pb2 as tracking
from fivefold_registry.__main__ import Config, build
from fivefold_runtime.errors import NotFound
from fivefold_runtime.testing import serve
from tests.registry.client import ARCHIVED, PRODUCTION, Registry
from tests.registry.sources import MODEL, RUN, SOURCE, Faulty, Sources
from tests.runtime.asserting import refused

LOGGED = "logged_models/m-" + "a" * 32


def contents(data: Path) -> int:
    return sum(file.is_file() for file in (data / "objects").rglob("*"))


def test_a_copy_moves_no_bytes_and_has_all_that_its_source_has(registry: Registry, data: Path) -> None:
    registry.model()
    source = registry.make(description="d", tags={"k": "v"}, lineage=pb.Lineage(job="jobs/7"))
    stored = contents(data)
    made = registry.copy(source.name, "fraud", create_model=True)
    assert contents(data) == stored
    assert (made.name, made.stage, made.status) == ("models/fraud/versions/1", pb.STAGE_NONE, source.status)
    assert made.copied_from == source.name
    for field in ("description", "tags", "source", "lineage", "signature", "flavors", "files", "digest"):
        assert getattr(made, field) == getattr(source, field), field
    assert registry.get("fraud").creator == "local"


def test_a_copy_outlives_its_source(registry: Registry, data: Path) -> None:
    registry.model()
    source = registry.make().name
    made = registry.copy(source, "fraud", create_model=True).name
    registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/churn"))
    for path, content in MODEL.items():
        assert registry.download(made, path)[1] == content
    registry.delete_version(made)
    assert contents(data) == 0


def test_a_copy_within_its_model_is_the_next_version(on_both: Registry) -> None:
    on_both.model()
    source = on_both.make().name
    on_both.move(source, PRODUCTION)
    copies = [on_both.copy(source, "churn", request_id="same") for _ in range(2)]
    assert [copy.name for copy in copies] == ["models/churn/versions/2"] * 2
    assert on_both.numbers(PRODUCTION) == [1]


def test_a_copy_races_with_its_sources_deletion_and_is_whole_or_not_there(on_both: Registry) -> None:
    on_both.model()
    on_both.model("kept")
    for _ in range(10):
        source = on_both.make(tags={}).name
        gate = threading.Barrier(2)

        def delete(source: str = source, gate: threading.Barrier = gate) -> None:
            gate.wait()
            on_both.delete_version(source)

        thread = threading.Thread(target=delete)
        thread.start()
        gate.wait()
        try:
            made = on_both.copy(source, "kept").name
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
        else:
            thread.join()
            assert {path: on_both.download(made, path)[1] for path in MODEL} == MODEL
            on_both.delete_version(made)
        thread.join()


def test_a_version_from_elsewhere_is_ready_and_has_no_files(on_both: Registry) -> None:
    on_both.model()
    canary = "/no/such/folder/that/anyone/reads"
    made = on_both.elsewhere(canary, description="moved here", lineage=pb.Lineage(run=RUN))
    assert (made.status, made.external_uri, made.source) == (pb.VERSION_STATUS_READY, canary, "")
    assert (list(made.files), made.digest, list(made.flavors)) == ([], "", [])
    assert made.lineage.run == RUN
    on_both.move(made.name, PRODUCTION)
    with refused("RESOURCE_NOT_FOUND"):
        on_both.download(made.name, "MLmodel")
    copy = on_both.copy(made.name, "other", create_model=True)
    assert copy.external_uri == canary


@pytest.mark.parametrize("uri", ["s3://bucket/a b", "dbfs:/models/1", "file:///etc/passwd", "C:\\models", "../up", "ü"])
def test_an_address_is_kept_as_it_is(registry: Registry, uri: str) -> None:
    registry.model()
    assert registry.version(registry.elsewhere(uri).name).external_uri == uri


def test_a_version_from_elsewhere_is_made_once_per_request(on_both: Registry) -> None:
    on_both.model()
    request = pb.CreateModelVersionRequest(
        parent="models/churn", model_version=pb.ModelVersion(external_uri="s3://b"), request_id="once"
    )
    assert {on_both.stub.CreateModelVersion(request).name for _ in range(3)} == {"models/churn/versions/1"}


@pytest.mark.parametrize("whole", [False, True])
def test_who_makes_a_version_that_is_deleted_meanwhile_is_told(data: Path, whole: bool) -> None:
    files, copying, go_on = Faulty(), threading.Event(), threading.Event()

    def waits(context: grpc.ServicerContext) -> Iterator[bytes]:
        copying.set()
        go_on.wait()
        yield files.listed

    files.send = waits
    with files.served() as address, serve(build, Config(data=str(data), tracking=address)) as running:
        registry = Registry(running.channel, SOURCE)
        registry.model()
        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(registry.make)
            copying.wait()
            if whole:
                registry.stub.DeleteModel(pb.DeleteModelRequest(name="models/churn"))
            else:
                registry.delete_version("models/churn/versions/1")
            go_on.set()
            with refused("RESOURCE_NOT_FOUND"):
                making.result()
        if not whole:
            assert registry.make().version == 2
            assert registry.verify().valid


class Logged(Faulty):
    """A tracking service with a logged model, whose run may be gone."""

    gone = False

    def GetLoggedModel(
        self, request: tracking.GetLoggedModelRequest, context: grpc.ServicerContext
    ) -> tracking.LoggedModel:
        assert request.name == LOGGED
        return tracking.LoggedModel(
            name=LOGGED, experiment="experiments/7", source_run=RUN, tags={"fivefold.job": "jobs/9"}
        )

    def GetRun(self, request: tracking.GetRunRequest, context: grpc.ServicerContext) -> tracking.Run:
        if self.gone:
            error = NotFound.of(request.name)
            context.set_trailing_metadata(error.trailers())
            context.abort(error.code, error.message)
        tags = {"fivefold.training_set": "trainingSets/1", "fivefold.job": "jobs/8"}
        return tracking.Run(name=request.name, experiment="experiments/7", tags=tags)

    def ListArtifacts(
        self, request: tracking.ListArtifactsRequest, context: grpc.ServicerContext
    ) -> tracking.ListArtifactsResponse:
        assert request.parent == LOGGED
        self.paths = (f"{request.path}/weights" if request.path else "weights",)
        return super().ListArtifacts(request, context)


@pytest.mark.parametrize("folder", ["", "/model", "/a/b"])
def test_the_artifacts_of_a_logged_model_become_a_version(data: Path, folder: str) -> None:
    files = Logged()
    with files.served() as address, serve(build, Config(data=str(data), tracking=address)) as running:
        registry = Registry(running.channel, f"{LOGGED}/artifacts{folder}")
        registry.model()
        made = registry.make()
        assert [file.path for file in made.files] == ["weights"]
        assert registry.download(made.name, "weights")[1] == files.listed
        assert made.source == registry.source
        lineage = made.lineage
        assert (lineage.logged_model, lineage.run, lineage.experiment) == (LOGGED, RUN, "experiments/7")
        assert (lineage.training_set, lineage.job) == ("trainingSets/1", "jobs/9")

        files.gone = True
        orphan = registry.make().lineage
        assert (orphan.logged_model, orphan.run, orphan.training_set) == (LOGGED, RUN, "")


def test_a_real_logged_model_becomes_a_version_that_is_read(registry: Registry, sources: Sources) -> None:
    run = sources.tracking.run(sources.experiment, tags={"fivefold.job": "jobs/9"}).name
    asked = tracking.LoggedModel(experiment=sources.experiment, source_run=run)
    logged = sources.tracking.stub.CreateLoggedModel(tracking.CreateLoggedModelRequest(logged_model=asked)).name
    for path, content in MODEL.items():
        sources.tracking.upload(logged, path, content)
    registry.model()
    made = registry.make(source=f"{logged}/artifacts")
    assert {file.path for file in made.files} == set(MODEL)
    assert "sklearn" in made.flavors
    assert (made.lineage.logged_model, made.lineage.run, made.lineage.job) == (logged, run, "jobs/9")
    with refused("SOURCE_INVALID"):
        registry.make(source=f"logged_models/m-{'0' * 32}/artifacts")


def test_an_alias_goes_on_meaning_its_version_whatever_stage_it_is_in(registry: Registry) -> None:
    registry.model()
    made = registry.make().name
    assert list(registry.alias("champion", 1).aliases) == ["champion"]
    registry.alias("a-1", 1)
    assert list(registry.move(made, PRODUCTION).model_version.aliases) == ["a-1", "champion"]
    (latest,) = registry.get().latest_versions
    assert list(latest.aliases) == ["a-1", "champion"]
    (listed,) = registry.versions()
    assert list(listed.aliases) == ["a-1", "champion"]
    registry.move(made, ARCHIVED)
    assert registry.version("models/churn/aliases/champion").stage == ARCHIVED


def test_an_alias_changes_the_models_etag(registry: Registry) -> None:
    registry.model()
    registry.make()
    before = registry.get().etag
    registry.alias("champion", 1)
    with refused("ETAG_MISMATCH"):
        registry.rename("churn", "attrition", etag=before)
