"""How a command ends: the exit code for each kind of error, and the one or two lines that are printed.

FIVEFOLD_DEBUG=1 prints the traceback as well.
"""

from __future__ import annotations

import os
import sys
import traceback

import click

OK, REFUSED, USAGE, UNREACHABLE, FORBIDDEN, DEFECT, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130

_CODES = {
    "UNAVAILABLE": UNREACHABLE,
    "DEADLINE_EXCEEDED": UNREACHABLE,
    "UNAUTHENTICATED": FORBIDDEN,
    "PERMISSION_DENIED": FORBIDDEN,
    "INTERNAL": DEFECT,
}


class Failure(Exception):
    """A command cannot do what was asked. One line what is wrong, one (or none) what to do."""

    def __init__(self, message: str, hint: str = "", code: int = REFUSED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


def guarded(command: click.Command, argv: list[str]) -> int:
    """Runs a command and returns its exit code, whatever happens in it."""
    try:
        outcome = command.main(argv, prog_name="fivefold", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _said("interrupted", "", INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as `head`, has enough. Python would complain once more while it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Failure as error:
        return _said(error.message, error.hint, error.code)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    from fivefold.sdk.errors import FivefoldError

    if isinstance(error, FivefoldError):
        return _said(error.message, error.hint, _CODES.get(error.code, REFUSED))
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return _said(f"{where}{error.strerror}", "", REFUSED)
    return _said(f"{type(error).__name__}: {error}", "this is a defect; FIVEFOLD_DEBUG=1 shows where", DEFECT)


def _said(message: str, hint: str, code: int) -> int:
    if os.environ.get("FIVEFOLD_DEBUG") == "1":
        traceback.print_exc()
    print(f"fivefold: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)
    return code
