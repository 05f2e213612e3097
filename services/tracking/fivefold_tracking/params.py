"""Params as numbers: what a filter that compares a param with a number sees."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?)", re.IGNORECASE)


def number_of(text: str) -> float | None:
    """Returns the number that a param's text is, None when it is none.

    Numbers are decimals with or without an exponent, and the infinities, as Python and JSON print them, with spaces
    around them or not; `nan`, `True`, `1_000` and `0x10` are texts.
    """
    stripped = text.strip()
    return float(stripped) if _NUMBER.fullmatch(stripped) else None
