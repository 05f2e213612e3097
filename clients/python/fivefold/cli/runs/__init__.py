"""`fivefold runs`: finds, shows, compares, watches and exports runs. Deleting them stands in deletion.py."""

from __future__ import annotations

import json
import math
import sys
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from fivefold.cli.arguments import limit
from fivefold.cli.output import formats, listed, show, shown, text
from fivefold.cli.runs.deletion import DELETION
from fivefold.cli.runs.rows import card_of, columns_of, fitting, heads, row_of, sides
from fivefold.cli.session import client

if TYPE_CHECKING:
    from fivefold.sdk.tracking.curves import MetricPoint

_SHOWN = 100  # runs that a search prints when it is not told how many

_filter = click.option("--filter", default="", help="Which runs, such as \"metrics.auc > 0.8 AND params.depth = '6'\".")
_order_by = click.option(
    "--order-by", default="", help='Such as "metrics.auc desc, start_time"; the latest start first otherwise.'
)
_parent = click.option("--parent", default="", metavar="RUN", help="Only the runs nested in this one.")
_deleted = click.option("--deleted", is_flag=True, help="Deleted ones instead of active ones.")


@click.group()
def runs() -> None:
    """Runs of the tracking service."""


@runs.command("list")
@click.argument("experiment")
@_order_by
@_parent
@limit
@listed
def list_(experiment: str, order_by: str, parent: str, limit: int | None, output: str) -> None:
    """Lists the runs of an experiment, given by number or display name; the latest start first."""
    _print_runs((experiment,), "", order_by, parent, False, "", limit, output)


@runs.command()
@click.argument("experiment", nargs=-1, required=True)
@_filter
@_order_by
@_parent
@_deleted
@click.option("--columns", default="", help='Such as "run,status,metrics.auc,params.depth,tags.team,duration".')
@click.option("--limit", type=click.IntRange(0), default=None, help=f"At most this many; 0: all.  [{_SHOWN}]")
@listed
def search(
    experiment: tuple[str, ...],
    filter: str,
    order_by: str,
    parent: str,
    deleted: bool,
    columns: str,
    limit: int | None,
    output: str,
) -> None:
    """Lists the runs of one or several experiments that fit a filter.

    \b
    fivefold runs search churn --filter "metrics.auc > 0.8 AND NOT tags.team = 'a'" --order-by "metrics.auc desc"
    """
    most = _SHOWN if limit is None else limit or None
    _print_runs(experiment, filter, order_by, parent, deleted, columns, most, output)


@runs.command("show")
@click.argument("run")
@shown
def show_(run: str, output: str) -> None:
    """Shows one run with its params, tags, latest metrics and datasets."""
    with client() as connected:
        found = connected.tracking.get_run(run).to_dict()
    show(card_of(found) if output == "table" else found, output)


@runs.command()
@click.argument("run", nargs=-1, required=True)
@click.option("--all", "show_equal", is_flag=True, help="What does not differ, too.")
@listed
def compare(run: tuple[str, ...], show_equal: bool, output: str) -> None:
    """Puts runs side by side: what differs in params, metrics, tags and attributes."""
    with client() as connected:
        found = connected.tracking.compare(run, show_equal=show_equal)
    if output in ("json", "yaml"):
        return show([row.to_dict() for row in found], output)
    names = sides(found.runs, found.names)
    rows = [{"what": row.kind.lower(), "key": row.key, **dict(zip(names, row.values, strict=True))} for row in found]
    empty = "the runs do not differ; see all values with: fivefold runs compare --all RUN …"
    show(rows, output, ("what", "key", *names), empty=empty)


@runs.command()
@click.argument("run")
@click.option("--key", "keys", multiple=True, metavar="METRIC", help="Only this metric; may be repeated.")
@click.option("-n", "--new", "only_new", is_flag=True, help="Only what is logged from now on.")
@formats("json")
def watch(run: str, keys: tuple[str, ...], only_new: bool, output: str) -> None:
    """Prints points of a run as they are logged, until it ends; one JSON object a line with -o json."""
    with client() as connected:
        seen = 0
        for point in connected.tracking.watch(run, keys, only_new=only_new):
            seen += 1
            if output == "json":
                print(json.dumps(_plain(point)))
            else:
                print(f"{text(point.time)}  {point.step:>8}  {point.key}  {text(point.value)}")
            sys.stdout.flush()
        status = connected.tracking.get_run(run).status
    click.echo(f"{run} is {status}" + ("" if seen else "; no point was logged"), err=True)


@runs.command()
@click.argument("experiment", nargs=-1, required=True)
@_filter
@_order_by
@_deleted
@click.option("--limit", type=click.IntRange(1), help="At most this many.")
@click.option("--format", "kind", type=click.Choice(["parquet", "csv", "arrow"]), help="By the file's name otherwise.")
@click.option(
    "-o", "--output", "file", required=True, type=click.Path(dir_okay=False), metavar="FILE", help="Where to."
)
def export(
    experiment: tuple[str, ...],
    filter: str,
    order_by: str,
    deleted: bool,
    limit: int | None,
    kind: str | None,
    file: str,
) -> None:
    """Writes runs as a table: a column for each attribute, metric, param and tag."""
    with client() as connected:
        found = connected.tracking.search(
            experiment, filter, order_by=order_by, view="deleted" if deleted else "active", limit=limit
        )
        write = {"parquet": found.to_parquet, "csv": found.to_csv, "arrow": found.to_ipc}
        write[kind or _kind_of(file)](file)
    click.echo(f"{file}: {len(found)} {'run' if len(found) == 1 else 'runs'}")


for _command in DELETION:
    runs.add_command(_command)


def _print_runs(
    experiments: tuple[str, ...],
    filter: str,
    order_by: str,
    parent: str,
    deleted: bool,
    columns: str,
    limit: int | None,
    output: str,
) -> None:
    with client() as connected:
        view = "deleted" if deleted else "active"
        found = connected.tracking.search(
            experiments, filter, order_by=order_by, parent_run=parent, view=view, limit=limit
        )
        rows: list[dict[str, Any]] = [one.to_dict() for one in found]
    if output in ("json", "yaml"):
        return show(rows, output)
    chosen = columns_of(columns, rows)
    names = heads(chosen)
    flat = [{names[column]: value for column, value in row_of(row, chosen).items()} for row in rows]
    if filter or parent or deleted:
        empty = f"no run fits; see all with: fivefold runs list {experiments[0]!r}"
    else:
        empty = "no run yet; log one with: with client.tracking.run('EXPERIMENT') as run: …"
    shown_columns = list(names.values())
    if output == "table" and not columns and sys.stdout.isatty():
        shown_columns = fitting(flat, shown_columns, get_terminal_size().columns)
    show(flat, output, shown_columns, empty=empty)
    if output == "table" and len(rows) < found.total:
        click.echo(f"{len(rows)} of {found.total} runs; --limit 0 shows all, --filter fewer", err=True)


def _plain(point: MetricPoint) -> dict[str, Any]:
    value = point.value if math.isfinite(point.value) else None
    time = point.time.isoformat() if point.time else None
    return {"key": point.key, "step": point.step, "value": value, "time": time}


def _kind_of(file: str) -> str:
    kinds = {"parquet": "parquet", "csv": "csv", "arrow": "arrow", "feather": "arrow"}
    ending = file.rpartition(".")[2].lower()
    if ending not in kinds:
        raise click.UsageError(f"{file} ends neither in .parquet nor .csv nor .arrow; say which with --format")
    return kinds[ending]
