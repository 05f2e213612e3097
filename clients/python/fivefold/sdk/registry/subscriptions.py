"""Mail: what the caller hears of models, and which versions they follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fivefold.registry.v1 import subscriptions_pb2 as pb
from fivefold.registry.v1.subscriptions_pb2_grpc import SubscriptionServiceStub
from fivefold.sdk import names
from fivefold.sdk.records import Listing, Record, enum_number, listing
from fivefold.sdk.transport import Transport, request_id


@dataclass(frozen=True, repr=False)
class Subscription(Record):
    """What the caller hears of a model: "ALL_ACTIVITY", "FOLLOWED_VERSIONS" or "MUTE"."""

    name: str
    activity: str
    email: str
    followed_versions: tuple[str, ...]
    update_time: datetime | None


class Subscriptions:
    """The caller's own subscriptions."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(SubscriptionServiceStub)

    def get(self, model: str) -> Subscription:
        """Returns the subscription to a model, the default one when it was never changed. Raises NotFound."""
        request = pb.GetSubscriptionRequest(name=_name(model))
        return Subscription.of(self._transport.call(self._stub.GetSubscription, request))

    def list(self, *, limit: int | None = None) -> Listing[Subscription]:
        """Lists the subscriptions that were ever changed, by the models' names, without the versions followed."""
        pages = self._transport.pages(
            self._stub.ListSubscriptions, pb.ListSubscriptionsRequest(), "subscriptions", limit
        )
        return listing(Subscription, pages)

    def update(self, model: str, *, activity: str | None = None, email: str | None = None) -> Subscription:
        """Changes what is not None. email "": the address of the caller's token."""
        number: Any = enum_number(pb.SubscribedActivity, activity or "", "activity")
        asked = pb.Subscription(name=_name(model), activity=number, email=email or "")
        request = pb.UpdateSubscriptionRequest(subscription=asked, request_id=request_id())
        given = {"activity": activity, "email": email}
        request.update_mask.paths.extend(field for field, value in given.items() if value is not None)
        return Subscription.of(self._transport.call(self._stub.UpdateSubscription, request))

    def follow(self, version: str) -> None:
        """Makes the caller follow a version. Raises NotFound."""
        request = pb.FollowVersionRequest(name=names.version(version), request_id=request_id())
        self._transport.call(self._stub.FollowVersion, request)

    def unfollow(self, version: str) -> None:
        """Makes the caller follow a version no longer, until they act on it again."""
        request = pb.UnfollowVersionRequest(name=names.version(version), request_id=request_id())
        self._transport.call(self._stub.UnfollowVersion, request)


def _name(model: str) -> str:
    return f"{names.full('models', model)}/subscription"
