"""Imports what only some calls need, or says which extra brings it."""

from importlib import import_module
from typing import Any

from fivefold.sdk.errors import MissingExtra

_EXTRA = {
    "numpy": "pandas",
    "pandas": "pandas",
    "psutil": "system",
    "pyarrow": "pandas",
    "pyarrow.csv": "pandas",
    "pyarrow.parquet": "pandas",
}


def need(module: str, purpose: str) -> Any:
    """Returns the imported module.

    Raises MissingExtra that says what to install, when it is not there.
    """
    try:
        return import_module(module)
    except ImportError:
        install = f"pip install 'fivefold[{_EXTRA[module]}]'" if module in _EXTRA else f"pip install {module}"
        raise MissingExtra(
            f"{purpose} needs {module.partition('.')[0]}, which is not installed", hint=install
        ) from None
