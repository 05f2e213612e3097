"""The client for asyncio against real services: values, streams, blocks, errors, cancelling, and its bounds."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

import pytest

import fivefold
from fivefold.sdk.asynchronous import AsyncClient, AsyncProxy
from fivefold.sdk.client import Client
from fivefold.sdk.registry import Event
from fivefold.sdk.transport import Access

Connected = Callable[[Callable[[AsyncClient], Awaitable[Any]]], Any]


@pytest.fixture
def connected(addresses: dict[str, str]) -> Connected:
    """Runs a coroutine function with a client of the services."""

    def run(use: Callable[[AsyncClient], Awaitable[Any]], threads: int = 8) -> Any:
        async def main() -> Any:
            async with AsyncClient(lambda: Client(addresses, Access()), threads) as client:
                return await use(client)

        return asyncio.run(main())

    return run


def test_every_service_of_the_sync_client_is_there(connected: Connected) -> None:
    async def use(client: AsyncClient) -> None:
        parts = [name for name, part in vars(Client).items() if isinstance(part, cached_property)]
        assert set(parts) >= {"tracking", "features", "registry", "automl", "serving"}
        for service in parts:
            assert set(dir(getattr(client, service))) >= {
                name for name in dir(getattr(client._client, service)) if not name.startswith("_")
            }
        with pytest.raises(AttributeError, match="no attribute 'registri'"):
            client.registri  # noqa: B018
        assert await client.health("registry") == "SERVING"

    connected(use)


def test_values_and_typed_errors_are_those_of_the_sync_client(connected: Connected, client: Client) -> None:
    async def use(asynchronous: AsyncClient) -> None:
        made = await asynchronous.registry.create_model("async-values", description="a model")
        assert made == client.registry.get_model("async-values")
        with pytest.raises(fivefold.AlreadyExists) as caught:
            await asynchronous.registry.create_model("async-values")
        assert caught.value.reason == "RESOURCE_EXISTS"

    connected(use)


def test_many_calls_are_on_their_way_at_once_and_no_more_threads_than_allowed(connected: Connected) -> None:
    async def use(client: AsyncClient) -> None:
        names = [f"async-many-{number}" for number in range(40)]
        made = await asyncio.gather(*(client.registry.create_model(name) for name in names))
        assert [model.name for model in made] == [f"models/{name}" for name in names]
        pool = [thread for thread in threading.enumerate() if thread.name.startswith("fivefold_")]
        assert 1 < len(pool) <= 8

    connected(use)


def test_a_stream_is_iterated_and_more_streams_than_threads_hold_up_no_call(connected: Connected) -> None:
    async def use(client: AsyncClient) -> None:
        model = (await client.registry.create_model("async-watched")).name

        async def first() -> Event:
            async with contextlib.aclosing(client.registry.watch(models=[model]).__aiter__()) as events:
                async for event in events:
                    if event.type == "REGISTERED_MODEL_UPDATED":
                        return event
            raise AssertionError("the stream ended")

        watching = [asyncio.create_task(first()) for _ in range(12)]
        await client.registry.update_model(model, description="changed")
        found = await asyncio.gather(*watching)
        assert {event.model for event in found} == {model}

    connected(use)


def test_a_cancelled_task_closes_its_stream_at_the_service(connected: Connected) -> None:
    async def use(client: AsyncClient) -> None:
        model = (await client.registry.create_model("async-cancelled")).name
        reading = asyncio.Event()

        async def forever() -> None:
            async for _ in client.registry.watch(models=[model]):
                reading.set()

        task = asyncio.create_task(forever())
        await reading.wait()
        await asyncio.sleep(0.3)  # the stream's thread waits for the next event now
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        deadline = time.monotonic() + 20
        while any(thread.name.startswith("fivefold-stream") for thread in threading.enumerate()):
            assert time.monotonic() < deadline, "the stream's thread still waits"
            await asyncio.sleep(0.02)

    connected(use)


def test_a_run_is_a_block_with_async_methods(connected: Connected, client: Client) -> None:
    async def use(asynchronous: AsyncClient) -> str:
        async with asynchronous.tracking.run("async runs", name="baseline") as run:
            assert isinstance(run, AsyncProxy)
            await run.log(metrics={"auc": 0.7})
        with pytest.raises(ZeroDivisionError):
            async with asynchronous.tracking.run("async runs") as failing:
                raise ZeroDivisionError
        assert client.tracking.get_run(failing.name).status == "FAILED"
        return str(run.name)

    kept = client.tracking.get_run(connected(use))
    assert (kept.status, kept.metrics) == ("FINISHED", {"auc": 0.7})


def test_connect_async_takes_what_connect_takes() -> None:
    async def use() -> None:
        async with fivefold.connect_async("127.0.0.1:9", timeout=9) as client:
            with pytest.raises(fivefold.Unreachable):
                await client.serving.served_models()
            assert "serving=127.0.0.1:14" in repr(client)
        with pytest.raises(fivefold.InvalidArgument, match="timeout is 0"):
            fivefold.connect_async(timeout=0)

    asyncio.run(use())
