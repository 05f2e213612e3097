"""What holds for all tests: a call that one of them left hanging ends the run with an error, not never."""

from __future__ import annotations

import faulthandler
import sys

import pytest

PATIENCE_SECONDS = 60  # longer than a test server holds a call back


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Python waits at its end for every thread of every pool; this prints where they stand, and exits with 1."""
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True, file=sys.__stderr__)
