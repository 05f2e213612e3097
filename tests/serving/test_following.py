"""What is in Production is live: swaps under load, rollbacks, refusals, and a registry that goes away."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fivefold.models.package import FeatureSpec
from fivefold.registry.v1 import registry_pb2
from fivefold.registry.v1.registry_pb2_grpc import RegistryServiceStub
from fivefold.sdk.columns import to_wire
from fivefold.sdk.errors import FivefoldError
from fivefold.serving.v1 import serving_pb2
from fivefold.serving.v1.serving_pb2_grpc import ServingServiceStub
from fivefold_registry import __main__ as registry
from fivefold_runtime.errors import parse
from fivefold_runtime.server import Server as RuntimeServer
from tests.serving import fitted
from tests.serving.conftest import Packages
from tests.serving.world import Server, World, client_of, free_port, row, until


def asked(count: int = 1) -> dict[str, list[Any]]:
    given = row(0, count)
    return given | {"jet": [None if value is None else bool(value) for value in given["jet"]]}


@pytest.fixture(scope="module")
def server(quiet: World) -> Iterator[Server]:
    with quiet.serve("serving-following") as running:
        yield running


class Callers:
    """Clients that predict without a pause until they are stopped, and what they were answered."""

    def __init__(self, server: Server, model: str, count: int = 4) -> None:
        self.answers: Counter[tuple[str, float]] = Counter()
        self.failures: list[str] = []
        self.order: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(server, model)) for _ in range(count)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, server: Server, model: str) -> None:
        with client_of(serving=server.running.address) as client:
            while not self._stop.is_set():
                try:
                    answer = client.serving.predict(model, asked())
                except FivefoldError as error:
                    self.failures.append(str(error))
                    continue
                self.order.append(answer.model_version)
                self.answers[answer.model_version, round(next(iter(answer.outputs.values()))[0], 9)] += 1


def test_swaps_under_load_fail_nothing_and_every_answer_is_of_exactly_one_version(
    quiet: World, server: Server, packages: Packages
) -> None:
    names = ["ridge", "tree number"]
    versions = [quiet.version("swapped", packages.of(name)) for name in names]
    quiet.promote(versions[0])
    server.until(versions[0])
    wanted = {
        (version, round(float(fitted.pipeline(name).predict(fitted.table().head(1))[0]), 9))
        for version, name in zip(versions, names, strict=True)
    }
    with Callers(server, "swapped") as callers:
        for swap in range(1, 21):
            version = versions[swap % 2]
            quiet.promote(version)
            server.until(version)
            seen = len(callers.order)
            until(lambda seen=seen: len(callers.order) > seen + 20, "calls go on")  # type: ignore[misc]
    assert not callers.failures
    assert set(callers.answers) == wanted
    assert all(count > 20 for count in callers.answers.values())


def test_a_rollback_brings_the_kept_version_back_without_loading_it_again(
    quiet: World, server: Server, packages: Packages
) -> None:
    first, second = (quiet.version("back", packages.of(name)) for name in ("ridge", "tree number"))
    for version in (first, second):
        quiet.promote(version)
        server.until(version)
    assert server.state(first) == "STANDBY"
    kept = server.running.app.background[0]._table.entries["back"].standby  # type: ignore[attr-defined]
    quiet.client.registry.roll_back("back")
    server.until(first)
    assert server.running.app.background[0]._table.entries["back"].live is kept  # type: ignore[attr-defined]
    assert server.state(second) == "STANDBY"


def test_a_version_that_cannot_be_loaded_never_replaces_the_one_that_answers(
    quiet: World, server: Server, packages: Packages, tmp_path: Path
) -> None:
    good = quiet.version("steady", packages.of("ridge"))
    quiet.promote(good)
    server.until(good)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "MLmodel").write_text("flavors: {sklearn: {}}")
    bad = quiet.version("steady", tmp_path / "bad")
    with Callers(server, "steady") as callers:
        quiet.promote(bad)
        server.until(bad, "REFUSED")
        assert server.state(good) == "LIVE"
        seen = len(callers.order)
        until(lambda: len(callers.order) > seen + 20, "calls go on")
    assert not callers.failures
    assert {version for version, _ in callers.answers} == {good}
    better = quiet.version("steady", packages.of("tree number"))
    quiet.promote(better)
    server.until(better)
    assert server.state(bad) == ""


def test_after_a_restart_the_version_before_a_refused_one_answers_again(
    quiet: World, packages: Packages, tmp_path: Path
) -> None:
    good = quiet.version("restarted", packages.of("ridge"))
    quiet.promote(good)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "MLmodel").write_text("flavors: {sklearn: {}}")
    bad = quiet.version("restarted", tmp_path / "bad")
    with quiet.serve("serving-restarted") as first:
        first.until(good)
        quiet.promote(bad)
        first.until(bad, "REFUSED")
    with quiet.serve("serving-restarted") as second:
        second.until(good)
        assert second.state(bad) == "REFUSED"
        assert second.client.serving.predict("restarted", asked()).model_version == good
    quiet.demote(bad)


def test_a_version_whose_feature_spec_is_not_there_is_refused(quiet: World, server: Server, packages: Packages) -> None:
    missing = FeatureSpec("specs/nowhere", (), ())
    version = quiet.version("specless", packages.of("ridge", missing))
    quiet.promote(version)
    server.until(version, "REFUSED")
    assert "its feature spec cannot be read" in server.served(version).reason
    quiet.demote(version)


def test_a_file_that_rots_in_the_registry_is_refused_and_the_old_version_stays(
    quiet: World, server: Server, packages: Packages, tmp_path: Path
) -> None:
    good = quiet.version("rotting", packages.of("ridge"))
    quiet.promote(good)
    server.until(good)
    folder = tmp_path / "rotten"
    fitted.save("tree number", folder)
    (folder / "notes.txt").write_text("only in this version")
    version = quiet.client.registry.get_version(quiet.version("rotting", folder))
    digest = next(file.sha256 for file in version.files if file.path == "notes.txt")
    stored = next(path for path in quiet.folder.rglob(f"registry/objects/**/{digest}"))
    stored.chmod(0o600)
    stored.write_text("changed by someone...")
    quiet.promote(version.name)
    server.until(version.name, "REFUSED")
    assert "notes.txt" in server.served(version.name).reason
    assert server.client.serving.predict("rotting", asked()).model_version == good


def test_of_several_versions_in_production_the_highest_number_answers(
    quiet: World, server: Server, packages: Packages
) -> None:
    first, second = (quiet.version("several", packages.of("ridge")) for _ in range(2))
    for version in (second, first):
        quiet.client.registry.transition(version, "Production")
    server.until(second)
    quiet.demote(second)
    server.until(first)


def test_a_model_that_left_production_is_not_served_and_comes_back(
    quiet: World, server: Server, packages: Packages
) -> None:
    version = quiet.version("leaving", packages.of("ridge"))
    quiet.promote(version)
    server.until(version)
    quiet.demote(version)
    server.until(version, "STANDBY")
    with pytest.raises(FivefoldError) as raised:
        server.client.serving.predict("leaving", asked())
    assert raised.value.reason == "MODEL_NOT_SERVED"
    quiet.promote(version)
    server.until(version)


def test_a_call_while_the_first_version_is_loaded_is_told_to_come_back(
    quiet: World, server: Server, tmp_path: Path
) -> None:
    fitted.save("ridge", tmp_path / "unseen")
    (tmp_path / "unseen" / "notes.txt").write_text("so that no plan of it is there")
    version = quiet.version("arriving", tmp_path / "unseen")
    quiet.promote(version)
    server.until(version, "LOADING")
    request = serving_pb2.PredictRequest(model="models/arriving", columns=to_wire(asked()))
    with grpc.insecure_channel(server.running.address) as plain, pytest.raises(grpc.RpcError) as raised:
        ServingServiceStub(plain).Predict(request)  # The SDK would ask again until the version is there.
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert parse(raised.value)[0] == "MODEL_LOADING"
    server.until(version)


class Restartable:
    """A registry on one address that is stopped and started, also with an older state of its folder."""

    def __init__(self, folder: Path, tracking: str) -> None:
        self._folder = folder
        self._config = registry.Config(listen=f"127.0.0.1:{free_port()}", data=str(folder), tracking=tracking)
        folder.mkdir()
        self.address = self._config.listen
        self.start()

    def start(self) -> None:
        self._server = RuntimeServer(self._config, registry.build(self._config))
        self._server.start()

    def stop(self) -> None:
        self._server.close()

    def back_up(self) -> None:
        self.stop()
        shutil.copytree(self._folder, self._folder.with_name("backup"))
        self.start()

    def restore(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)
        self._folder.with_name("backup").rename(self._folder)
        self.start()


def test_while_the_registry_is_away_all_is_served_and_afterwards_it_catches_up(
    quiet: World, packages: Packages, tmp_path: Path
) -> None:
    own = Restartable(tmp_path / "registry", quiet.tracking.address)
    with client_of(tracking=quiet.tracking.address, registry=own.address) as client:
        alone = World(tmp_path, quiet.tracking, quiet.features, quiet.registry, client, quiet.stack)
        first, second = (alone.version("kept", packages.of(name)) for name in ("ridge", "tree number"))
        alone.promote(first)
        with alone.serve("one", registry=own.address) as server:
            server.until(first)
            with Callers(server, "kept", 2) as callers:
                own.stop()
                until(lambda: not server.client.serving.state().registry_connected, "the server knows that it is alone")
                seen = len(callers.order)
                until(lambda: len(callers.order) > seen + 50, "calls are answered without a registry")
                own.start()
                alone.promote(second)
                server.until(second)
            assert not callers.failures
        own.stop()
        with alone.serve("two", registry=own.address) as empty:
            assert empty.running.app.ready() == "the registry has not answered yet"
            with alone.serve("one", registry=own.address) as again:
                again.until(second)
                assert again.client.serving.predict("kept", asked()).model_version == second
                assert again.running.app.ready() == ""
                own.start()
                until(lambda: again.client.serving.state().registry_connected, "the registry is found again")
            empty.until(second)
        own.stop()


def test_a_registry_that_was_restored_from_a_backup_is_followed_as_it_is_now(
    quiet: World, packages: Packages, tmp_path: Path
) -> None:
    own = Restartable(tmp_path / "registry", quiet.tracking.address)
    with client_of(tracking=quiet.tracking.address, registry=own.address) as client:
        alone = World(tmp_path, quiet.tracking, quiet.features, quiet.registry, client, quiet.stack)
        first = alone.version("restored", packages.of("ridge"))
        alone.promote(first)
        own.back_up()
        second = alone.version("restored", packages.of("tree number"))
        with alone.serve("one", registry=own.address) as server:
            server.until(first)
            alone.promote(second)
            server.until(second)
            own.restore()
            server.until(first)
            again = alone.version("restored", packages.of("tree number"))
            alone.promote(again)
            server.until(again)
            assert server.client.serving.predict("restored", asked()).model_version == again
        own.stop()


def test_a_version_whose_files_are_elsewhere_is_refused_and_the_one_before_stays(
    quiet: World, server: Server, packages: Packages
) -> None:
    good = quiet.version("moved", packages.of("ridge"))
    quiet.promote(good)
    server.until(good)
    elsewhere = registry_pb2.CreateModelVersionRequest(
        parent="models/moved", model_version=registry_pb2.ModelVersion(external_uri="s3://another/model")
    )
    made = RegistryServiceStub(quiet.registry.channel).CreateModelVersion(elsewhere).name
    quiet.promote(made)
    server.until(made, "REFUSED")
    assert server.state(good) == "LIVE"
