"""Every service installs by itself from its own hashed lock, carries nothing it does not need, starts and stops."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.architecture.alone import Alone, Running
from tests.architecture.contracts import Contracts
from tests.architecture.tree import ROOT, SERVICES, SOURCES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

UV = Path(sys.executable).parent / "uv"
ABSENT = {
    "tracking": ["ray", "sklearn", "xgboost", "lightgbm", "pandas", "deltalake", "optuna"],
    "registry": ["ray", "sklearn", "xgboost", "lightgbm", "pandas", "pyarrow", "deltalake", "optuna"],
    "features": ["ray", "sklearn", "xgboost", "lightgbm", "pandas", "optuna"],
    "automl": ["deltalake", "polars", "redis"],
    "serving": ["ray", "pyarrow", "deltalake", "polars", "optuna", "redis"],
}
OWNERS_OF_RESOURCES = {"tracking", "registry", "features"}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each of our distributions."""
    folder = tmp_path_factory.mktemp("wheels")
    for source in SOURCES.values():
        _uv(
            "build",
            "--quiet",
            "--wheel",
            "--no-build-isolation",
            "--python",
            sys.executable,
            "--out-dir",
            folder,
            source,
        )
    return folder


@pytest.fixture(scope="module", params=SERVICES)
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Alone]:
    service = request.param
    folder = tmp_path_factory.mktemp(service)
    python = folder / "bin/python"
    own = [next(wheels.glob(f"{name}-0*.whl")) for name in ("fivefold", "fivefold_runtime", f"fivefold_{service}")]
    _uv("venv", "--quiet", "--allow-existing", "--python", sys.executable, folder)
    _uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", ROOT / f"requirements/{service}.txt")
    _uv("pip", "install", "--quiet", "--python", python, "--no-deps", *own)
    yield Alone(service, python)
    shutil.rmtree(folder)  # up to a gigabyte, which pytest would keep for three sessions


def test_a_service_carries_nothing_that_it_does_not_need(alone: Alone) -> None:
    others = [f"fivefold_{other}" for other in SERVICES if other != alone.service]
    carried = [module for module in (*ABSENT[alone.service], *others) if alone.has(module)]
    assert not carried, f"the environment of {alone.service} carries {carried}"


def test_the_stubs_import_without_the_clients_extras(alone: Alone) -> None:
    assert not alone.has("rich"), "the environment was meant to lack the client's extras"
    alone.evaluate(f"import fivefold; fivefold.connect\nimport fivefold.{alone.service}.v1.{alone.service}_pb2_grpc\n")


def test_help_lists_every_setting_with_its_flag(alone: Alone) -> None:
    shown = alone.run("--help")
    assert shown.returncode == 0, shown.stderr
    settings = alone.evaluate(
        f"import dataclasses\nfrom fivefold_{alone.service}.__main__ import Config\n"
        "print(*(each.name for each in dataclasses.fields(Config)))"
    ).split()
    missing = [name for name in settings if f"--{name.replace('_', '-')}" not in shown.stdout]
    assert not missing, f"python -m fivefold_{alone.service} --help says nothing of {missing}"


def test_a_service_starts_answers_health_and_stops(alone: Alone, contracts: Contracts, tmp_path: Path) -> None:
    running = Running.start(alone, tmp_path / "data")
    try:
        with grpc.insecure_channel(f"127.0.0.1:{running.port()}") as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
            assert answer.status != health_pb2.HealthCheckResponse.UNKNOWN
            served = set(ProtoReflectionDescriptorDatabase(channel).get_services())
        wanted = _served_by(alone.service, contracts)
        assert wanted <= served, f"{alone.service} does not serve {sorted(wanted - served)}"
        code = running.stop()
        assert code == 0, f"{alone.service} ended with {code} after SIGTERM:\n{''.join(running.lines[-40:])}"
    finally:
        running.process.kill()
        running.process.wait()


def _served_by(service: str, contracts: Contracts) -> set[str]:
    """Names on the wire that a service must answer to; OIP's differs from its contract's."""
    wanted = {name for name in contracts.services() if name.startswith(f"fivefold.{service}.")}
    if service == "serving":
        wanted.add("inference.GRPCInferenceService")
    if service in OWNERS_OF_RESOURCES:
        wanted.add("fivefold.permissions.v1.PermissionsService")
    return wanted


def _uv(*arguments: object) -> None:
    ended = subprocess.run([str(UV), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"uv {' '.join(map(str, arguments))}:\n{ended.stderr}"
