"""Serves fivefold.registry.v1.SubscriptionService: translates, calls, translates. Everything is the caller's own."""

from __future__ import annotations

from collections.abc import Collection

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from fivefold.registry.v1 import subscriptions_pb2 as pb
from fivefold_registry.mail.letters import is_address
from fivefold_registry.names import ModelName, VersionName
from fivefold_registry.store.outgoing import Activity, SubscriptionRecord
from fivefold_registry.store.outgoing_protocol import SubscriptionStore
from fivefold_runtime import paging
from fivefold_runtime.calls import caller
from fivefold_runtime.errors import InvalidArgument
from fivefold_runtime.masks import chosen
from fivefold_runtime.mutation import mutation
from fivefold_runtime.names import Pattern
from fivefold_runtime.policy import Authorizer
from fivefold_runtime.sql import Database

SERVICE = "fivefold.registry.v1.SubscriptionService"
_PAGE, _LARGEST_PAGE = 100, 1_000
_NAME = Pattern("models/{model}/subscription")
_ACTIVITY = {
    Activity.ALL: pb.SUBSCRIBED_ACTIVITY_ALL_ACTIVITY,
    Activity.FOLLOWED: pb.SUBSCRIBED_ACTIVITY_FOLLOWED_VERSIONS,
    Activity.MUTE: pb.SUBSCRIBED_ACTIVITY_MUTE,
}
_ACTIVITY_OF = {number: activity for activity, number in _ACTIVITY.items()}

Context = grpc.ServicerContext


class SubscriptionServicer:
    """All methods of the service."""

    def __init__(
        self, database: Database, subscriptions: SubscriptionStore, authorizer: Authorizer, domains: Collection[str]
    ) -> None:
        """domains  lower case, those that mail may go to; empty: any"""
        self.database = database  # `mutation` looks for it here
        self._subscriptions = subscriptions
        self._authorizer = authorizer
        self._domains = domains

    def GetSubscription(self, request: pb.GetSubscriptionRequest, context: Context) -> pb.Subscription:
        return _to_wire(self._subscriptions.get(_model(request.name, "name"), caller().subject))

    def ListSubscriptions(self, request: pb.ListSubscriptionsRequest, context: Context) -> pb.ListSubscriptionsResponse:
        size = paging.size(request.page_size, _PAGE, _LARGEST_PAGE)
        (after,) = paging.key_of(request, paging.TEXT) or ("",)
        found = self._subscriptions.list(caller().subject, after, size + 1, self._authorizer)
        more = paging.token_of(request, [found[size - 1].model] if len(found) > size else None)
        return pb.ListSubscriptionsResponse(
            subscriptions=[_to_wire(record) for record in found[:size]], next_page_token=more
        )

    @mutation
    def UpdateSubscription(self, request: pb.UpdateSubscriptionRequest, context: Context) -> pb.Subscription:
        asked = request.subscription
        fields = chosen(request.update_mask, asked, ("activity", "email"))
        activity = _ACTIVITY_OF.get(asked.activity, Activity.FOLLOWED) if "activity" in fields else None
        email = self._email(asked.email) if "email" in fields else None
        self._meet()
        name = _model(asked.name, "subscription.name")
        return _to_wire(self._subscriptions.update(name, caller().subject, activity, email))

    @mutation
    def FollowVersion(self, request: pb.FollowVersionRequest, context: Context) -> pb.FollowVersionResponse:
        self._meet()
        self._subscriptions.follow(VersionName.parse(request.name), caller().subject)
        return pb.FollowVersionResponse()

    @mutation
    def UnfollowVersion(self, request: pb.UnfollowVersionRequest, context: Context) -> pb.UnfollowVersionResponse:
        self._subscriptions.unfollow(VersionName.parse(request.name), caller().subject)
        return pb.UnfollowVersionResponse()

    def _meet(self) -> None:
        if caller().token:
            self._subscriptions.met(caller())

    def _email(self, text: str) -> str:
        if text and not is_address(text):
            raise InvalidArgument.at("subscription.email", "is no e-mail address such as ada@example.com")
        if text and self._domains and text.rpartition("@")[2].lower() not in self._domains:
            raise InvalidArgument.at("subscription.email", "is of a domain that this server does not send to")
        return text


def _model(name: str, field: str) -> ModelName:
    return ModelName.parse(f"models/{_NAME.parse(name, field)['model']}", field)


def _to_wire(record: SubscriptionRecord) -> pb.Subscription:
    answer = pb.Subscription(
        name=_NAME.format(model=record.model),
        activity=_ACTIVITY[record.activity],
        email=record.email,
        followed_versions=[str(VersionName(record.model, number)) for number in record.followed],
    )
    if record.updated is not None:
        time = Timestamp()
        time.FromDatetime(record.updated)
        answer.update_time.CopyFrom(time)
    return answer
