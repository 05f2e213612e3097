"""Carries what a run logs to the service in the background, exactly once, for as long as it takes.

Points go through the stream of LogMetrics in numbered parcels; the service acknowledges numbers and remembers the last
one with the stream's name, so a parcel whose acknowledgement was lost is not written twice. Where streams are refused
(an older service, or one that has as many as it takes), points that were never in a stream go by LogBatch, whose
request_id does the same for a single call. Batches of params and tags that found no service wait here as well.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from fivefold.sdk.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FivefoldError,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    Unimplemented,
)
from fivefold.sdk.tracking.metricbuffer import MetricBuffer
from fivefold.sdk.tracking.parcels import Parcel, Parcels
from fivefold.sdk.transport import Transport, request_id
from fivefold.tracking.v1 import tracking_pb2 as pb
from fivefold.tracking.v1.tracking_pb2_grpc import TrackingServiceStub

log = logging.getLogger("fivefold.tracking")

CAPACITY = 1_000_000  # points that wait, 24 MB
_PARCEL_POINTS = 10_000
_PARCEL_METRICS = 1000
_UNDER_WAY = 8  # parcels sent and not acknowledged
_BATCH_POINTS = 1000  # of one LogBatch
_LINGER_SECONDS = 0.05  # how long a point waits for others to travel with
_IDLE_SECONDS = 20.0  # after which a stream that has nothing to send is given back
_STREAM_AGAIN_SECONDS = 10.0  # after which a service that refused a stream is asked again
_LONGEST_PAUSE_SECONDS = 5.0
_HOPELESS = frozenset({"RUN_DELETED", "RUN_ENDED", "RESOURCE_NOT_FOUND", "PERMISSION_DENIED"})

_ALL: weakref.WeakSet[Delivery] = weakref.WeakSet()


@dataclass(slots=True)
class _Session:
    """One opening of the stream. `sent`: greatest number sent in it, None until the service said where it stands."""

    sent: int | None = None
    over: bool = False


class Delivery:
    """The background of one run. Safe for use by many threads. In the child of a fork it is empty and refuses.

    dropped  points that gave way because `capacity` was reached
    refused  points that the service does not take
    """

    def __init__(self, transport: Transport, run: str, capacity: int = CAPACITY) -> None:
        self._transport = transport
        self._run = run
        self._buffer = MetricBuffer(capacity)
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        """Starts with nothing; in the child of a fork too, where locks and threads of the parent mean nothing."""
        self._changed = threading.Condition()
        self._parcels = Parcels()
        self._batches: deque[pb.LogBatchRequest] = deque()
        self._stream = uuid.uuid4().hex
        self._thread: threading.Thread | None = None
        self._hurries = 0
        self._over = False
        self._hopeless = ""  # why nothing can be logged any more
        self._forked = False
        self._hungry = False
        self._careful = False  # one parcel at a time, to find the one that is refused
        self._streams_from = 0.0  # monotonic time from which a stream is asked for; inf: never
        self._warned: set[str] = set()
        self.failure: FivefoldError | None = None  # of the last attempt, None when it went well
        self.refused = 0

    def after_fork(self) -> None:
        """Forgets what the parent sends, in the child, and takes nothing: gRPC would abort a child that used it."""
        self._buffer = MetricBuffer(self._buffer.capacity)
        self._begin()
        self._forked = True

    @property
    def dropped(self) -> int:
        return self._buffer.dropped

    @property
    def waiting(self) -> int:
        """Points and batches that are not known to be on the service's disk."""
        with self._changed:
            return self._waiting()

    def add(self, points: list[tuple[str, float]], step: int, time_us: int) -> None:
        """Takes points of one step in and returns at once."""
        if self._forked:
            return self._refuse_in_child(len(points))
        with self._changed:
            taken = not self._hopeless and not self._over
            if taken:
                for key, value in points:
                    self._buffer.add(key, value, step, time_us)
                self._wake()
            else:
                self.refused += len(points)
        if not taken:
            return self._warn("hopeless", "%s has ended: points that are logged now are refused", self._run)
        if self._buffer.dropped:
            return self._warn(
                "dropped",
                "%s: the buffer of %d points is full and its oldest points are dropped, those of the metrics with the "
                "most points first: the service is slower than what is logged, or away",
                self._run,
                self._buffer.capacity,
            )
        return None

    def call(self, batch: pb.LogBatchRequest) -> None:
        """Logs params and tags at once; where the service is away, in the background when it is back.

        batch  with its request_id

        Raises FivefoldError as LogBatch does.
        """
        if self._forked:
            return self._refuse_in_child(len(batch.params) + len(batch.tags))
        if self.failure is None and not self._batches:
            try:
                self._transport.call(self._transport.stub(TrackingServiceStub).LogBatch, batch)
                return None
            except (Unavailable, DeadlineExceeded) as error:
                if self._over:
                    raise
                log.warning("%s: params and tags wait and are logged later, because: %s", self._run, error.message)
        with self._changed:
            self._batches.append(batch)
            self._wake()
        return None

    def flush(self, timeout: float) -> bool:
        """Waits until everything that was logged before is on the service's disk, at most `timeout` seconds.

        Returns whether it is there; False too when the service refused some or a full buffer dropped some.
        """
        with self._changed:
            self._hurries += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: not self._waiting() or self._over, timeout)
                return not self._waiting() and not self.refused and not self._buffer.dropped
            finally:
                self._hurries -= 1

    def stop(self) -> None:
        """Ends the background; what still waits is given up."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _refuse_in_child(self, values: int) -> None:
        self.refused += values
        self._warn(
            "forked",
            "%s: nothing is logged from the child of a fork, which cannot use gRPC: start it by spawn, with a run of its "
            "own nested in this one, or hand the values to the parent",
            self._run,
        )

    def _waiting(self) -> int:
        return self._buffer.points + self._parcels.points + len(self._batches)

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"fivefold {self._run[:13]}", daemon=True)
            self._thread.start()
        elif self._hungry:
            self._changed.notify_all()

    def _fed(self, ready: bool) -> bool:
        """Notes whether the background waits for something to send: only then it is woken up, as that takes time."""
        self._hungry = not ready
        return ready

    def _work(self) -> None:
        attempts = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._fed(bool(self._over or self._waiting())))
                if self._over:
                    return
            try:
                self._send_batches()
                if self._parcels or time.monotonic() >= self._streams_from:
                    self._converse()
                else:
                    self._make_batch()
                attempts, self.failure = 0, None
            except FivefoldError as error:
                attempts = 0 if self._settled(error) else attempts + 1
                if attempts:
                    self._pause(error, min(0.1 * 2**attempts, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1))
            except Exception:
                log.exception("%s: logging in the background ends by a defect", self._run)
                self._give_up("a defect of the client")

    def _pause(self, error: FivefoldError, seconds: float) -> None:
        if self.failure is None:
            log.warning("%s: what is logged waits and is tried again, because: %s", self._run, error.message)
        self.failure = error
        with self._changed:
            self._changed.wait_for(lambda: self._over, seconds)

    def _settled(self, error: FivefoldError) -> bool:
        """Decides what follows from an error. Returns whether to go on at once."""
        if error.reason in _HOPELESS:
            self._give_up(error.message)
        elif isinstance(error, InvalidArgument) and self._parcels and not self._careful:
            self._careful = True
        elif isinstance(error, InvalidArgument) and self._parcels:
            self._part_or_refuse(error)
        else:
            return False
        return True

    def _part_or_refuse(self, error: FivefoldError) -> None:
        """Finds what the service does not take: the first parcel, as they went one at a time; of its metrics, each."""
        with self._changed:
            refused = self._parcels.refuse_first()
            if refused is None:
                return
            self.refused += refused.points
            self._changed.notify_all()
        self._warn("refused", "%s: the service does not take %s: %s", self._run, *refused.series, error.message)

    def _give_up(self, why: str) -> None:
        with self._changed:
            lost = self._buffer.clear() + self._parcels.clear()
            lost += sum(len(batch.metrics) for batch in self._batches)
            self._batches.clear()
            self.refused += lost
            self._hopeless = why
            self._changed.notify_all()
        self._warn("hopeless", "%s: nothing more can be logged (%d points are lost so far): %s", self._run, lost, why)

    def _warn(self, kind: str, text: str, *arguments: object) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning(text, *arguments)

    # By stream: gRPC draws from _outgoing in a thread of its own; the answers are read in this one.

    def _converse(self) -> None:
        session = _Session()
        method = self._transport.stub(TrackingServiceStub).LogMetrics
        try:
            for answer in self._transport.exchange(method, self._outgoing(session)):
                self._acknowledged(session, answer.acknowledged)
        except (Unimplemented, ResourceExhausted) as error:
            if self._parcels:  # They may be written, which only a stream of their name can tell.
                raise
            older = isinstance(error, Unimplemented)
            self._streams_from = math.inf if older else time.monotonic() + _STREAM_AGAIN_SECONDS
        except RuntimeError:  # A stream needs a thread, and Python starts none while it ends; single calls need none.
            if self._parcels:
                raise
            self._streams_from = math.inf
        finally:
            with self._changed:
                session.over = True
                self._changed.notify_all()

    def _acknowledged(self, session: _Session, number: int) -> None:
        with self._changed:
            self._parcels.acknowledge(number)
            if session.sent is None:
                self._parcels.follow(number)
                session.sent = number
            if not self._parcels:
                self._careful = False
            self.failure = None
            self._changed.notify_all()

    def _outgoing(self, session: _Session) -> Iterator[pb.LogMetricsRequest]:
        yield pb.LogMetricsRequest(header=pb.LogMetricsRequest.Header(run=self._run, stream=self._stream))
        while (parcel := self._following(session)) is not None:
            yield parcel.message()

    def _following(self, session: _Session) -> Parcel | None:
        """Waits for the next parcel to send; None when the session is over, nothing came for a while, or a
        single call is to be made."""
        with self._changed:
            self._changed.wait_for(lambda: session.sent is not None or session.over)
            self._changed.wait_for(
                lambda: self._fed(self._sendable(session) or session.over or self._over or bool(self._batches)),
                _IDLE_SECONDS,
            )
            if session.over or self._over or self._batches or session.sent is None or not self._sendable(session):
                return None
            parcel = self._parcels.after(session.sent)
            if parcel is None:
                if self._buffer.points < _PARCEL_POINTS:
                    self._changed.wait_for(lambda: session.over or self._over or self._hurries, _LINGER_SECONDS)
                parcel = self._parcels.add(self._buffer.take(_PARCEL_POINTS, _PARCEL_METRICS))
            session.sent = parcel.sequence
            return parcel

    def _sendable(self, session: _Session) -> bool:
        if session.sent is None:
            return False
        if self._parcels.under_way(session.sent) >= (1 if self._careful else _UNDER_WAY):
            return False
        return bool(self._buffer.points) or self._parcels.after(session.sent) is not None

    # By single calls.

    def _make_batch(self) -> None:
        batch = pb.LogBatchRequest(run=self._run, request_id=request_id())
        with self._changed:
            for key, column in self._buffer.take(_BATCH_POINTS, _BATCH_POINTS).items():
                for value, step, time_us in zip(column.values, column.steps, column.times_us, strict=True):
                    point = batch.metrics.add(key=key, value=value, step=step)
                    point.time.FromMicroseconds(time_us)
            self._batches.append(batch)

    def _send_batches(self) -> None:
        while self._batches:
            batch = self._batches[0]
            try:
                self._transport.call(self._transport.stub(TrackingServiceStub).LogBatch, batch)
            except (InvalidArgument, FailedPrecondition) as error:
                if error.reason in _HOPELESS:
                    raise
                self.refused += len(batch.metrics)
                self._warn(f"batch {error.reason}", "%s: a batch was refused: %s", self._run, error.message)
            with self._changed:
                self._batches.popleft()
                self._changed.notify_all()


def _forget_in_child() -> None:
    for delivery in list(_ALL):
        delivery.after_fork()


os.register_at_fork(after_in_child=_forget_in_child)
