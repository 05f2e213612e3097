"""Rights on a resource, for code that is to stay free of SQL."""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """A right on a resource; numbered as fivefold.permissions.v1.Level. Each includes those below it."""

    NONE = 0
    CAN_READ = 1
    CAN_EDIT = 2
    CAN_MANAGE_STAGING_VERSIONS = 3
    CAN_MANAGE_PRODUCTION_VERSIONS = 4
    CAN_MANAGE = 5
