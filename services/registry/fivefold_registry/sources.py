"""Where a version's files come from: `runs/{run}/artifacts/{path}`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fivefold_runtime.errors import FieldViolation, InvalidArgument
from fivefold_runtime.names import NameInvalid, check_path

MAX_FILES = 10_000  # in one version
_FIELD = "model_version.source"
_RUN = re.compile(r"runs/[0-9a-f]{32}")


class SourceInvalid(InvalidArgument):
    """The source does not exist, is empty, or is not one that the registry reads."""

    reason = "SOURCE_INVALID"

    @classmethod
    def of(cls, source: str, why: str) -> SourceInvalid:
        shown = source if len(source) <= 128 else source[:125] + "..."
        return cls(f"{shown!r} {why}", fields=(FieldViolation(_FIELD, why),), field=_FIELD, source=shown)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder among a run's artifacts; `path` is "" for all of them."""

    run: str  # its name, "runs/…"
    path: str

    @classmethod
    def parse(cls, text: str) -> Source:
        """Raises SourceInvalid for anything that is not such a folder's name."""
        run, artifacts, path = text.partition("/artifacts")
        if not artifacts or not _RUN.fullmatch(run) or path == "/" or (path and path[0] != "/"):
            raise SourceInvalid.of(text, "must have the form runs/{run}/artifacts/{path}")
        try:
            return cls(run, check_path(path[1:], _FIELD) if path else "")
        except NameInvalid as error:
            raise SourceInvalid.of(text, f"has a path that is not allowed: {error.fields[0].description}") from None

    def below(self, path: str) -> str:
        """Returns a file's path within this folder. Raises SourceInvalid for one that is not below it."""
        prefix = f"{self.path}/" if self.path else ""
        if not path.startswith(prefix):
            raise SourceInvalid.of(str(self), "is a file, not a folder")
        return check_path(path[len(prefix) :], "path")

    def __str__(self) -> str:
        return f"{self.run}/artifacts/{self.path}" if self.path else f"{self.run}/artifacts"
