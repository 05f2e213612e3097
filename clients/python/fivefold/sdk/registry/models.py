"""Registered models: made, found, changed, renamed, deleted; their rules, aliases and rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.registry.v1 import registry_pb2 as pb
from fivefold.sdk import names
from fivefold.sdk.errors import Aborted, InvalidArgument, NotFound
from fivefold.sdk.grants import Permissions, get_permissions, set_permissions
from fivefold.sdk.records import Listing, listing
from fivefold.sdk.registry.calls import RegistryCalls, hinting
from fivefold.sdk.registry.records import Model, ModelVersion
from fivefold.sdk.transport import request_id

A = TypeVar("A")

_ATTEMPTS = 12  # to change what others change at the same time


class RegisteredModels(RegistryCalls):
    """The part of the registry that is about models."""

    def create_model(
        self,
        name: str,
        *,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        one_production: bool = False,
        stepwise: bool = False,
        no_self_approval: bool = False,
        stage_names: Mapping[str, str] | None = None,
        allow_existing: bool = False,
    ) -> Model:
        """Registers a model; you manage it.

        one_production    at most one version in Production
        stepwise          versions go None, Staging, Production, and back; instead of any move
        no_self_approval  nobody approves a request of their own
        stage_names       own names of stages, such as {"Production": "Live"}
        allow_existing    returns the model that is there, unchanged

        Raises AlreadyExists, InvalidArgument (NAME_INVALID).
        """
        full = names.full("models", name)
        policy = pb.StagePolicy(
            one_production=one_production,
            stepwise=stepwise,
            no_self_approval=no_self_approval,
            stage_names=self._stage_names(full, stage_names or {}),
        )
        model = pb.Model(name=full, description=description, tags=tags, policy=policy)
        request = pb.CreateModelRequest(model=model, allow_existing=allow_existing, request_id=request_id())
        return Model.of(self._transport.call(self._stub.CreateModel, request))

    def get_model(self, name: str) -> Model:
        """Returns one model with its newest version in each stage. Raises NotFound."""
        request = pb.GetModelRequest(name=names.full("models", name))
        return Model.of(self._transport.call(self._stub.GetModel, request))

    def search_models(self, filter: str = "", *, order_by: str = "", limit: int | None = None) -> Listing[Model]:
        """Lists the models that you may read and that fit the filter; by name unless `order_by` says otherwise.

        filter    of `name` and `tags.KEY`, such as "name LIKE 'churn%' AND tags.team = 'growth'"; "": all
        order_by  of `name`, `create_time`, `update_time`, each with or without DESC, such as "update_time DESC"

        Raises InvalidArgument (FILTER_INVALID) that says where the filter is wrong.
        """
        request = pb.ListModelsRequest(filter=filter, order_by=order_by)
        with hinting(FILTER_INVALID=_FILTER_HINT):
            return listing(Model, self._transport.pages(self._stub.ListModels, request, "models", limit))

    def list_models(self, *, limit: int | None = None) -> Listing[Model]:
        """Lists models by name."""
        return self.search_models(limit=limit)

    def update_model(
        self,
        name: str,
        *,
        description: str | None = None,
        tags: Mapping[str, str | None] | None = None,
        etag: str = "",
    ) -> Model:
        """Changes what is given and leaves the rest.

        tags  those to set; a tag whose value is None is removed; other tags stay
        etag  from the last read: fails when someone wrote since; "": whatever is there

        Raises NotFound, Aborted (ETAG_MISMATCH), PermissionDenied.
        """
        mask, kept = changes(description, tags)
        model = pb.Model(name=names.full("models", name), description=description or "", tags=kept, etag=etag)
        return self._update(model, mask)

    def set_policy(
        self,
        name: str,
        *,
        one_production: bool | None = None,
        stepwise: bool | None = None,
        no_self_approval: bool | None = None,
        stage_names: Mapping[str, str] | None = None,
    ) -> Model:
        """Changes rules of a model; what is None stays as it is. Needs CAN_MANAGE.

        stage_names  own names by stage, such as {"Production": "Live"}; "" takes a name away, other stages keep theirs

        Raises FailedPrecondition (STAGE_NOT_ALLOWED) for one Production version while there are several.
        """
        full = names.full("models", name)

        def change() -> Model:
            now = self._transport.call(self._stub.GetModel, pb.GetModelRequest(name=full))
            rules = {"one_production": one_production, "stepwise": stepwise, "no_self_approval": no_self_approval}
            for rule, value in rules.items():
                if value is not None:
                    setattr(now.policy, rule, value)
            if stage_names is not None:
                own = {one.stage: one for one in now.policy.stage_names}
                own |= {one.stage: one for one in self._stage_names(full, stage_names)}
                del now.policy.stage_names[:]
                now.policy.stage_names.extend(one for _, one in sorted(own.items()) if one.name)
            return self._update(pb.Model(name=full, policy=now.policy, etag=now.etag), ["policy"])

        with hinting(
            STAGE_NOT_ALLOWED=f"archive all but one first: `fivefold models versions {names.word(full)}`",
            PERMISSION_DENIED=f"only who manages the model sets its policy: see `fivefold models permissions {names.word(full)}`",
        ):
            return again(change)

    def rename_model(self, name: str, new_name: str, *, etag: str = "") -> Model:
        """Gives a model another name; versions, history, requests, aliases and rights stay with it.

        Raises FailedPrecondition (VERSION_IN_USE) while a version is in Staging or Production, AlreadyExists.
        """
        request = pb.RenameModelRequest(
            name=names.full("models", name),
            new_name=names.full("models", new_name),
            etag=etag,
            request_id=request_id(),
        )
        with hinting(VERSION_IN_USE=_archive_hint(request.name)):
            return Model.of(self._transport.call(self._stub.RenameModel, request).model)

    def delete_model(self, name: str, *, etag: str = "") -> None:
        """Deletes a model with all its versions, for good.

        Raises FailedPrecondition (VERSION_IN_USE) while a version is in Staging or Production.
        """
        request = pb.DeleteModelRequest(name=names.full("models", name), etag=etag, request_id=request_id())
        with hinting(VERSION_IN_USE=_archive_hint(request.name)):
            self._transport.call(self._stub.DeleteModel, request)

    def set_alias(self, version: str, alias: str) -> ModelVersion:
        """Lets an alias mean a version, whatever it meant before: set_alias("churn/3", "champion").

        Raises InvalidArgument (NAME_INVALID) for an alias such as "latest" or "v3".
        """
        model, _, number = self._version(version).rpartition("/versions/")
        request = pb.SetModelAliasRequest(name=f"{model}/aliases/{alias}", version=int(number), request_id=request_id())
        return ModelVersion.of(self._transport.call(self._stub.SetModelAlias, request).model_version)

    def delete_alias(self, model: str, alias: str) -> None:
        """Takes an alias away; the version stays. Raises NotFound."""
        full = names.full("models", model)
        request = pb.DeleteModelAliasRequest(name=f"{full}/aliases/{alias}", request_id=request_id())
        self._transport.call(self._stub.DeleteModelAlias, request)

    def permissions(self, name: str) -> Permissions:
        """Returns who may do what with a model. Raises NotFound."""
        return get_permissions(self._transport, names.full("models", name))

    def set_permissions(self, name: str, grants: Mapping[str, str], *, etag: str = "") -> Permissions:
        """Replaces all grants of a model, such as {"ana": "CAN_MANAGE", "group:science": "CAN_READ"}.

        Levels: CAN_READ, CAN_EDIT, CAN_MANAGE_STAGING_VERSIONS, CAN_MANAGE_PRODUCTION_VERSIONS, CAN_MANAGE; each
        includes those before it.

        Raises InvalidArgument when nobody would have CAN_MANAGE, PermissionDenied, Aborted.
        """
        return set_permissions(self._transport, names.full("models", name), grants, etag)

    def grant(self, name: str, principal: str, level: str) -> Permissions:
        """Gives one person, or "group:NAME", a level on a model; the grants of others stay."""
        return self.regrant(name, {principal: level})

    def revoke(self, name: str, *principals: str) -> Permissions:
        """Takes the grants of these on a model away; the grants of others stay."""
        return self.regrant(name, {}, principals)

    def regrant(self, name: str, given: Mapping[str, str], taken: Sequence[str] = ()) -> Permissions:
        """Gives levels and takes grants away, in one write; the grants of others stay.

        Raises NotFound when one of `taken` has no grant, and what `set_permissions` raises.
        """

        def change() -> Permissions:
            now = self.permissions(name)
            if missing := [who for who in taken if who not in now.grants]:
                raise NotFound(
                    f"{missing[0]} has no grant on {now.resource}",
                    reason="RESOURCE_NOT_FOUND",
                    facts={"principal": missing[0], "resource": now.resource},
                    hint=f"see who has: `fivefold models permissions {names.word(now.resource)}`",
                )
            grants = {who: level for who, level in (now.grants | dict(given)).items() if who not in taken}
            return self.set_permissions(name, grants, etag=now.etag)

        return again(change)

    def _update(self, model: pb.Model, mask: Sequence[str]) -> Model:
        request = pb.UpdateModelRequest(model=model, update_mask=FieldMask(paths=mask), request_id=request_id())
        return Model.of(self._transport.call(self._stub.UpdateModel, request))

    def _stage_names(self, model: str, own: Mapping[str, str]) -> list[pb.StageName]:
        return [
            pb.StageName(stage=self._stage(model, stage), name=name)  # type: ignore[arg-type]
            for stage, name in own.items()
        ]


def changes(description: str | None, tags: Mapping[str, str | None] | None) -> tuple[list[str], dict[str, str]]:
    """Returns an update mask, and the tags that are to have a value. Raises InvalidArgument when nothing changes."""
    mask = ["description"] if description is not None else []
    mask += [f"tags.{key}" for key in tags or {}]
    if not mask:
        raise InvalidArgument("nothing to change: give a description or tags", reason="FIELD_REQUIRED")
    return mask, {key: value for key, value in (tags or {}).items() if value is not None}


def again(change: Callable[[], A]) -> A:
    """Reads and writes until nobody else wrote in between. Raises Aborted when others are always faster."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return change()
        except Aborted as error:
            if error.reason != "ETAG_MISMATCH":
                raise
    return change()


def _archive_hint(model: str) -> str:
    short = names.word(model)
    return (
        f"move its versions out of Staging and Production first: `fivefold models versions {short}`, "
        f"`fivefold models transition {short}/NUMBER Archived`"
    )


_FILTER_HINT = (
    """such as "name LIKE 'churn%' AND tags.team = 'growth'"; texts in quotes, keys like `a-b` in backticks"""
)
