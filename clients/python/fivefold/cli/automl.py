"""`fivefold automl`: starts, watches and lists searches, and registers what they found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fivefold.cli.arguments import limit
from fivefold.cli.failures import OK, REFUSED
from fivefold.cli.output import F, listed, show, shown, text
from fivefold.cli.session import client

if TYPE_CHECKING:
    from fivefold.sdk.automl import Job, Trial

_TRIAL = ("number", "state", "learner", "score", "run", "error")


@click.group()
def automl() -> None:
    """Searches for a good model."""


def _search(command: F) -> F:
    """Adds the options that both kinds of search have."""
    options: list[Callable[[Any], Any]] = [
        click.argument("training_set"),
        click.option("--target", required=True, help="Column to predict."),
        click.option("--minutes", type=float, default=5.0, show_default=True, help="Wall time for the search."),
        click.option("--metric", default="", help="What trials are ranked by, such as roc_auc or rmse."),
        click.option("--time-column", default="", help="The latest rows by it validate."),
        click.option("--max-trials", type=click.IntRange(0), default=0, help="0: as many as the time allows."),
        click.option("--seed", type=int, default=0),
        click.option("--exclude", "exclude", multiple=True, metavar="COLUMN", help="No input; may be repeated."),
        click.option("--experiment", default="", help="Display name of the experiment for the trials' runs."),
        click.option("--no-wait", is_flag=True, help="Print the job's name and leave it running."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@automl.command()
@_search
@click.option("--positive-class", default="", help="For two classes.")
def classify(no_wait: bool, exclude: tuple[str, ...], **wanted: Any) -> int:
    """Searches for a model that tells classes apart, showing the leaderboard as it grows."""
    with client() as connected:
        return _begun(connected.automl.classify(exclude_columns=exclude, **wanted), no_wait)


@automl.command()
@_search
def regress(no_wait: bool, exclude: tuple[str, ...], **wanted: Any) -> int:
    """Searches for a model that predicts a number, showing the leaderboard as it grows."""
    with client() as connected:
        return _begun(connected.automl.regress(exclude_columns=exclude, **wanted), no_wait)


@automl.command()
@limit
@listed
def jobs(limit: int | None, output: str) -> None:
    """Lists searches, newest first."""
    with client() as connected:
        found = connected.automl.list_jobs(limit=limit)
    columns = ("name", "state", "problem_type", "target", "trials_finished", "create_time", "training_set")
    show([one.to_dict() for one in found], output, columns)


@automl.command("show")
@click.argument("job")
@shown
def show_(job: str, output: str) -> None:
    """Shows one search."""
    with client() as connected:
        show(connected.automl.get_job(job).to_dict(), output)


@automl.command()
@click.argument("job")
def watch(job: str) -> int:
    """Follows a search until it ends."""
    with client() as connected:
        return _followed(connected.automl.get_job(job))


@automl.command()
@click.argument("job")
def cancel(job: str) -> None:
    """Stops a search early; the best so far counts."""
    with client() as connected:
        click.echo(connected.automl.cancel(job).state)


@automl.command()
@click.argument("job")
@limit
@listed
def leaderboard(job: str, limit: int | None, output: str) -> None:
    """Lists the trials of a search, best first."""
    with client() as connected:
        found = connected.automl.trials(job, limit=limit)
    show([one.to_dict() for one in found], output, _TRIAL)


@automl.command()
@click.argument("job")
@click.argument("model")
@click.option("--trial", default="", help="Its number; the best by default.")
@click.option("--description", default="", help="What the version is.")
def register(job: str, model: str, trial: str, description: str) -> None:
    """Registers a trial's model as the next version of MODEL; prints the version's name."""
    with client() as connected:
        click.echo(connected.automl.register(job, model, trial=trial, description=description))


@automl.command()
@shown
def cluster(output: str) -> None:
    """Shows the Ray cluster that trials run on."""
    with client() as connected:
        show(connected.automl.cluster().to_dict(), output)


def _begun(job: Job, no_wait: bool) -> int:
    if no_wait:
        click.echo(job.name)
        return OK
    return _followed(job)


def _followed(job: Job) -> int:
    """Shows a job until it ends: live in a terminal, a line for each trial elsewhere."""
    click.echo(job.name)
    try:
        last = _live(job) if sys.stdout.isatty() else _line_by_line(job)
    except KeyboardInterrupt:
        click.echo(f"the search goes on; stop it with: fivefold automl cancel {job.name}", err=True)
        raise
    for warning in last.warnings:
        click.echo(f"warning: {warning}", err=True)
    ended = f"{last.state}: {last.trials_finished} trials, {last.trials_failed} failed"
    click.echo(f"{ended}; {last.error}" if last.error else ended)
    if last.best_trial:
        click.echo(f"register the best with: fivefold automl register {last.name} MODEL")
    return REFUSED if last.state == "FAILED" else OK


def _line_by_line(job: Job) -> Job:
    last = job
    for state, trials in job.watch():
        if state.state != last.state:
            click.echo(state.state)
        last = state
        for trial in trials:
            if trial.state == "FINISHED":
                click.echo(f"trial {trial.number}  {trial.learner}  {state.effective_metric.lower()} {trial.score:.6g}")
            elif trial.state == "FAILED":
                click.echo(f"trial {trial.number}  {trial.learner}  failed: {trial.error}")
    return last


def _live(job: Job) -> Job:
    from rich.live import Live

    seen: dict[int, Trial] = {}
    last = job
    with Live(_board(job, seen), refresh_per_second=4) as screen:
        for state, trials in job.watch():
            last = state
            seen |= {trial.number: trial for trial in trials}
            screen.update(_board(state, seen))
    return last


def _board(job: Job, seen: dict[int, Trial]) -> Any:
    from rich.table import Table

    metric = job.effective_metric.lower()
    less_is_better = metric in ("log_loss", "rmse", "mae")
    done = [trial for trial in seen.values() if trial.state == "FINISHED"]
    best = sorted(done, key=lambda trial: trial.score, reverse=not less_is_better)[:10]
    title = f"{job.state}  {job.trials_finished} finished, {job.trials_running} running, {job.trials_failed} failed"
    table = Table(title=title, box=None, title_justify="left")
    for name in ("trial", "learner", metric or "score", "seconds"):
        table.add_column(name)
    for trial in best:
        took = (trial.end_time - trial.start_time).total_seconds() if trial.end_time and trial.start_time else None
        table.add_row(str(trial.number), trial.learner, text(trial.score), "" if took is None else f"{took:.1f}")
    return table
