"""The command `fivefold`. Each command lives in a module of its own that is imported when it runs.

Exit codes: 0 done; 1 the service refused, or what was asked about is not so; 2 the command line is wrong; 3 no service
answers; 4 no or no sufficient right; 70 a defect; 130 interrupted.
"""

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors are one or two lines on stderr, never a traceback."""
    try:
        import click  # noqa: F401
    except ImportError:
        print("the command fivefold needs click and rich: pip install 'fivefold[cli]'", file=sys.stderr)
        return 2
    from fivefold.cli.failures import guarded
    from fivefold.cli.root import root

    return guarded(root, list(sys.argv[1:] if argv is None else argv))
