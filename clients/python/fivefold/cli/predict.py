"""`fivefold predict`: predicts by a model's Production version."""

from __future__ import annotations

from datetime import datetime

import click

from fivefold.cli.arguments import as_of, pairs
from fivefold.cli.failures import USAGE, Failure
from fivefold.cli.output import formats, show
from fivefold.cli.rows import columns_of, guessed
from fivefold.cli.session import client


@click.command()
@click.argument("model")
@click.option("-f", "--file", "source", metavar="FILE", help="Rows as .json or .csv; - is standard input.")
@pairs("--key", "keys", "A column of a single row; may be repeated.")
@as_of
@click.option("--with-features", is_flag=True, help="Also print what was looked up.")
@formats("json", "yaml", "csv")
def predict(
    model: str, source: str | None, keys: dict[str, str], as_of: datetime | None, with_features: bool, output: str
) -> None:
    """Predicts by a model's Production version.

    Rows hold the model's inputs, or just the keys of its feature spec: the rest is looked up. Which version answered is
    printed on stderr.
    """
    if bool(source) == bool(keys):
        raise Failure("give rows either as -f FILE or as --key NAME=VALUE", code=USAGE)
    columns = columns_of(source) if source else {name: [guessed(text)] for name, text in keys.items()}
    with client() as connected:
        answer = connected.serving.predict(model, columns, as_of=as_of, with_features=with_features)
    click.echo(f"{answer.model_version}, {answer.features_missing} looked-up values missing", err=True)
    show(answer.to_dicts(), output)
