"""How far a transfer of files is: a bar on stderr where that is a terminal, and nothing otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yields what a transfer calls with (path, done bytes, size in bytes); None where nobody would see it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        tasks: dict[str, TaskID] = {}

        def moved(path: str, done: int, size: int) -> None:
            if path not in tasks:
                tasks[path] = shown.add_task(_short(path), total=size)
            shown.update(tasks[path], completed=done, total=size, visible=done < size or len(tasks) == 1)

        yield moved


def _short(path: str) -> str:
    text = path if len(path) <= 40 else f"…{path[-39:]}"
    return text.replace("[", "\\[")
