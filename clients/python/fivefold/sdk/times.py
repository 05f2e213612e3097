"""Times between Python and the wire: always with a zone, always UTC, to the microsecond."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.sdk.errors import InvalidArgument

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def aware(when: datetime, field: str) -> datetime:
    """Returns the time in UTC.

    Raises InvalidArgument for a time without a zone, since it could mean any of 38 instants, and for what is no time.
    """
    if not isinstance(when, datetime):
        raise InvalidArgument(
            f"{field} is {when!r}; it must be a datetime with a time zone",
            reason="FIELD_INVALID",
            facts={"field": field},
        )
    if when.tzinfo is None or when.utcoffset() is None:
        raise InvalidArgument(
            f"{field} is {when.isoformat()}, which has no time zone",
            reason="FIELD_INVALID",
            facts={"field": field, "value": when.isoformat()},
            hint="say which zone: datetime.now(UTC), when.replace(tzinfo=UTC), or frame['time'].dt.tz_localize('UTC')",
        )
    return when.astimezone(UTC)


def microseconds(when: datetime, field: str) -> int:
    """Returns microseconds since 1970-01-01T00:00:00Z. Raises InvalidArgument for a time without a zone."""
    return (aware(when, field) - _EPOCH) // _MICROSECOND


def days(when: date) -> int:
    """Returns days since 1970-01-01."""
    return (when - _EPOCH.date()).days


def to_timestamp(when: datetime | None, field: str) -> Timestamp | None:
    """Returns the wire's time; None stays None. Raises InvalidArgument for a time without a zone."""
    if when is None:
        return None
    stamp = Timestamp()
    stamp.FromMicroseconds(microseconds(when, field))
    return stamp


def from_timestamp(stamp: Timestamp) -> datetime:
    """Returns the time in UTC."""
    return _EPOCH + timedelta(microseconds=stamp.ToMicroseconds())


def to_duration(span: timedelta | None) -> Duration | None:
    """Returns the wire's duration; None stays None."""
    if span is None:
        return None
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
