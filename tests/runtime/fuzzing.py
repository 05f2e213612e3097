"""Requests with anything in them, made from a service's descriptors, and what every method must do with each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import grpc
from google.api import field_behavior_pb2
from google.protobuf import message_factory
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fivefold_runtime import errors
from tests.runtime.asserting import LEAKS

FUZZING = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

_NUMBERS = st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 2, 3, 4])
_LARGE = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2])
_DEEPEST = 4  # messages within messages


def methods_of(service: Any) -> dict[str, Any]:
    """Returns the methods of a service by name, those that take away what others are about after them."""
    methods = {method.name: method for method in service.methods}
    return dict(sorted(methods.items(), key=lambda item: item[0].startswith(("Delete", "Purge"))))


class Requests:
    """Makes messages of any type."""

    def __init__(self, names: Sequence[str], fields: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
        """names, fields  what often stands in texts, and in those of a field, so that requests pass the first checks"""
        self._texts = st.sampled_from(names) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        self._of_field = {name: st.sampled_from(likely) | self._texts for name, likely in fields.items()}

    def of(self, descriptor: Any, depth: int = 0) -> st.SearchStrategy[Any]:
        """Returns the messages of a type, with any of its fields set."""
        return st.composite(lambda draw: self._message(draw, descriptor, depth))()

    def _message(self, draw: st.DrawFn, descriptor: Any, depth: int) -> Any:
        made = message_factory.GetMessageClass(descriptor)()
        for field in descriptor.fields:
            needed = field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
            if depth > _DEEPEST or not draw(st.integers(0, 19 if needed else 2)):
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                entry = field.message_type.fields_by_name["value"]
                for key in draw(st.lists(self._texts, max_size=2)):
                    getattr(made, field.name)[key] = draw(self._value(entry, depth))
            elif field.is_repeated:
                getattr(made, field.name).extend(draw(st.lists(self._value(field, depth), max_size=2)))
            elif field.message_type is not None:
                getattr(made, field.name).CopyFrom(draw(self._value(field, depth)))
            else:
                setattr(made, field.name, draw(self._value(field, depth)))
        return made

    def _value(self, field: Any, depth: int) -> st.SearchStrategy[Any]:
        kinds = type(field)
        if field.type == kinds.TYPE_MESSAGE:
            return self.of(field.message_type, depth + 1)
        if field.type == kinds.TYPE_BYTES:
            return st.binary(max_size=8)
        if field.type == kinds.TYPE_BOOL:
            return st.booleans()
        if field.type == kinds.TYPE_ENUM:
            return st.integers(-1, 12)
        if field.cpp_type == kinds.CPPTYPE_STRING:
            return self._of_field.get(field.name, self._texts)
        if field.cpp_type in (kinds.CPPTYPE_DOUBLE, kinds.CPPTYPE_FLOAT):
            return st.floats(width=64 if field.cpp_type == kinds.CPPTYPE_DOUBLE else 32)
        return _LARGE if field.cpp_type == kinds.CPPTYPE_INT64 else _NUMBERS


def check(stub: Any, method: Any, data: st.DataObject, requests: Requests, *, endless: bool = False) -> None:
    """Calls a method with any request, or any messages, and checks that it answers, or refuses with a reason.

    endless  its answers never end by themselves: it is given a moment
    """
    sent = requests.of(method.input_type)
    asked = data.draw(st.lists(sent, max_size=4) if method.client_streaming else sent)
    try:
        answer = getattr(stub, method.name)(
            iter(asked) if method.client_streaming else asked, timeout=0.05 if endless else 20
        )
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        if endless and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return
        reason, facts = errors.parse(error)
        assert reason not in ("", "INTERNAL"), error
        said = " ".join([error.details() or "", *facts.values()])
        assert not [leak for leak in LEAKS if leak in said and leak not in str(asked)], said
