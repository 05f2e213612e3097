"""What the demo prints: numbered steps, what was learnt in each, and how long it took.

Writes to standard output only. `Failed` ends the demo with one line and exit code 1.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

STEPS = 7


class Failed(Exception):
    """Something the demo promises did not come true; the text says what."""


class Story:
    """Tells the demo step by step."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """Prints a heading, then, when the block ends well, how long it took."""
        began = time.monotonic()
        print(f"\n[{number}/{STEPS}] {title}", flush=True)
        yield
        print(f"      {time.monotonic() - began:.1f} s", flush=True)

    def say(self, text: str = "") -> None:
        """Prints one line of the present step."""
        print(f"      {text}".rstrip(), flush=True)

    def check(self, truth: bool, promise: str) -> None:
        """Prints a promise that was kept; raises Failed when it was not."""
        if not truth:
            raise Failed(f"expected, but not so: {promise}")
        self.say(f"checked: {promise}")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Prints rows under a header; numbers to the right, text to the left."""
        body = [[_text(cell) for cell in row] for row in rows]
        widths = [max(len(line[column]) for line in [list(header), *body]) for column in range(len(header))]
        numeric = [all(_is_number(line[column]) for line in body) for column in range(len(header))]
        for line in [list(header), *body]:
            cells = (
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(line, widths, numeric, strict=True)
            )
            self.say("  ".join(cells))

    def seconds(self) -> float:
        """Time since the story began."""
        return time.monotonic() - self._began


def _text(cell: object) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).removesuffix("%").isdigit()
