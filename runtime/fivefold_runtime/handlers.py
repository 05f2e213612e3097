"""Everything that happens around a servicer's method, composed once per method from its descriptor.

In order: deadline, identity, parsing, validation, policy, the method, serialising, the log line and metrics. Errors are
mapped here and nowhere else, for streams while they are iterated. Messages are parsed and serialised here, so that no
text of grpcio's own reaches a client.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from fivefold.annotations.v1 import annotations_pb2
from fivefold_runtime import calls, faults
from fivefold_runtime.calls import Call
from fivefold_runtime.errors import (
    FivefoldError,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unimplemented,
)
from fivefold_runtime.identity import Verifier
from fivefold_runtime.metrics import Metrics
from fivefold_runtime.mutation import answered
from fivefold_runtime.policy import Authorizer, check_of, policy_of
from fivefold_runtime.pools import BoundedPool, run_on
from fivefold_runtime.principal import ANONYMOUS, LOCAL, Principal
from fivefold_runtime.settings import StartError
from fivefold_runtime.sql import Database
from fivefold_runtime.tracing import follow
from fivefold_runtime.validation import validate

log = logging.getLogger("fivefold.calls")

_NO_DEADLINE = 10 * 365 * 86_400.0  # seconds; grpcio gives a far-off time when the caller set none


class MessageMalformed(InvalidArgument):
    """The bytes are no message of the method's type."""

    reason = "MESSAGE_MALFORMED"


class TooManyCalls(ResourceExhausted):
    """More calls are open than this server takes."""

    reason = "TOO_MANY_CALLS"


@dataclass(frozen=True, slots=True)
class Around:
    """What the calls of one server share.

    verifier  None while authentication is off
    draining  set from SIGTERM on
    """

    verifier: Verifier | None
    authorizer: Authorizer | None
    metrics: Metrics
    unary: BoundedPool
    streams: BoundedPool
    express: BoundedPool  # refusals and health: never waits for the others
    draining: threading.Event


