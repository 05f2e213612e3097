"""Who may call what: the `policy` option of each method, checked against the caller's levels.

Without CAN_READ a resource is NOT_FOUND, in the same words as one that does not exist; with it but without enough,
PERMISSION_DENIED. While authentication is off everyone may do everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from sqlalchemy import ColumnElement, false, select, true

from fivefold.annotations.v1 import annotations_pb2
from fivefold_runtime import grants
from fivefold_runtime.calls import caller
from fivefold_runtime.errors import NotFound, PermissionDenied
from fivefold_runtime.grants import Level
from fivefold_runtime.principal import Principal
from fivefold_runtime.settings import ServerConfig, StartError, listed, pairs
from fivefold_runtime.sql import Database
from fivefold_runtime.tables import grants as grants_table

T = TypeVar("T")

_NEEDED = {
    annotations_pb2.ACCESS_READ: Level.CAN_READ,
    annotations_pb2.ACCESS_EDIT: Level.CAN_EDIT,
    annotations_pb2.ACCESS_MANAGE: Level.CAN_MANAGE,
    # What the method decides is more than reading: who may not even read learns nothing.
    annotations_pb2.ACCESS_DECIDED_BY_METHOD: Level.CAN_READ,
}


def itself(name: str) -> str:
    """The owner of grants for a service whose methods name the resource directly."""
    return name


class Authorizer:
    """Answers what the running call's principal may do to a resource.

    database  holds the grants; None for a service that keeps none (group levels and administrators still count)
    owner_of  maps a name in a request to the resource that carries its grants: "runs/ab" -> "experiments/3". It raises
              NotFound.of(name) for a name that is not there, NameInvalid for one that cannot be.
    """

    def __init__(
        self, config: ServerConfig, database: Database | None, owner_of: Callable[[str], str] = itself
    ) -> None:
        """Raises StartError for settings that name no level."""
        self._open = config.auth == "off"
        self._admins = frozenset(listed(config.admins))
        self._standing = {name: _level(text) for name, text in pairs(config.standing_levels, "standing_levels").items()}
        self._database = database
        self.owner_of = owner_of

    def is_admin(self, principal: Principal | None = None) -> bool:
        """Says whether the caller (or another principal) may do everything."""
        return self._open or not self._admins.isdisjoint((principal or caller()).names())

    def level(self, name: str, principal: Principal | None = None) -> Level:
        """Returns the caller's level on the resource that `name` belongs to."""
        who = principal or caller()
        if self.is_admin(who):
            return Level.CAN_MANAGE
        return max(self._everywhere(who), self._granted(self.owner_of(name), who))

    def require(self, name: str, level: Level) -> None:
        """Raises NotFound without CAN_READ on the resource, PermissionDenied without `level`."""
        if self.is_admin() or self._everywhere(caller()) >= level:
            return
        has = self.level(name)
        if has < Level.CAN_READ:
            raise NotFound.of(name)
        if has < level:
            raise PermissionDenied(
                f"this needs {level.name} on {name}; you have {has.name}", name=name, needed=level.name, has=has.name
            )

    def require_admin(self) -> None:
        """Raises PermissionDenied unless the caller is an administrator."""
        if not self.is_admin():
            raise PermissionDenied("this needs an administrator of the installation", needed="ADMIN")

    def visible(self, items: Iterable[T], resource: Callable[[T], str]) -> list[T]:
        """Returns the items whose resource (the one that carries grants) the caller may read, in their order.

        One query for all. A paged list filters in SQL instead, with `may_read`, so that pages stay full.
        """
        kept = list(items)
        if self._sees_all():
            return kept
        if self._database is None:
            return []
        with self._database.read() as tx:
            seen = grants.among(tx, [resource(item) for item in kept], caller())
        return [item for item in kept if resource(item) in seen]

    def may_read(self, resource: ColumnElement[str]) -> ColumnElement[bool]:
        """Returns the SQL condition that the caller may read the resource named by a column or expression."""
        if self._sees_all():
            return true()
        if self._database is None:
            return false()
        return (
            select(grants_table.c.level)
            .where(grants_table.c.resource == resource, grants_table.c.principal.in_(caller().names()))
            .exists()
        )

    def _sees_all(self) -> bool:
        return self.is_admin() or self._everywhere(caller()) >= Level.CAN_READ

    def _everywhere(self, principal: Principal) -> Level:
        return max(self._standing.get(name, Level.NONE) for name in principal.names())

    def _granted(self, resource: str, principal: Principal) -> Level:
        if self._database is None:
            return Level.NONE
        with self._database.read() as tx:
            return grants.level_of(tx, resource, principal)


def policy_of(method: MethodDescriptor) -> Any:
    """Returns the method's fivefold.annotations.v1.Policy; its access is ACCESS_UNSPECIFIED where none is declared."""
    return method.GetOptions().Extensions[annotations_pb2.policy]


def check_of(method: MethodDescriptor, authorizer: Authorizer | None) -> Callable[[Message], None] | None:
    """Returns what checks a request of this method, None when there is nothing to check beyond the token.

    Raises StartError for a method without a usable policy: such a server must not start.
    """
    declared = policy_of(method)
    access, path = declared.access, declared.resource
    if access == annotations_pb2.ACCESS_UNSPECIFIED:
        raise StartError(f"{method.full_name} declares no policy. Its contract must say who may call it.")
    if access in (annotations_pb2.ACCESS_PUBLIC, annotations_pb2.ACCESS_AUTHENTICATED):
        return None
    if access == annotations_pb2.ACCESS_DECIDED_BY_METHOD and not path:
        return None
    if authorizer is None:
        raise StartError(f"{method.full_name} needs an authorizer, but the service has none.")
    if access == annotations_pb2.ACCESS_ADMIN:
        return lambda _: authorizer.require_admin()
    level, names = _NEEDED[access], _reader(method, path)
    return lambda request: authorizer.require(names(request), level)


def _reader(method: MethodDescriptor, path: str) -> Callable[[Any], str]:
    """Returns what reads a dotted field path. Raises StartError when the request has no such text field."""
    steps = path.split(".")
    message: Any = method.input_type
    for index, step in enumerate(steps):
        field = message.fields_by_name.get(step) if message is not None else None
        if field is None or field.is_repeated or (index == len(steps) - 1) != (field.message_type is None):
            raise StartError(f"the policy of {method.full_name} names {path!r}, which is no text field of its request.")
        message = field.message_type

    def read(request: Any) -> str:
        for step in steps:
            request = getattr(request, step)
        return request

    return read


def _level(text: str) -> Level:
    try:
        return Level[text]
    except KeyError:
        names = ", ".join(level.name for level in Level if level)
        raise StartError(f"--standing-levels has {text!r}; a level is one of {names}.") from None
