"""One set of real services for all tests of serving, and one serving process with the models that most of them ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pandas as pd
import pytest

from fivefold.models.package import FeatureSpec
from fivefold.models.signature import Column
from fivefold.sdk.lookups import Lookup
from fivefold.serving.v1.serving_pb2_grpc import ServingServiceStub
from tests.serving import fitted
from tests.serving.world import Server, World

PLANES = pd.DataFrame(
    {
        "carrier": ["AA", "B6"],
        "delay": [5.0, -3.0],
        "seats": [100, 200],
        "speed": [400.0, 380.0],
        "origin": ["JFK", None],
    }
)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World.open(tmp_path_factory.mktemp("world")) as opened:
        yield opened


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Services without a model yet, for servers of a module's own: each loads all that is in Production."""
    with World.open(tmp_path_factory.mktemp("quiet")) as opened:
        yield opened


@pytest.fixture(scope="session")
def spec(world: World) -> FeatureSpec:
    """A published table by carrier, and the spec that looks it up."""
    features = world.client.features
    features.create_table("planes", PLANES, keys=["carrier"])
    features.write("planes", PLANES)
    features.publish("planes")
    features.create_spec("flight", [Lookup(table="planes", features=["delay", "seats", "speed", "origin"])])
    names = {"delay": "double", "seats": "int64", "speed": "double", "origin": "string"}
    return FeatureSpec(
        "specs/flight",
        (Column("carrier", "string"),),
        tuple(Column(name, kind) for name, kind in names.items()),
    )


@dataclass(frozen=True)
class Packages:
    """Folders of packages by the name of their model in `fitted`."""

    folder: Path

    def of(self, name: str, spec: FeatureSpec | None = None) -> Path:
        folder = self.folder / f"{name.replace(' ', '-')}{'-spec' if spec else ''}"
        if not folder.exists():
            fitted.save(name, folder, spec=spec)
        return folder


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session")
def served(world: World, packages: Packages, spec: FeatureSpec) -> Iterator[Server]:
    """A server with `late` (pair of classes, by keys), `soon` (three classes), `minutes` (a regressor) and `slow` (native)."""
    models = {
        "late": packages.of("lightgbm pair", spec),
        "soon": packages.of("xgboost three"),
        "minutes": packages.of("ridge"),
        "slow": packages.of("histogram pair"),
    }
    versions = [world.version(model, folder) for model, folder in models.items()]
    for version in versions:
        world.promote(version)
    with world.serve() as server:
        for version in versions:
            server.until(version)
        yield server


@pytest.fixture(scope="session")
def stub(served: Server) -> ServingServiceStub:
    return ServingServiceStub(served.running.channel)


@pytest.fixture(scope="session")
def channel(served: Server) -> grpc.Channel:
    return served.running.channel
