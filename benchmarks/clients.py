"""Client processes that do one kind of operation as fast as they can, all at once, for some seconds."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

#: Takes what the side was given and returns one operation to repeat, which takes its number.
Maker = Callable[..., Callable[[int], Any]]


class Crowd:
    """Some client processes of one side, ready to work."""

    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def __call__(self, seconds: float) -> float:
        """Lets all work; returns how many operations a second they did together."""
        until = time.time() + seconds
        for pipe in self._pipes:
            pipe.send(until)
        return sum(pipe.recv() for pipe in self._pipes) / seconds

    def done(self) -> list[Any]:
        """Returns what each process's operation returned last, and how often it was done."""
        for pipe in self._pipes:
            pipe.send(None)
        return [pipe.recv() for pipe in self._pipes]


@contextmanager
def crowd(count: int, maker: Maker, *arguments: Any, environment: dict[str, str] | None = None) -> Iterator[Crowd]:
    """Starts `count` processes that each call `maker(*arguments)` once, and ends them with the block."""
    spawning = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for _ in range(count):
        ours, theirs = spawning.Pipe()
        process = spawning.Process(target=_work, args=(theirs, maker, arguments, environment or {}), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends with the process
        pipes.append(ours)
        processes.append(process)
    try:
        for pipe in pipes:
            pipe.recv()  # "ready"; EOFError when the process has failed
        yield Crowd(pipes)
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.close()
            process.join(10)
            process.kill()


def _work(pipe: Connection, maker: Maker, arguments: tuple[Any, ...], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    operation = maker(*arguments)
    last = operation(0)
    pipe.send("ready")
    number = 1
    while True:
        try:
            until = pipe.recv()
        except EOFError:
            return
        if until is None:
            pipe.send((last, number))
            continue
        first = number
        while time.time() < until:
            last = operation(number)
            number += 1
        pipe.send(number - first)
