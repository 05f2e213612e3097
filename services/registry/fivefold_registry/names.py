"""Resource names of the registry, and who carries the grants of each.

A model's id has 1 to 250 bytes and no colon, because `models:/churn/Production` must stay readable to MLflow's users.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fivefold_runtime.errors import FieldViolation
from fivefold_runtime.names import NameInvalid, Pattern

MODELS = "models"  # the collection; who may read it may read every model, deleted ones too
ALL = "models/-"  # in a list's parent: every model; so no model has this name
MAX_MODEL = 250  # bytes of a model's id

_MODEL = Pattern("models/{model}")
_VERSION = Pattern("models/{model}/versions/{version}")
_REQUEST = Pattern("models/{model}/versions/{version}/requests/{request}")
_COMMENT = Pattern("models/{model}/versions/{version}/comments/{comment}")
_ALIAS = Pattern("models/{model}/aliases/{alias}")
_ALIAS_FORM = re.compile(r"[\w-]+")
_ALIAS_TAKEN = re.compile(r"latest|v\d+", re.IGNORECASE)  # MLflow reads these as something else
_MAX_ALIAS = 255  # bytes
_MAX_DIGITS = 18  # so that a number fits 64 bits


@dataclass(frozen=True, slots=True)
class ModelName:
    """`models/{model}`."""

    model: str

    @classmethod
    def parse(cls, name: str, field: str = "name") -> ModelName:
        """Raises NameInvalid that names `field`."""
        return cls(_model(_MODEL.parse(name, field)["model"], field))

    def __str__(self) -> str:
        return f"models/{self.model}"


@dataclass(frozen=True, slots=True)
class VersionName:
    """`models/{model}/versions/{number}`."""

    model: str
    number: int

    @classmethod
    def parse(cls, name: str, field: str = "name") -> VersionName:
        """Raises NameInvalid that names `field`."""
        ids = _VERSION.parse(name, field)
        return cls(_model(ids["model"], field), _number(ids["version"], field))

    def __str__(self) -> str:
        return f"models/{self.model}/versions/{self.number}"


@dataclass(frozen=True, slots=True)
class RequestName:
    """`models/{model}/versions/{number}/requests/{sequence}`."""

    model: str
    number: int
    sequence: int

    @classmethod
    def parse(cls, name: str, field: str = "name") -> RequestName:
        """Raises NameInvalid that names `field`."""
        ids = _REQUEST.parse(name, field)
        return cls(_model(ids["model"], field), _number(ids["version"], field), _number(ids["request"], field))

    @property
    def version(self) -> VersionName:
        return VersionName(self.model, self.number)

    def __str__(self) -> str:
        return f"{self.version}/requests/{self.sequence}"


@dataclass(frozen=True, slots=True)
class CommentName:
    """`models/{model}/versions/{number}/comments/{sequence}`."""

    model: str
    number: int
    sequence: int

    @classmethod
    def parse(cls, name: str, field: str = "name") -> CommentName:
        """Raises NameInvalid that names `field`."""
        ids = _COMMENT.parse(name, field)
        return cls(_model(ids["model"], field), _number(ids["version"], field), _number(ids["comment"], field))

    @property
    def version(self) -> VersionName:
        return VersionName(self.model, self.number)

    def __str__(self) -> str:
        return f"{self.version}/comments/{self.sequence}"


@dataclass(frozen=True, slots=True)
class AliasName:
    """`models/{model}/aliases/{alias}`."""

    model: str
    alias: str

    @classmethod
    def parse(cls, name: str, field: str = "name") -> AliasName:
        """Raises NameInvalid that names `field`."""
        ids = _ALIAS.parse(name, field)
        return cls(_model(ids["model"], field), _alias(ids["alias"], field))

    def __str__(self) -> str:
        return f"models/{self.model}/aliases/{self.alias}"


def version_or_alias(name: str, field: str = "name") -> VersionName | AliasName:
    """Raises NameInvalid that names `field`."""
    return AliasName.parse(name, field) if "/aliases/" in name else VersionName.parse(name, field)


def new_model(name: str, field: str) -> ModelName:
    """Returns the name of a model that is to be. Raises NameInvalid, for `models/-` too."""
    parsed = ModelName.parse(name, field)
    if name == ALL:
        raise _refused(name, field, "stands for all models")
    return parsed


def parent(name: str, field: str = "parent") -> tuple[str, int | None]:
    """Returns (model, number) of `models/{model}/versions/{number}`, (model, None) of `models/{model}`."""
    if name.count("/") <= 1:
        return ModelName.parse(name, field).model, None
    version = VersionName.parse(name, field)
    return version.model, version.number


def owner_of(name: str) -> str:
    """Returns the resource that carries the grants of a name: the model above it. Raises NameInvalid."""
    if name == MODELS:
        return name
    return str(ModelName.parse("/".join(name.split("/")[:2])))


def _model(text: str, field: str) -> str:
    if ":" in text:
        raise _refused(text, field, "a model's id must not contain a colon")
    if len(text.encode()) > MAX_MODEL:
        raise _refused(text, field, f"a model's id has at most {MAX_MODEL} bytes")
    return text


def _alias(text: str, field: str) -> str:
    if len(text.encode()) > _MAX_ALIAS or not _ALIAS_FORM.fullmatch(text):
        raise _refused(text, field, f"an alias has 1 to {_MAX_ALIAS} bytes of letters, digits, '_' and '-'")
    if _ALIAS_TAKEN.fullmatch(text):
        raise _refused(text, field, "an alias is neither 'latest' nor a 'v' with a number")
    return text


def _number(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and text[0] != "0"):
        raise _refused(text, field, "must be a number from 1, without leading zeros")
    return int(text)


def _refused(text: str, field: str, why: str) -> NameInvalid:
    shown = text if len(text) <= 64 else text[:61] + "..."
    return NameInvalid(f"{field}: {shown!r}: {why}", fields=(FieldViolation(field, why),), field=field, value=shown)
