"""Experiments: named collections of runs, to make, find, rename, delete and bring back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask

from fivefold.sdk.names import full
from fivefold.sdk.records import Listing, Record, listing
from fivefold.sdk.tracking.runs import texts, view_number
from fivefold.sdk.transport import Transport, request_id
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub


@dataclass(frozen=True, repr=False)
class Experiment(Record):
    """A named collection of runs."""

    name: str
    display_name: str
    tags: dict[str, str]
    artifact_location: str
    create_time: datetime | None
    update_time: datetime | None
    delete_time: datetime | None
    etag: str


class Experiments:
    """The experiments of the tracking service, named short ("3"), long ("experiments/3") or by display name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stub = transport.stub(TrackingServiceStub)

    def create(
        self,
        display_name: str,
        *,
        tags: Mapping[str, str] | None = None,
        artifact_location: str = "",
        allow_existing: bool = True,
    ) -> Experiment:
        """Returns a new experiment, or the active one of that display name where `allow_existing`.

        artifact_location  URI where clients keep its runs' artifacts instead; "": in the service
        """
        request = pb.CreateExperimentRequest(
            experiment=pb.Experiment(display_name=display_name, tags=tags, artifact_location=artifact_location),
            allow_existing=allow_existing,
            request_id=request_id(),
        )
        return Experiment.of(self._transport.call(self._stub.CreateExperiment, request))

    def get(self, name: str) -> Experiment:
        """Returns one experiment, also a deleted one. Raises NotFound."""
        request = pb.GetExperimentRequest(name=full("experiments", name))
        return Experiment.of(self._transport.call(self._stub.GetExperiment, request))

    def lookup(self, display_name: str) -> Experiment:
        """Returns the active experiment of a display name. Raises NotFound."""
        request = pb.LookupExperimentRequest(display_name=display_name)
        return Experiment.of(self._transport.call(self._stub.LookupExperiment, request))

    def find(self, text: str) -> Experiment:
        """Returns one experiment by name ("experiments/3"), number ("3") or else display name. Raises NotFound."""
        return self.get(text) if _is_name(text) else self.lookup(text)

    def name_of(self, text: str) -> str:
        """Returns "experiments/3" for that, for "3" and for a display name. Raises NotFound for one that is not there."""
        return full("experiments", text) if _is_name(text) else self.lookup(text).name

    def search(
        self, filter: str = "", *, order_by: str = "", view: str = "active", limit: int | None = None
    ) -> Listing[Experiment]:
        """Lists experiments; without `order_by`, newest first.

        filter    over `name`, `creation_time`, `last_update_time` and `tags.KEY`, such as "name LIKE 'late%'"
        order_by  some of `name`, `creation_time`, `last_update_time`, `experiment_id`, each with " asc" or " desc"
        view      "active", "deleted" or "all"

        Raises InvalidArgument (FILTER_INVALID) that shows the place.
        """
        request = pb.ListExperimentsRequest(filter=filter, order_by=order_by, view=view_number(view))
        pages = self._transport.pages(self._stub.ListExperiments, request, "experiments", limit)
        return listing(Experiment, pages)

    def rename(self, experiment: str, display_name: str, *, etag: str = "") -> Experiment:
        """Gives another display name. Raises AlreadyExists when it is taken, Aborted when `etag` is an old one."""
        asked = pb.Experiment(name=self.name_of(experiment), display_name=display_name, etag=etag)
        return self._update(asked, "display_name")

    def set_tags(self, experiment: str, tags: Mapping[str, str | None]) -> Experiment:
        """Sets the tags that are named and leaves the others; a tag with None is removed."""
        there = texts({key: value for key, value in tags.items() if value is not None})
        asked = pb.Experiment(name=self.name_of(experiment), tags=there)
        return self._update(asked, *(f"tags.{key}" for key in tags))

    def delete(self, experiment: str) -> Experiment:
        """Deletes an experiment with its runs, softly; its display name is free at once."""
        request = pb.DeleteExperimentRequest(name=self.name_of(experiment), request_id=request_id())
        return Experiment.of(self._transport.call(self._stub.DeleteExperiment, request))

    def restore(self, experiment: str) -> Experiment:
        """Brings a deleted experiment back with the runs that were deleted with it, by number or name.

        Raises AlreadyExists when another took its display name.
        """
        request = pb.UndeleteExperimentRequest(name=full("experiments", experiment), request_id=request_id())
        return Experiment.of(self._transport.call(self._stub.UndeleteExperiment, request))

    def purge(self, experiment: str) -> None:
        """Deletes a deleted experiment for good, by number or name, with its runs, logged models and artifacts.

        Raises FailedPrecondition (NOT_DELETED) for an active one.
        """
        request = pb.PurgeExperimentRequest(name=full("experiments", experiment), request_id=request_id())
        self._transport.call(self._stub.PurgeExperiment, request, bulk=True)

    def _update(self, asked: pb.Experiment, *paths: str) -> Experiment:
        request = pb.UpdateExperimentRequest(
            experiment=asked, update_mask=FieldMask(paths=paths), request_id=request_id()
        )
        return Experiment.of(self._transport.call(self._stub.UpdateExperiment, request))


def _is_name(text: str) -> bool:
    return text.startswith("experiments/") or (text.isascii() and text.isdecimal())
