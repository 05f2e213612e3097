"""Names of this service's resources, parsed and made in one place."""

from __future__ import annotations

import re

from fivefold_runtime.errors import FieldViolation
from fivefold_runtime.names import NameInvalid, Pattern

_TABLE = Pattern("tables/{table}")
_VERSION = Pattern("tables/{table}/versions/{version}")
_SPEC = Pattern("specs/{spec}")
_TRAINING_SET = Pattern("trainingSets/{training_set}")

_CHOSEN = re.compile(r"[a-z][a-z0-9_.]{0,127}")
_GIVEN = re.compile(r"[0-9a-f]{32}")


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
