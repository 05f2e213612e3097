"""Resource names of the registry, and who carries the grants of each.

A model's id has 1 to 250 bytes and no colon, because `models:/churn/Production` must stay readable to MLflow's users.
"""

from __future__ import annotations

from dataclasses import dataclass

from fivefold_runtime.errors import FieldViolation
from fivefold_runtime.names import NameInvalid, Pattern

MODELS = "models"  # the collection; who may read it may read every model, deleted ones too
MAX_MODEL = 250  # bytes of a model's id

_MODEL = Pattern("models/{model}")
_VERSION = Pattern("models/{model}/versions/{version}")
_REQUEST = Pattern("models/{model}/versions/{version}/requests/{request}")
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


def _number(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and text[0] != "0"):
        raise _refused(text, field, "must be a number from 1, without leading zeros")
    return int(text)


def _refused(text: str, field: str, why: str) -> NameInvalid:
    shown = text if len(text) <= 64 else text[:61] + "..."
    return NameInvalid(f"{field}: {shown!r}: {why}", fields=(FieldViolation(field, why),), field=field, value=shown)
