"""`fivefold runs`: lists and shows runs."""

from __future__ import annotations

from typing import Any

import click

from fivefold.cli.arguments import limit
from fivefold.cli.output import listed, show, shown
from fivefold.cli.session import client


@click.group()
def runs() -> None:
    """Runs of the tracking service."""


@runs.command("list")
@click.argument("experiment")
@click.option("--order-by", default="", help='"start_time", "metrics.KEY" or "params.KEY", with " asc" or " desc".')
@click.option("--parent", default="", metavar="RUN", help="Only the runs nested in this one.")
@limit
@listed
def list_(experiment: str, order_by: str, parent: str, limit: int | None, output: str) -> None:
    """Lists the runs of an experiment, given by number or display name; the latest start first."""
    with client() as connected:
        home = connected.tracking.find_experiment(experiment).name
        found = connected.tracking.search_runs(home, order_by=order_by, parent_run=parent, limit=limit)
    rows = [one.to_dict() for one in found]
    if output in ("json", "yaml"):
        return show(rows, output)
    metrics = list(dict.fromkeys(key for row in rows for key in row["metrics"]))[:6]
    flat: list[dict[str, Any]] = [row | {key: row["metrics"].get(key) for key in metrics} for row in rows]
    show(flat, output, ("name", "display_name", "status", "start_time", "user", *metrics))


@runs.command("show")
@click.argument("run")
@shown
def show_(run: str, output: str) -> None:
    """Shows one run with its params, tags and latest metrics."""
    with client() as connected:
        show(connected.tracking.get_run(run).to_dict(), output)
