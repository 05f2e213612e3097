"""The same client for asyncio: `async with fivefold.connect_async() as client: await client.registry.get_model("churn")`.

Every service has the methods of its sync twin, with the same arguments, answers and errors; they run in a pool of
threads, since that is where gRPC's own work is done anyway. What a method returns says how it is used:

    await client.registry.get_model("churn")                a value
    async for event in client.registry.watch(): ...         an iterator
    async with client.tracking.run("churn") as run: ...     a block; `run` has async methods, too

A call whose task is cancelled is answered to nobody and ends by its timeout; a stream whose task is cancelled, or
whose loop is left, is cancelled at the service.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cached_property, partial, reduce
from types import TracebackType
from typing import Any, Self

from fivefold.sdk.client import Client, connect
from fivefold.sdk.transport import Transport

THREADS = 32  # calls at once; more wait for their turn. Streams have a thread of their own each.
_END: Any = object()


def connect_async(address: str | None = None, *, threads: int = THREADS, **options: Any) -> AsyncClient:
    """Returns a client for asyncio; takes what `connect` takes.

    threads  calls at once; more wait for their turn

    Raises InvalidArgument for an address or a timeout that cannot be.
    """
    return AsyncClient(partial(connect, address, **options), threads)


class AsyncClient:
    """The parts of `Client` (`tracking`, `features`, `registry`, …) with async methods.

    Close it, or use it in an `async with` block.
    """

    def __init__(self, make: Callable[[], Client], threads: int = THREADS) -> None:
        """`make` makes the sync client, and one more for each stream."""
        self._make = make
        self._client = make()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fivefold")

    def __getattr__(self, name: str) -> AsyncProxy:
        if not isinstance(getattr(Client, name, None), cached_property):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return AsyncProxy(getattr(self._client, name), self._pool, self._make, (name,))

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for name in dir(self._client) if not name.startswith("_"))})

    async def health(self, service: str, timeout: float = 2.0) -> str:
        """Returns what a service says of itself, as `Client.health`."""
        return str(await _in(self._pool, self._client.health, service, timeout))

    async def close(self) -> None:
        """Closes all connections; calls that are under way are cancelled."""
        self._client.close()
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self._client!r}"


class AsyncProxy:
    """A service, a part of one, or what a call returned that calls a service itself.

    Its methods are async, its other attributes are as they are.
    """

    def __init__(
        self, target: Any, pool: Executor, make: Callable[[], Client] | None = None, path: tuple[str, ...] = ()
    ) -> None:
        """`path` leads to the target from any client that `make` makes; none: it belongs to this one."""
        self._target = target
        self._pool = pool
        self._make = make
        self._path = path

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if callable(found) and not name.startswith("_"):
            return lambda *args, **kwargs: AsyncCall(self, name, args, kwargs)
        return AsyncProxy(found, self._pool, self._make, (*self._path, name)) if _calls(found) else found

    def __dir__(self) -> list[str]:
        return dir(self._target)

    def __repr__(self) -> str:
        return f"AsyncProxy({self._target!r})"


class AsyncCall:
    """One call, not made yet: `await` it, or use it in `async for` or `async with`."""

    def __init__(self, proxy: AsyncProxy, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._proxy = proxy
        self._name = name
        self._arguments = (args, kwargs)
        self._block: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._value().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yields in a thread and over a client of its own, which are closed at the end: so a stream can be cancelled."""
        proxy = self._proxy
        own = proxy._make() if proxy._make is not None else None
        target = proxy._target if own is None else reduce(getattr, proxy._path, own)
        pool = ThreadPoolExecutor(1, thread_name_prefix="fivefold-stream")
        try:
            items: Iterator[Any] = await _in(pool, lambda: iter(self._made(target)))
            while (item := await _in(pool, next, items, _END)) is not _END:
                yield item
        finally:
            if own is not None:
                own.close()
            pool.shutdown(wait=False)

    async def __aenter__(self) -> Any:
        self._block = self._made(self._proxy._target)
        entered = await _in(self._proxy._pool, self._block.__enter__)
        return AsyncProxy(entered, self._proxy._pool)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        # Cancelled or not, the end of the block is told to the service.
        ending = asyncio.ensure_future(_in(self._proxy._pool, self._block.__exit__, kind, error, trace))
        suppressed: bool | None = await asyncio.shield(ending)
        return suppressed

    async def _value(self) -> Any:
        value = await _in(self._proxy._pool, self._made, self._proxy._target)
        return AsyncProxy(value, self._proxy._pool) if _calls(value) else value

    def _made(self, target: Any) -> Any:
        args, kwargs = self._arguments
        return getattr(target, self._name)(*args, **kwargs)


async def _in(pool: Executor, function: Callable[..., Any], *args: Any) -> Any:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, partial(context.run, function, *args))


def _calls(value: Any, depth: int = 3) -> bool:
    """Says whether a value is more than data: an object of the SDK that holds a connection, itself or in a part."""
    if isinstance(value, Transport):
        return True
    if depth == 0 or not type(value).__module__.startswith("fivefold.sdk"):
        return False
    return any(_calls(part, depth - 1) for part in getattr(value, "__dict__", {}).values())
