"""`fivefold specs`: creates, lists and shows feature specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from fivefold.cli.arguments import limit, pairs, span
from fivefold.cli.failures import USAGE, Failure
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client

if TYPE_CHECKING:
    from fivefold.sdk.lookups import Lookup


@click.group()
def specs() -> None:
    """Feature specs."""


@specs.command("list")
@limit
@listed
def list_(limit: int | None, output: str) -> None:
    """Lists feature specs by name."""
    with client() as connected:
        found = [one.to_dict() for one in connected.features.list_specs(limit=limit)]
    if output in ("json", "yaml"):
        return show(found, output)
    rows = [
        one | {"tables": [lookup["table"] for lookup in one["lookups"]], "keys": [key["name"] for key in one["keys"]]}
        for one in found
    ]
    show(rows, output, ("name", "tables", "keys", "create_time", "description"))


@specs.command()
@click.argument("spec")
@click.option(
    "--lookup",
    "lookups",
    multiple=True,
    required=True,
    metavar="TABLE[:FEATURE,…]",
    help="A table, and which of its columns if not all; may be repeated.",
)
@pairs("--key", "keys", "Column that holds a table's key, if named differently.", "TABLE:KEY=COLUMN")
@pairs("--look-back", "look_backs", "Older rows count as absent: 90s, 30m, 6h, 14d.", "TABLE=SPAN")
@pairs("--rename", "renames", "Another name for a feature.", "TABLE:FEATURE=NAME")
@pairs("--default", "defaults", "Value of a feature where there is none.", "TABLE:FEATURE=VALUE")
@click.option("--description", default="", help="What it is for.")
@shown
def create(
    spec: str,
    lookups: tuple[str, ...],
    keys: dict[str, str],
    look_backs: dict[str, str],
    renames: dict[str, str],
    defaults: dict[str, str],
    description: str,
    output: str,
) -> None:
    """Names the features of one or more tables; an equal spec that is there is shown.

    Example: fivefold specs create flights --lookup weather:temp,wind_speed --lookup planes --key weather:origin=from
    --look-back weather=6h --default planes:seats=100
    """
    wanted = _lookups(lookups, keys, look_backs, renames, defaults)
    with client() as connected:
        show(connected.features.create_spec(spec, wanted, description=description).to_dict(), output)


@specs.command("show")
@click.argument("spec")
@shown
def show_(spec: str, output: str) -> None:
    """Shows a spec: its lookups, the keys that go in, the features that come out."""
    with client() as connected:
        show(connected.features.get_spec(spec).to_dict(), output)


def _lookups(
    lookups: Sequence[str],
    keys: Mapping[str, str],
    look_backs: Mapping[str, str],
    renames: Mapping[str, str],
    defaults: Mapping[str, str],
) -> list[Lookup]:
    """Returns what the options say together. Raises Failure for one that concerns no --lookup."""
    from fivefold.sdk.lookups import Lookup

    features: dict[str, list[str]] = {}
    for text in lookups:
        table, colon, names = text.removeprefix("tables/").partition(":")
        if table in features:
            raise Failure(
                f"--lookup names the table {table} twice",
                f"name its features at once, {table}:ONE,TWO; by two keys it takes fivefold.Lookup in Python",
                code=USAGE,
            )
        features[table] = names.split(",") if colon else []
        if not table or "" in features[table]:
            raise Failure(f"--lookup is {text!r}; it must be TABLE or TABLE:FEATURE,FEATURE", code=USAGE)

    def by_table(option: str, given: Mapping[str, str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {table: {} for table in features}
        for place, value in given.items():
            table, _, name = place.removeprefix("tables/").partition(":")
            if table not in found or bool(name) == (option == "--look-back"):
                form = "TABLE=…" if option == "--look-back" else "TABLE:NAME=…"
                raise Failure(
                    f"{option} is '{place}={value}'; it must be {form} with a table that --lookup names",
                    f"there: {', '.join(found)}",
                    code=USAGE,
                )
            found[table][name] = value
        return found

    key, age = by_table("--key", keys), by_table("--look-back", look_backs)
    renamed, default = by_table("--rename", renames), by_table("--default", defaults)
    return [
        Lookup(
            table=table,
            features=names,
            keys=key[table],
            look_back=span(age[table][""], f"--look-back of {table}") if age[table] else None,
            renames=renamed[table],
            defaults=default[table],
        )
        for table, names in features.items()
    ]
