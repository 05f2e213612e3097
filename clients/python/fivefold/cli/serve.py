"""`fivefold serve`: what the serving service serves."""

from __future__ import annotations

import click

from fivefold.cli.output import formats, show
from fivefold.cli.session import client


@click.group()
def serve() -> None:
    """What is served."""


@serve.command()
@formats("json", "yaml", "csv")
def status(output: str) -> None:
    """Lists the versions that are served, being loaded, kept ready or refused."""
    with client() as connected:
        state = connected.serving.state()
    if output in ("json", "yaml"):
        return show(state.to_dict(), output)
    if not state.registry_connected:
        click.echo("the registry does not answer; what is served stays as it was", err=True)
    columns = ("model_version", "state", "predictor", "feature_spec", "live_time", "rows_predicted", "reason")
    show([one.to_dict() for one in state.served_models], output, columns)
