"""Replaces functions of libraries for a while, and puts back what was there."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

Around = Callable[..., Any]  # called with the original, then with the call's own arguments

_lock = threading.RLock()


class Patches:
    """Replacements that are taken back together, the last one first."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any, Any]] = []

    def put(self, home: Any, name: str, around: Around) -> None:
        """Replaces `home.name`, which stands in `home` itself, by a function that calls `around(original, ...)`."""
        with _lock:
            original = vars(home)[name]

            @functools.wraps(original)
            def patched(*arguments: Any, **named: Any) -> Any:
                return around(original, *arguments, **named)

            setattr(home, name, patched)
            self._undo.append((home, name, patched, original))

    def add(self, home: Any, name: str, value: Any) -> None:
        """Sets an attribute that `home` itself does not have, to be deleted at the end."""
        with _lock:
            setattr(home, name, value)
            self._undo.append((home, name, vars(home)[name], None))

    def take_back(self) -> None:
        """Restores what was there; leaves alone what someone else has replaced since."""
        with _lock:
            while self._undo:
                home, name, patched, original = self._undo.pop()
                if vars(home).get(name) is not patched:
                    continue
                if original is None:
                    delattr(home, name)
                else:
                    setattr(home, name, original)
