"""Names of this service's resources, parsed and made in one place."""

from __future__ import annotations

import re
from enum import Enum, auto

from fivefold_runtime.errors import FieldViolation
from fivefold_runtime.names import NameInvalid, Pattern

_TABLE = Pattern("tables/{table}")
_VERSION = Pattern("tables/{table}/versions/{version}")
_SPEC = Pattern("specs/{spec}")
_TRAINING_SET = Pattern("trainingSets/{training_set}")

_CHOSEN = re.compile(r"[a-z][a-z0-9_.]{0,127}")
_GIVEN = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_CONSUMERS = tuple(
    Pattern(form)
    for form in (
        "runs/{run}",
        "loggedModels/{logged_model}",
        "models/{model}/versions/{version}",
        "jobs/{job}",
        "endpoints/{endpoint}",
    )
)


class SourceKind(Enum):
    """What of this service something can be made from."""

    TABLE = auto()
    VERSION = auto()
    SPEC = auto()
    TRAINING_SET = auto()


def source_kind(name: str) -> SourceKind | None:
    """Returns what a name means here, None when it is no name of this service. It may be of any form."""
    parts = name.split("/")
    chosen = len(parts) > 1 and _CHOSEN.fullmatch(parts[1]) is not None
    match parts:
        case ["tables", _] if chosen:
            return SourceKind.TABLE
        case ["tables", _, "versions", number] if chosen and _NUMBER.fullmatch(number):
            return SourceKind.VERSION
        case ["specs", _] if chosen:
            return SourceKind.SPEC
        case ["trainingSets", given] if _GIVEN.fullmatch(given):
            return SourceKind.TRAINING_SET
    return None


def source(name: str, field: str = "source") -> str:
    """Returns a name that something can be made from. Raises NameInvalid."""
    if source_kind(name) is None:
        forms = "tables/{table}, tables/{table}/versions/{version}, specs/{spec} or trainingSets/{training_set}"
        raise NameInvalid.at(field, f"is {name[:64]!r}; it must have the form {forms}", value=name[:64])
    return name


def consumer(name: str, field: str = "consumer") -> str:
    """Returns a name of something outside of this service. Raises NameInvalid."""
    if not any(pattern.matches(name) for pattern in _CONSUMERS):
        forms = ", ".join(pattern.template for pattern in _CONSUMERS)
        raise NameInvalid.at(field, f"is {name[:64]!r}; it must have one of the forms {forms}", value=name[:64])
    return name


def owner_of(name: str) -> str:
    """Returns the resource that carries the grants of a name: a version's table, else itself."""
    return "/".join(name.split("/")[:2]) if source_kind(name) is SourceKind.VERSION else name


def table_id(name: str, field: str = "name") -> str:
    """Returns the id in tables/{table}. Raises NameInvalid."""
    return _form(
        _TABLE.parse(name, field)["table"], field, _CHOSEN, "a lower-case letter, then at most 127 of a-z 0-9 _ ."
    )


def spec_id(name: str, field: str = "name") -> str:
    """Returns the id in specs/{spec}. Raises NameInvalid."""
    return _form(
        _SPEC.parse(name, field)["spec"], field, _CHOSEN, "a lower-case letter, then at most 127 of a-z 0-9 _ ."
    )


def training_set_id(name: str, field: str = "name") -> str:
    """Returns the id in trainingSets/{training_set}. Raises NameInvalid."""
    return _form(_TRAINING_SET.parse(name, field)["training_set"], field, _GIVEN, "32 hexadecimal digits")


def table_name(table: str) -> str:
    return _TABLE.format(table=table)


def version_name(table: str, version: int) -> str:
    return _VERSION.format(table=table, version=version)


def spec_name(spec: str) -> str:
    return _SPEC.format(spec=spec)


def training_set_name(training_set: str) -> str:
    return _TRAINING_SET.format(training_set=training_set)


def _form(found: str, field: str, form: re.Pattern[str], expected: str) -> str:
    if not form.fullmatch(found):
        raise NameInvalid(
            f"{field}: {found[:64]!r} must be {expected}",
            fields=(FieldViolation(field, f"must be {expected}"),),
            field=field,
            value=found[:64],
        )
    return found
