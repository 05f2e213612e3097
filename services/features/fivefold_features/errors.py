"""What this service refuses, one class per reason. Messages name table, column and row, then what was expected.

Rows are counted from 0, over the whole stream of a call.
"""

from __future__ import annotations

from fivefold_runtime.errors import FailedPrecondition, InvalidArgument


class SchemaMismatch(InvalidArgument):
    """A column is missing, unknown, or of another type than expected."""

    reason = "SCHEMA_MISMATCH"


class KeyNull(InvalidArgument):
    """A key or time stamp column holds a null."""

    reason = "KEY_NULL"


class KeyDuplicate(InvalidArgument):
    """The same key and times occur twice in one write."""

    reason = "KEY_DUPLICATE"


class TimestampInvalid(InvalidArgument):
    """A time stamp column has no time zone, or a value out of range."""

    reason = "TIMESTAMP_INVALID"


class ArrowInvalid(InvalidArgument):
    """The bytes are no Arrow IPC stream that this service takes."""

    reason = "ARROW_INVALID"


class StreamOrder(InvalidArgument):
    """The first message is no header, or a later one is."""

    reason = "STREAM_ORDER"


class LookupKeyMissing(InvalidArgument):
    """The request or the label frame lacks a key of the spec, or the time column."""

    reason = "LOOKUP_KEY_MISSING"


class NotPublished(FailedPrecondition):
    """The table is not online, or has no version yet."""

    reason = "NOT_PUBLISHED"


class TableInUse(FailedPrecondition):
    """A feature spec refers to the table."""

    reason = "TABLE_IN_USE"


class VersionVacuumed(FailedPrecondition):
    """The rows of the version were given up."""

    reason = "VERSION_VACUUMED"


class SpecInUse(FailedPrecondition):
    """A training set or a recorded consumer refers to the spec."""

    reason = "SPEC_IN_USE"


class FunctionUnknown(FailedPrecondition):
    """No on-demand function of that module, name and source hash is installed."""

    reason = "FUNCTION_UNKNOWN"


class FunctionFailed(InvalidArgument):
    """An on-demand function refused its inputs, or returned what it does not say it gives."""

    reason = "FUNCTION_FAILED"
