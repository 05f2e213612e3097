"""What a feature spec consists of: lookups, each of some features of one table by some keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from fivefold.features.v1 import features_pb2 as pb
from fivefold.sdk.errors import InvalidArgument
from fivefold.sdk.names import full, short
from fivefold.sdk.times import aware, to_duration


@dataclass(frozen=True, slots=True)
class Lookup:
    """Features of one table for one key.

    table      "weather" or "tables/weather"
    features   columns wanted; empty means all that are not keys or times
    keys       for each primary key the request's or label frame's column; a key that is left out has its own name there
    look_back  rows older than this count as absent; None: any age
    renames    new names, by feature
    defaults   values where no row qualifies or the value is null, by feature
    """

    table: str
    features: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    look_back: timedelta | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def to_wire(self) -> pb.FeatureLookup:
        """Returns the message. Raises InvalidArgument for a default that is no plain value."""
        return pb.FeatureLookup(
            table=full("tables", self.table),
            features=self.features,
            keys=self.keys,
            look_back=to_duration(self.look_back),
            renames=self.renames,
            defaults={name: _text(value, name) for name, value in self.defaults.items()},
        )

    @classmethod
    def of(cls, message: pb.FeatureLookup) -> Lookup:
        """Returns the lookup that a message says; defaults come back as text."""
        return cls(
            table=short(message.table),
            features=tuple(message.features),
            keys=dict(message.keys),
            look_back=message.look_back.ToTimedelta() if message.HasField("look_back") else None,
            renames=dict(message.renames),
            defaults=dict(message.defaults),
        )


def _text(value: Any, feature: str) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return aware(value, f"default of {feature!r}").isoformat()
    if isinstance(value, (str, int, float, date)):
        return str(value)
    raise InvalidArgument(
        f"the default of {feature!r} is {value!r}; it must be a bool, number, text, time or date",
        reason="FIELD_INVALID",
        facts={"feature": feature},
    )
