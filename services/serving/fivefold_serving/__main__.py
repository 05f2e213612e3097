"""Starts serving: `python -m fivefold_serving --help` lists every setting.

Owns its data folder: verified files of the models it serves. Calls the registry, whose Production versions it serves,
and the features service, where it looks up what requests leave out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import fivefold.inference.v1.inference_pb2  # noqa: F401  # The contract has to be known to the server.
from fivefold_runtime.app import App
from fivefold_runtime.clock import SystemClock
from fivefold_runtime.main import run
from fivefold_runtime.settings import ServerConfig, StartError, setting
from fivefold_serving import oip, servicer
from fivefold_serving.cache import Cache
from fivefold_serving.clients import Features, Registry
from fivefold_serving.follower import Follower
from fivefold_serving.kernel import KernelError, library
from fivefold_serving.loader import Loader
from fivefold_serving.rights import RegistryRights
from fivefold_serving.served import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServerConfig):
    """Settings of serving."""

    listen: str = setting("127.0.0.1:7105", "address that serves gRPC; port 0 takes a free one", unit="host:port")
    data: str = setting(
        "fivefold-data/serving", "folder of this server's files; one server at a time owns it", unit="folder"
    )
    registry: str = setting("127.0.0.1:7103", "address of the registry, which says what is served", unit="host:port")
    features: str = setting("127.0.0.1:7102", "address of the features service, for look-ups", unit="host:port")
    cache_bytes: int = setting(
        10 * 1024**3, "files of models not in use are deleted beyond this, longest unused first", unit="bytes"
    )

    def check(self) -> None:
        if self.cache_bytes < 0:
            raise StartError(f"--cache-bytes is {self.cache_bytes}; it must not be negative.")


def build(config: Config) -> App:
    """Puts the service together. Raises StartError."""
    try:
        library()
    except KernelError as error:
        raise StartError(f"{error}. Install fivefold-serving again.") from None
    table = Table()
    registry = Registry(config.registry, config)
    features = Features(config.features, config)
    cache = Cache(Path(config.data), config.cache_bytes)
    follower = Follower(table, registry, Loader(cache, registry, features), cache, SystemClock())
    authorizer = RegistryRights(config, registry.may_read)
    parts = (table, features, follower, authorizer)
    return App(
        servicers={
            servicer.SERVICE: servicer.ServingServicer(*parts),
            oip.SERVICE: oip.InferenceServicer(*parts),
        },
        authorizer=authorizer,
        background=[follower],
        ready=follower.ready,
        close=[registry.close, features.close],
    )


if __name__ == "__main__":
    sys.exit(run("serving", Config, build))
