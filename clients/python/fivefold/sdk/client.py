"""`connect`: the client of all five services. Reads the environment (FIVEFOLD_URL, …); the first call connects."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from fivefold.sdk.addresses import resolve
from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.transport import Access, Transport

if TYPE_CHECKING:
    from fivefold.sdk.automl import AutoML
    from fivefold.sdk.features import Features
    from fivefold.sdk.registry import Registry
    from fivefold.sdk.registry.subscriptions import Subscriptions
    from fivefold.sdk.registry.webhooks import Webhooks
    from fivefold.sdk.serving import Serving
    from fivefold.sdk.tracking import Tracking
    from fivefold.sdk.tracking.activerun import ActiveRun


def connect(
    address: str | None = None,
    *,
    token: str | None = None,
    token_file: str | None = None,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    timeout: float = 30.0,
) -> Client:
    """Returns a client; the first call to a service connects to it.

    address     "host:7100", with the services at ports +1 … +5. None: FIVEFOLD_URL, else 127.0.0.1:7100, and
                FIVEFOLD_URL_TRACKING … for a service that is elsewhere
    token       bearer token; None: FIVEFOLD_TOKEN
    token_file  file with the token, read again when it changes; None: FIVEFOLD_TOKEN_FILE
    tls_ca      PEM file of authorities, turns TLS on; None: FIVEFOLD_TLS_CA. tls_cert and tls_key (FIVEFOLD_TLS_CERT,
                FIVEFOLD_TLS_KEY): the client's certificate where the services want one
    timeout     seconds for a call; streams of data get twenty times that

    Raises InvalidArgument for an address or a timeout that cannot be.
    """
    if not 0 < timeout < 1e6:
        raise InvalidArgument(f"timeout is {timeout}; it must be a positive number of seconds", reason="FIELD_INVALID")
    access = access_from(token, token_file, tls_ca, tls_cert, tls_key, timeout=timeout)
    return Client(resolve(address, os.environ), access)


class Client:
    """The five services. Safe for use by many threads; close it, or use it in a `with` block."""

    def __init__(self, addresses: dict[str, str], access: Access) -> None:
        self.addresses = dict(addresses)
        self._transports = {service: Transport(service, address, access) for service, address in addresses.items()}

    @cached_property
    def tracking(self) -> Tracking:
        """Experiments, runs, metrics, artifacts."""
        from fivefold.sdk.tracking import Tracking

        return Tracking(self._transports["tracking"])

    @cached_property
    def features(self) -> Features:
        """Feature tables, training sets, features by key."""
        from fivefold.sdk.features import Features

        return Features(self._transports["features"])

    @cached_property
    def registry(self) -> Registry:
        """Registered models, versions, stages."""
        from fivefold.sdk.registry import Registry

        return Registry(self._transports["registry"], lambda: self.tracking)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Webhooks of the registry."""
        from fivefold.sdk.registry.webhooks import Webhooks

        return Webhooks(self._transports["registry"])

    @cached_property
    def subscriptions(self) -> Subscriptions:
        """Mail about models."""
        from fivefold.sdk.registry.subscriptions import Subscriptions

        return Subscriptions(self._transports["registry"])

    @cached_property
    def automl(self) -> AutoML:
        """Searches for a good model."""
        from fivefold.sdk.automl import AutoML

        return AutoML(self._transports["automl"])

    @cached_property
    def serving(self) -> Serving:
        """Predictions."""
        from fivefold.sdk.serving import Serving

        return Serving(self._transports["serving"])

    def run(self, experiment: str, **options: Any) -> ActiveRun:
        """Starts a run, as `tracking.run` does: `with client.run("late flights", name="baseline") as run: …`."""
        return self.tracking.run(experiment, **options)

    def health(self, service: str, timeout: float = 2.0) -> str:
        """Returns "SERVING", "NOT_SERVING" or "UNKNOWN", as the service says of itself.

        Raises Unreachable or DeadlineExceeded when it does not answer within `timeout` seconds.
        """
        return self._transports[service].health(timeout)

    def close(self) -> None:
        """Closes all connections; calls that are under way are cancelled."""
        for transport in self._transports.values():
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({', '.join(f'{service}={address}' for service, address in self.addresses.items())})"


def access_from(
    token: str | None = None,
    token_file: str | None = None,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    *,
    timeout: float,
) -> Access:
    """Returns how to connect; what is None comes from the environment (FIVEFOLD_TOKEN, …)."""
    return Access(
        timeout=timeout,
        token=_given(token, "FIVEFOLD_TOKEN") if token_file is None else "",
        token_file=_given(token_file, "FIVEFOLD_TOKEN_FILE") if not token else "",
        tls_ca=_given(tls_ca, "FIVEFOLD_TLS_CA"),
        tls_cert=_given(tls_cert, "FIVEFOLD_TLS_CERT"),
        tls_key=_given(tls_key, "FIVEFOLD_TLS_KEY"),
    )


def _given(value: str | None, variable: str) -> str:
    return value if value is not None else os.environ.get(variable, "")
