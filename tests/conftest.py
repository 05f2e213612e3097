"""What holds for all tests: which error reasons were raised, and that a call left hanging ends the run."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import fivefold_automl  # noqa: F401  # before gRPC: it says how gRPC is to behave beside Ray, which one of these tests starts
from fivefold_runtime.errors import FivefoldError

PATIENCE_SECONDS = 60  # longer than a test server holds a call back


@pytest.fixture(scope="session", autouse=True)
def raised() -> Iterator[set[str]]:
    """The reasons of the errors that were made in this run, in this process."""
    reasons: set[str] = set()
    made = FivefoldError.__init__

    def noted(error: FivefoldError, *arguments: Any, **facts: Any) -> None:
        made(error, *arguments, **facts)
        reasons.add(error.reason)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FivefoldError, "__init__", noted)
        yield reasons


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests about the whole run come last."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Python waits at its end for every thread of every pool; this prints where they stand, and exits with 1."""
    faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True, file=sys.__stderr__)
