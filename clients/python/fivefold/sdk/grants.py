"""Who may do what to a resource: the grants that any service keeps, read and replaced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from google.protobuf.message import Message

from fivefold.permissions.v1 import permissions_pb2 as pb
from fivefold.permissions.v1.permissions_pb2_grpc import PermissionsServiceStub
from fivefold.sdk.records import Record, enum_names, enum_number
from fivefold.sdk.transport import Transport, request_id


@dataclass(frozen=True, repr=False)
class Permissions(Record):
    """All grants of one resource: levels, such as "CAN_EDIT", by subject or "group:NAME"."""

    resource: str
    grants: dict[str, str]
    etag: str

    @classmethod
    def of(cls, message: Message, **more: Any) -> Self:
        wire: Any = message
        levels = enum_names(pb.Level.DESCRIPTOR)
        return super().of(message, grants={one.principal: levels[one.level] for one in wire.grants}, **more)


def get_permissions(transport: Transport, resource: str) -> Permissions:
    """Returns the grants of a resource. Raises NotFound."""
    stub = transport.stub(PermissionsServiceStub)
    return Permissions.of(transport.call(stub.GetPermissions, pb.GetPermissionsRequest(resource=resource)))


def set_permissions(transport: Transport, resource: str, grants: Mapping[str, str], etag: str = "") -> Permissions:
    """Replaces the grants of a resource. Levels in any case, with or without CAN_.

    etag  from the last read: fails when someone wrote since; "": whatever is there

    Raises InvalidArgument when nobody would have CAN_MANAGE, PermissionDenied, Aborted (ETAG_MISMATCH).
    """
    wanted = pb.Permissions(
        resource=resource,
        grants=[pb.Grant(principal=who, level=_level(level)) for who, level in grants.items()],
        etag=etag,
    )
    request = pb.SetPermissionsRequest(permissions=wanted, request_id=request_id())
    return Permissions.of(transport.call(transport.stub(PermissionsServiceStub).SetPermissions, request))


def _level(text: str) -> Any:
    bare = text.upper().replace("-", "_")
    return enum_number(pb.Level, bare if not bare or bare.startswith("CAN_") else f"CAN_{bare}", "level")
