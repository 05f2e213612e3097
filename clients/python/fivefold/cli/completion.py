"""`fivefold completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Prints the completion script of a shell.

    For bash: fivefold completion bash > ~/.local/share/bash-completion/completions/fivefold
    """
    from fivefold.cli.root import root

    kind = get_completion_class(shell)
    assert kind is not None, "click knows all three shells"
    click.echo(kind(root, {}, "fivefold", "_FIVEFOLD_COMPLETE").source())
