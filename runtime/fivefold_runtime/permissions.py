"""The permissions service, the same in every service that owns resources: reads and replaces a resource's grants."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fivefold.permissions.v1 import permissions_pb2 as pb
from fivefold_runtime import grants
from fivefold_runtime.errors import Aborted
from fivefold_runtime.grants import Level
from fivefold_runtime.mutation import mutation
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database
from fivefold_runtime.validation import FieldInvalid

SERVICE = "fivefold.permissions.v1.PermissionsService"


class PermissionsServicer:
    """Serves fivefold.permissions.v1 over the grants of one database. Policy has checked the caller's right before."""

    def __init__(self, database: Database, authorizer: Authorizer) -> None:
        self.database = database
        self._authorizer = authorizer

    def GetPermissions(self, request: pb.GetPermissionsRequest, context: object) -> pb.Permissions:
        with self.database.read() as tx:
            return _to_wire(request.resource, grants.of(tx, self._authorizer.owner_of(request.resource)))

    @mutation
    def SetPermissions(self, request: pb.SetPermissionsRequest, context: object) -> pb.Permissions:
        asked = request.permissions
        resource = self._authorizer.owner_of(asked.resource)
        levels = _levels(asked)
        with self.database.write() as tx:
            before = grants.of(tx, resource, for_update=True)
            if asked.etag and asked.etag != _etag(before):
                raise Aborted(f"the grants of {asked.resource} changed since they were read", resource=asked.resource)
            grants.replace(tx, resource, levels)
        return _to_wire(asked.resource, levels)


def _levels(asked: pb.Permissions) -> dict[str, Level]:
    """Returns the grants by principal. Raises FieldInvalid: one principal twice, nobody left who manages."""
    levels: dict[str, Level] = {}
    for index, grant in enumerate(asked.grants):
        if grant.principal in levels:
            field = f"permissions.grants[{index}].principal"
            raise FieldInvalid.at(field, "names a principal for the second time", value=grant.principal)
        levels[grant.principal] = Level(grant.level)
    if Level.CAN_MANAGE not in levels.values():
        raise FieldInvalid.at("permissions.grants", "must leave somebody with CAN_MANAGE")
    return levels


def _to_wire(resource: str, levels: Mapping[str, Level]) -> pb.Permissions:
    answer = pb.Permissions(resource=resource, etag=_etag(levels))
    for principal, level in sorted(levels.items()):
        answer.grants.add(principal=principal, level=pb.Level.Name(level))  # type: ignore[arg-type]  # the same numbers
    return answer


def _etag(levels: Mapping[str, Level]) -> str:
    text = "\n".join(f"{principal}\t{int(level)}" for principal, level in sorted(levels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
