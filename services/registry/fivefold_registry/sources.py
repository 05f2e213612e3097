"""Where a version's files come from: artifacts of a run or of a logged model. Or where else they are. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fivefold_runtime.errors import FieldViolation, InvalidArgument
from fivefold_runtime.names import NameInvalid, check_path

MAX_FILES = 10_000  # in one version
_FIELD = "model_version.source"
_EXTERNAL = "model_version.external_uri"
_PARENT = re.compile(r"runs/[0-9a-f]{32}|logged_models/m-[0-9a-f]{32}")
_LOGGED = "logged_models/"


class SourceInvalid(InvalidArgument):
    """The source does not exist, is empty, or is not one that the registry reads."""

    reason = "SOURCE_INVALID"

    @classmethod
    def of(cls, source: str, why: str, field: str = _FIELD) -> SourceInvalid:
        shown = source if len(source) <= 128 else source[:125] + "..."
        return cls(f"{shown!r} {why}", fields=(FieldViolation(field, why),), field=field, source=shown)


def check_one(source: str, external_uri: str) -> None:
    """Raises SourceInvalid unless a version has its files either here or elsewhere, at a place that can be shown."""
    if source and external_uri:
        raise SourceInvalid.of(external_uri, "cannot go with a source", _EXTERNAL)
    if external_uri and (not external_uri.isprintable() or external_uri != external_uri.strip()):
        raise SourceInvalid.of(external_uri, "must not contain control characters or spaces at its ends", _EXTERNAL)


@dataclass(frozen=True, slots=True)
class Source:
    """A folder among the artifacts of a run or a logged model; `path` is "" for all of them."""

    parent: str  # its name, "runs/…" or "logged_models/…"
    path: str

    @property
    def logged_model(self) -> str:
        """Name of the logged model, "" when it is a run's."""
        return self.parent if self.parent.startswith(_LOGGED) else ""

    @classmethod
    def parse(cls, text: str) -> Source:
        """Raises SourceInvalid for anything that is not such a folder's name."""
        parent, artifacts, path = text.partition("/artifacts")
        if not artifacts or not _PARENT.fullmatch(parent) or path == "/" or (path and path[0] != "/"):
            forms = "runs/{run}/artifacts/{path} or logged_models/{logged_model}/artifacts/{path}"
            raise SourceInvalid.of(text, f"must have the form {forms}")
        try:
            return cls(parent, check_path(path[1:], _FIELD) if path else "")
        except NameInvalid as error:
            raise SourceInvalid.of(text, f"has a path that is not allowed: {error.fields[0].description}") from None

    def below(self, path: str) -> str:
        """Returns a file's path within this folder. Raises SourceInvalid for one that is not below it."""
        prefix = f"{self.path}/" if self.path else ""
        if not path.startswith(prefix):
            raise SourceInvalid.of(str(self), "is a file, not a folder")
        return check_path(path[len(prefix) :], "path")

    def __str__(self) -> str:
        return f"{self.parent}/artifacts/{self.path}" if self.path else f"{self.parent}/artifacts"
