"""`fivefold demo`: the whole lifecycle on real data (fivefold/demo), against an installation of its own."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click


@click.command()
@click.option("--data", type=click.Path(path_type=Path), metavar="DIR", help="Folder; an earlier demo's is replaced.")
@click.option("--port", type=int, help="Base port of the installation; free ones by default.")
@click.option("--minutes", type=float, help="Time budget of the search.")
@click.option("--max-trials", type=click.IntRange(0), help="Most trials; 0: as many as the budget allows.")
@click.option("--training-rows", type=click.IntRange(1), help="Sample of the flights to learn from.")
@click.option("--held-back-rows", type=click.IntRange(1), help="Sample of the flights to be scored on.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Held-back day that is replayed.")
def demo(day: datetime | None, **chosen: object) -> int:
    """Runs the whole lifecycle on real data.

    Starts five services of its own, prints each of its seven steps, and stops them at the end.
    """
    from fivefold.sdk.extras import need

    need("pandas", "the demo")
    need("pyarrow", "the demo")
    from fivefold.demo import Options, main

    given = {name: value for name, value in chosen.items() if value is not None}
    if day is not None:
        given["day"] = day.date()
    return main(Options(**given))  # type: ignore[arg-type]
