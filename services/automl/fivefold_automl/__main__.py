"""The automl service: `python -m fivefold_automl`. Wires the parts; Ray starts in the background."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fivefold_automl.clients import Features, Registry, Tracking
from fivefold_automl.creation import Creation
from fivefold_automl.jobs import Jobs
from fivefold_automl.learners import LEARNERS
from fivefold_automl.learners.base import Learner
from fivefold_automl.names import job_id, job_name, trial_of
from fivefold_automl.parts import Parts
from fivefold_automl.ray_cluster import RayCluster, prepare_environment
from fivefold_automl.recorder import Recorder
from fivefold_automl.registration import Registration
from fivefold_automl.servicer import AutoMLServicer
from fivefold_automl.spool import Spool
from fivefold_automl.store.jobs import SqlJobStore
from fivefold_runtime import permissions
from fivefold_runtime.app import App
from fivefold_runtime.main import run
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.settings import ServerConfig, StartError, flag, setting
from fivefold_runtime.sql import Database, sqlite_in

SERVICE = "fivefold.automl.v1.AutoMLService"
_LONGEST_TEMP = 30  # characters; Ray's sockets lie about 70 below, and their paths may have 107


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServerConfig):
    """Settings of the automl service."""

    listen: str = setting("127.0.0.1:7104", "address that serves gRPC; port 0 takes a free one", unit="host:port")
    data: str = setting(
        "fivefold-data/automl", "folder of this server's files; one server at a time owns it", unit="folder"
    )
    store_url: str = setting("", "database; empty: SQLite in the data folder", unit="URL", secret=True)
    tracking: str = setting("127.0.0.1:7101", "the tracking service", unit="host:port")
    features: str = setting("127.0.0.1:7102", "the features service", unit="host:port")
    registry: str = setting("127.0.0.1:7103", "the registry service", unit="host:port")
    ray_address: str = setting(
        "", "Ray cluster to join, as a node without processors; empty: an embedded one", unit="host:port"
    )
    ray_cpus: int = setting(0, "processors of the embedded Ray; 0: those of this machine", unit="processors")
    ray_temp: str = setting("/tmp", "folder for the sockets and logs of the embedded Ray", unit="folder")
    ray_store_bytes: int = setting(
        1 << 30, "object store of the embedded Ray; holds each running job's data once", unit="bytes"
    )
    ray_wait_seconds: float = setting(600.0, "how long a job waits for Ray before it fails", unit="seconds")
    service_wait_seconds: float = setting(
        300.0, "how long a job waits for the features service before it fails", unit="seconds"
    )
    jobs: int = setting(1, "jobs that search at once; others wait", unit="jobs")
    job_workers: int = setting(0, "trials of one job at once; 0: one for each processor of the cluster", unit="trials")

    def check(self) -> None:
        for name, least in (("ray_cpus", 0), ("jobs", 1), ("job_workers", 0), ("ray_store_bytes", 80 * 1024 * 1024)):
            if getattr(self, name) < least:
                raise StartError(f"{flag(name)} is {getattr(self, name)}; it must be at least {least}.")
        for name in ("ray_wait_seconds", "service_wait_seconds"):
            if getattr(self, name) < 0:
                raise StartError(f"{flag(name)} is {getattr(self, name)}; it must be 0 seconds or more.")
        if len(self.ray_temp) > _LONGEST_TEMP:
            raise StartError(
                f"--ray-temp is {len(self.ray_temp)} characters long; it must have at most {_LONGEST_TEMP}."
            )


def build(config: Config, learners: Mapping[str, Learner] = LEARNERS) -> App:
    """Wires the service. `learners` is what jobs search over, by name."""
    database = Database.open(config.store_url or sqlite_in(config.data), migrations="fivefold_automl.store.migrations")
    store = SqlJobStore(database)
    authorizer = Authorizer(config, database, owner_of=owner_of)
    folder = Path(config.data).absolute()
    prepare_environment(embedded=not config.ray_address)
    cluster = RayCluster(
        folder, config.ray_address, cpus=config.ray_cpus, temp=config.ray_temp, store_bytes=config.ray_store_bytes
    )
    tracking, for_caller = Tracking(config.tracking, config, "self"), Tracking(config.tracking, config, "caller")
    features, features_for_caller = (
        Features(config.features, config, "self"),
        Features(config.features, config, "caller"),
    )
    registry = Registry(config.registry, config, "caller")
    spool = Spool(folder / "packages")
    recorder = Recorder(store, tracking, features, spool)
    parts = Parts(
        store=store,
        features=features,
        cluster=cluster,
        recorder=recorder,
        spool=spool,
        learners=learners,
        clock=database.clock,
        ray_wait_seconds=config.ray_wait_seconds,
        service_wait_seconds=config.service_wait_seconds,
        workers=config.job_workers,
    )
    jobs = Jobs(store, parts, config.jobs)
    servicer = AutoMLServicer(
        database=database,
        store=store,
        authorizer=authorizer,
        learners=learners,
        creation=Creation(store, features_for_caller, for_caller, database.clock),
        registration=Registration(store, features_for_caller, registry, recorder),
        jobs=jobs,
        cluster=cluster,
    )
    return App(
        servicers={SERVICE: servicer, permissions.SERVICE: permissions.PermissionsServicer(database, authorizer)},
        database=database,
        authorizer=authorizer,
        background=[cluster, recorder, jobs],
        ready=cluster.why_not,
        close=[client.close for client in (tracking, for_caller, features, features_for_caller, registry)],
    )


def owner_of(name: str) -> str:
    """Returns the job that carries the grants of a job or trial. Raises NameInvalid."""
    return job_name(trial_of(name).job if "/trials/" in name else job_id(name))


def main() -> int:
    return run("automl", Config, build)


if __name__ == "__main__":
    sys.exit(main())