class Handlers(grpc.GenericRpcHandler):
    """Gives grpcio the handler of each method of one service; refuses when the pool that would run it is full."""

    def __init__(self, served_name: str, contract: ServiceDescriptor, servicer: object, around: Around) -> None:
        """Raises StartError for a method without a policy or an implementation.

        served_name  the name on the wire; differs from the contract's for inference.GRPCInferenceService
        """
        self._around = around
        self._handlers = {
            f"/{served_name}/{method.name}": _handler(served_name, method, servicer, around)
            for method in contract.methods
        }
        self._refusals = {path: _refusal(path, handler, around) for path, handler in self._handlers.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        found = self._handlers.get(handler_call_details.method)
        if found is None:
            return None
        pool = self._around.streams if found.request_streaming or found.response_streaming else self._around.unary
        return self._refusals[handler_call_details.method] if pool.full else found


class _Method:
    """One method and what surrounds it."""

    def __init__(self, served_name: str, descriptor: MethodDescriptor, servicer: object, around: Around) -> None:
        self.path = f"/{served_name}/{descriptor.name}"
        self.around = around
        if not hasattr(servicer, descriptor.name):
            raise StartError(f"{descriptor.full_name} has no implementation in {type(servicer).__name__}.")
        self.behaviour: Callable[..., Any] = getattr(servicer, descriptor.name)
        self.parse = message_factory.GetMessageClass(descriptor.input_type).FromString
        self.public = policy_of(descriptor).access == annotations_pb2.ACCESS_PUBLIC
        self.permit = check_of(descriptor, around.authorizer)
        database = getattr(servicer, "database", None)
        repeatable = "request_id" in descriptor.input_type.fields_by_name
        self.answers = database if repeatable and isinstance(database, Database) else None
        labels = (served_name, descriptor.name)
        self.running = around.metrics.running.labels(*labels)
        self.seconds = around.metrics.seconds.labels(*labels)
        self.handled = {code: around.metrics.handled.labels(*labels, code.name) for code in grpc.StatusCode}

    def begin(self, context: grpc.ServicerContext) -> Call:
        """Makes the call the running one; it is not authenticated yet."""
        remaining = context.time_remaining()
        endless = remaining is None or remaining > _NO_DEADLINE
        deadline = float("inf") if endless else time.monotonic() + remaining
        call = Call(self.path, ANONYMOUS, deadline, self.around.draining, context)
        calls.current.set(call)
        self.running.inc()
        return call

    def admit(self, call: Call, context: grpc.ServicerContext) -> None:
        """Checks the deadline and who calls. Raises their errors."""
        metadata: Mapping[str, Any] = dict(context.invocation_metadata() or ())
        call.traceparent, call.notes = follow(metadata)
        calls.check_deadline()
        call.principal = self._principal(metadata)

    def _principal(self, metadata: Mapping[str, Any]) -> Principal:
        if self.around.verifier is None:
            return LOCAL
        if self.public and "authorization" not in metadata:
            return ANONYMOUS
        return self.around.verifier.principal(metadata)

    def request(self, raw: bytes) -> Message:
        """Parses and validates one message. Raises InvalidArgument."""
        try:
            message = self.parse(raw)
        except DecodeError:
            raise MessageMalformed("the request's bytes are no message of this method's type") from None
        validate(message)
        return message

    def requests(self, raw: Iterator[bytes]) -> Iterator[Message]:
        """Parses and validates a client's stream; its first message carries the resource for the policy."""
        permit = self.permit
        for one in raw:
            message = self.request(one)
            if permit is not None:
                permit(message)
                permit = None
            yield message

    def answer(self, request: Message, context: grpc.ServicerContext) -> Message:
        """Answers one request. One sent again has its first answer even when that took the resource or the right away."""
        if self.permit is not None:
            try:
                self.permit(request)
            except (NotFound, PermissionDenied):
                first = answered(self.answers, request) if self.answers is not None else None
                if first is None:
                    raise
                return first
        answer: Message = self.behaviour(request, context)
        return answer

    def failed(self, call: Call, started: float, error: BaseException) -> FivefoldError:
        """Ends a call that raised, and returns the error as it goes to the client."""
        sent = _sendable(error)
        call.notes["reason"] = sent.reason
        self.end(call, started, sent.code, error if isinstance(sent, Internal) else None)
        return sent

    def end(self, call: Call, started: float, code: grpc.StatusCode, defect: BaseException | None = None) -> None:
        """Writes the log line and the metrics of a call. Only a defect is logged with its traceback."""
        seconds = time.monotonic() - started
        self.running.dec()
        self.seconds.observe(seconds)
        self.handled[code].inc()
        fields = {
            "method": self.path,
            "code": code.name,
            "ms": round(seconds * 1000, 3),
            "subject": call.principal.subject,
        }
        level = logging.INFO if defect is None else logging.ERROR
        log.log(level, "call", extra=fields | call.notes, exc_info=defect)


def _handler(served_name: str, descriptor: MethodDescriptor, servicer: object, around: Around) -> grpc.RpcMethodHandler:
    method = _Method(served_name, descriptor, servicer, around)
    streaming = descriptor.client_streaming or descriptor.server_streaming
    behaviour = (
        _streamed(method, descriptor.client_streaming)
        if descriptor.server_streaming
        else _single(method, descriptor.client_streaming)
    )
    run_on(around.streams if streaming else around.unary, behaviour)
    return _KINDS[descriptor.client_streaming, descriptor.server_streaming](behaviour)


_KINDS: dict[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def _single(method: _Method, client_streams: bool) -> Callable[[Any, grpc.ServicerContext], bytes]:
    """A method with one answer."""

    def behaviour(raw: Any, context: grpc.ServicerContext) -> bytes:
        started = time.monotonic()
        call = method.begin(context)
        try:
            method.admit(call, context)
            answer = (
                method.behaviour(method.requests(raw), context)
                if client_streams
                else method.answer(method.request(raw), context)
            ).SerializeToString()
        except BaseException as error:
            _send(method.failed(call, started, error), context)
        method.end(call, started, grpc.StatusCode.OK)
        return answer

    return behaviour


def _streamed(method: _Method, client_streams: bool) -> Callable[[Any, grpc.ServicerContext], Iterator[bytes]]:
    """A method with a stream of answers. Nothing runs before grpcio iterates, so everything is mapped in one place."""

    def behaviour(raw: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
        started = time.monotonic()
        call = method.begin(context)
        sent = 0
        try:
            method.admit(call, context)
            request = method.requests(raw) if client_streams else _permitted(method, raw)
            for answer in method.behaviour(request, context):
                yield answer.SerializeToString()
                sent += 1
        except GeneratorExit:  # The client went away and grpcio dropped the stream.
            call.notes["sent"] = sent
            method.end(call, started, grpc.StatusCode.CANCELLED)
            raise
        except BaseException as error:
            call.notes["sent"] = sent
            _send(method.failed(call, started, error), context)
        call.notes["sent"] = sent
        method.end(call, started, grpc.StatusCode.OK)

    return behaviour


def _permitted(method: _Method, raw: bytes) -> Message:
    request = method.request(raw)
    if method.permit is not None:
        method.permit(request)
    return request


def _refusal(path: str, found: grpc.RpcMethodHandler, around: Around) -> grpc.RpcMethodHandler:
    """The handler of a method whose pool is full: answers at once, on a pool that never waits."""
    service, method = path[1:].split("/")
    refused = around.metrics.handled.labels(service, method, TooManyCalls.code.name)

    def behaviour(raw: Any, context: grpc.ServicerContext) -> Any:
        refused.inc()
        _send(TooManyCalls("the server has as many calls open as it takes; try again", retry_after=0.5), context)

    run_on(around.express, behaviour)
    return _KINDS[bool(found.request_streaming), bool(found.response_streaming)](behaviour)


def _send(error: FivefoldError, context: grpc.ServicerContext) -> NoReturn:
    """Ends the call with the error's status. Raises what grpcio takes as the sign for that."""
    context.set_trailing_metadata(error.trailers())
    context.abort(error.code, error.status().message)
    raise AssertionError("unreachable")


def _sendable(error: BaseException) -> FivefoldError:
    """Returns the error that the client may see."""
    if isinstance(error, FivefoldError):
        return error
    typed = faults.typed_of(error)
    if typed is not None:
        return typed
    if isinstance(error, NotImplementedError):
        return Unimplemented("this server does not have this method")
    if isinstance(error, grpc.RpcError) and type(error) is grpc.RpcError:
        return calls.gone()  # grpcio's sign, while a client's stream is read, that the client cancelled
    return Internal("internal error")
