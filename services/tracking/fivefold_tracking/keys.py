"""Keys of metrics, params and tags: what MLflow's clients may use, which is also safe as a path.

Letters and digits of any script, `_ - . / :` and spaces; not empty, no leading slash, no `.`, `..` or empty step.
"""

from __future__ import annotations

import posixpath
import re

from fivefold_runtime.errors import FailedPrecondition
from fivefold_runtime.names import NameInvalid

_KEY = re.compile(r"[/\w.\- :]+")


class ParamChanged(FailedPrecondition):
    """A param has another value already; params are written once."""

    reason = "PARAM_CHANGED"


def check_key(key: str, field: str) -> str:
    """Returns the key. Raises NameInvalid that names `field`."""
    if not _KEY.fullmatch(key):
        raise NameInvalid.at(
            field, f"has the key {_shown(key)}; a key is letters, digits, _ - . / : and spaces", key=key
        )
    if posixpath.normpath(key) != key or key.startswith(("/", "..")) or key == ".":
        raise NameInvalid.at(field, f"has the key {_shown(key)}; a key must not escape or repeat a slash", key=key)
    return key


def check_unchanged(key: str, stored: str, given: str) -> None:
    """Raises ParamChanged when a param is given another value than it has."""
    if stored != given:
        raise ParamChanged(
            f"param {key!r} is {_shown(stored)} already and cannot become {_shown(given)}",
            key=key,
            stored=stored,
            given=given,
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 64 else text[:61] + "...")
