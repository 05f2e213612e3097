"""Options and arguments that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from fivefold.cli.failures import USAGE, Failure

F = TypeVar("F", bound=Callable[..., Any])


class Pairs(click.ParamType):
    """NAME=VALUE, any number of times; becomes a dict."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, text


class Moment(click.ParamType):
    """A time of ISO 8601 with a zone, or "now"."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        if value == "now":
            return datetime.now(UTC)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2013-11-27T08:00:00Z", param, ctx)
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write {value}Z for UTC, or {value}-05:00", param, ctx)
        return moment


def _as_dict(ctx: click.Context, param: click.Parameter, value: Sequence[tuple[str, str]]) -> dict[str, str]:
    return dict(value)


def pairs(flag: str, parameter: str, about: str, metavar: str = "NAME=VALUE") -> Callable[[F], F]:
    """Adds an option that takes NAME=VALUE and may be repeated; the command gets a dict as `parameter`."""
    return click.option(flag, parameter, type=Pairs(), multiple=True, callback=_as_dict, metavar=metavar, help=about)


tags = pairs("--tag", "tags", "A label; may be repeated.")
as_of = click.option("--as-of", type=Moment(), metavar="TIME", help="ISO 8601 with a zone, or now.")
comment = click.option("--comment", default="", help="Why.")


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(text: str, name: str) -> timedelta:
    """Returns a text such as 90s, 30m, 6h or 14d as a span of time. Raises Failure that says which one is none."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and unit in _UNITS):
        raise Failure(f"{name} is {text!r}; it must be a whole number of s, m, h or d, such as 6h", code=USAGE)
    try:
        return timedelta(**{_UNITS[unit]: int(number)})
    except OverflowError:
        raise Failure(f"{name} is {text!r}, which is too long", code=USAGE) from None


def limit(command: F) -> F:
    """Adds --limit."""
    return click.option("--limit", type=click.IntRange(1), help="At most this many.")(command)
