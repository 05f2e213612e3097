"""What a service is made of: the answer of its `build(config)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client.registry import Collector

from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database


class Background(Protocol):
    """Work that goes on beside the calls: started before the first one is taken, stopped after the last."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def always_ready() -> str:
    return ""


@dataclass(kw_only=True)
class App:
    """The parts of a service.

    servicers   by full gRPC service name; (served name, contract name) where the two differ, as for OIP
    database    closed at the end
    authorizer  what policies ask; services that own resources have one, and the permissions service with it
    background  started in order, stopped in reverse
    ready       "" while the service can serve, else why not; health says NOT_SERVING then, as it does while the
                database does not answer. Asked every second.
    collectors  the service's own Prometheus metrics, made with registry=None
    close       called at the end, in reverse order, before the database is closed
    """

    servicers: Mapping[str | tuple[str, str], object]
    database: Database | None = None
    authorizer: Authorizer | None = None
    background: list[Background] = field(default_factory=list)
    ready: Callable[[], str] = always_ready
    collectors: list[Collector] = field(default_factory=list)
    close: list[Callable[[], None]] = field(default_factory=list)
