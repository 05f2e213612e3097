"""The tree of commands. What `--help` needs stands here; a command's module is imported when the command runs."""

from __future__ import annotations

from importlib import import_module

import click

# Name: (module, attribute, one line for the list of commands). A test holds the lines against the commands' own.
COMMANDS = {
    "up": ("fivefold.cli.up", "up", "Starts the five services on this machine."),
    "status": ("fivefold.cli.status", "status", "Shows whether the services of `fivefold up` answer."),
    "down": ("fivefold.cli.down", "down", "Stops the services of `fivefold up`."),
    "doctor": ("fivefold.cli.doctor", "doctor", "Checks Python, packages, ports, disk and the running services."),
    "token": ("fivefold.cli.token", "token", "Prints a development token for `fivefold up --auth`."),
    "demo": ("fivefold.cli.demo", "demo", "Runs the whole lifecycle on real data."),
    "experiments": ("fivefold.cli.experiments", "experiments", "Experiments of the tracking service."),
    "runs": ("fivefold.cli.runs", "runs", "Runs of the tracking service."),
    "artifacts": ("fivefold.cli.artifacts", "artifacts", "Files among a run's artifacts."),
    "tables": ("fivefold.cli.tables", "tables", "Feature tables."),
    "specs": ("fivefold.cli.specs", "specs", "Feature specs."),
    "training-sets": ("fivefold.cli.training_sets", "training_sets", "Point-in-time training sets."),
    "features": ("fivefold.cli.features", "features", "Features by key, online."),
    "automl": ("fivefold.cli.automl", "automl", "Searches for a good model."),
    "models": ("fivefold.cli.models", "models", "Registered models, versions and stages."),
    "webhooks": ("fivefold.cli.webhooks", "webhooks", "Webhooks of the registry."),
    "predict": ("fivefold.cli.predict", "predict", "Predicts by a model's Production version."),
    "serve": ("fivefold.cli.serve", "serve", "What is served."),
    "completion": ("fivefold.cli.completion", "completion", "Prints the completion script of a shell."),
}

_EPILOG = """\b
Exit codes
  0    done
  1    the service refused, or what was asked about is not so
  2    the command line is wrong
  3    no service answers
  4    no token, or no sufficient right
  70   a defect
  130  interrupted

\b
Environment
  FIVEFOLD_URL           host:port of the installation (127.0.0.1:7100); services at +1 to +5
  FIVEFOLD_URL_TRACKING  address of one service that is elsewhere (and so on for each)
  FIVEFOLD_TOKEN         bearer token; FIVEFOLD_TOKEN_FILE a file with it
  FIVEFOLD_TLS_CA        PEM authorities of the services' certificates; turns TLS on
  FIVEFOLD_DEBUG         1 shows tracebacks
"""


class Root(click.Group):
    """Lists all commands without importing one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, _, about) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            did_you_mean = f" Did you mean {close[0]}?" if close else " See fivefold --help."
            raise click.UsageError(f"no such command {args[0]!r}.{did_you_mean}")
        return super().resolve_command(ctx, args)


@click.command(
    cls=Root, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="fivefold", prog_name="fivefold")
@click.option("--url", metavar="HOST:PORT", help="The installation to talk to.  [FIVEFOLD_URL, 127.0.0.1:7100]")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=30.0, help="Seconds that a call gets.  [30]"
)
@click.pass_context
def root(ctx: click.Context, url: str | None, timeout: float) -> None:
    """The machine-learning lifecycle: features, training sets, AutoML, models, predictions."""
    ctx.meta["fivefold.url"] = url
    ctx.meta["fivefold.timeout"] = timeout
