"""The one error of filters and orders: it shows the text with a caret under the mistake."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from fivefold_runtime.errors import FieldViolation, InvalidArgument

_AROUND = 48  # characters that are shown on each side of the mistake
_FOUND = re.compile(r"\w+|\s+|.", re.DOTALL)


class FilterInvalid(InvalidArgument):
    """A filter or an order that cannot be read, or that asks for what is not there to compare."""

    reason = "FILTER_INVALID"
    multiline = True

    @classmethod
    def here(
        cls, field: str, text: str, position: int, expected: Sequence[str], *, why: str = "", found: str | None = None
    ) -> FilterInvalid:
        """Returns the error of one place.

        field     the request's field, as "filter"
        position  characters before the mistake; len(text) for an end that comes too early
        expected  what may stand there
        why       what is wrong, where that is more than that something else was expected
        found     what stands there, where it is not simply the word there
        """
        there = _word(text, position) if found is None else found
        wanted = _listed(expected)
        said = why or f"{there} cannot stand here"
        if wanted:
            said += f"; expected {wanted}"
        shown, column = _shown(text, position)
        return cls(
            f"{field}: {said}, at character {position + 1}\n  {shown}\n  {' ' * column}^",
            fields=(FieldViolation(field, f"{said}, at character {position + 1}"),),
            field=field,
            position=position,
            found=there,
            expected=wanted,
        )


def _word(text: str, position: int) -> str:
    match = _FOUND.match(text, position)
    return repr(match.group()[:32]) if match else "the end"


def _listed(expected: Sequence[str]) -> str:
    if len(expected) < 2:
        return "".join(expected)
    return f"{', '.join(expected[:-1])} or {expected[-1]}"


def _shown(text: str, position: int) -> tuple[str, int]:
    """Returns the part of the text around the mistake on one line, and the column of the mistake in it."""
    start, end = max(0, position - _AROUND), position + _AROUND
    before = ("…" if start else "") + _plain(text[start:position])
    after = _plain(text[position:end]) + ("…" if end < len(text) else "")
    return before + after, sum(map(_width, before))


def _plain(text: str) -> str:
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
