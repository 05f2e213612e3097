"""Our contracts with their comments, flattened to what the tests ask about."""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from fivefold.annotations.v1 import annotations_pb2  # its options are parsed only where they are known

# Numbers of the fields in descriptor.proto that paths of comments are made of.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED, NESTED_ENUMS, VALUES, METHODS = 2, 3, 4, 2, 2


@dataclass(frozen=True)
class Rpc:
    """One method of one service."""

    package: str
    service: str
    method: MethodDescriptorProto
    doc: str

    @property
    def name(self) -> str:
        return f"{self.package}.{self.service}.{self.method.name}"

    @property
    def policy(self) -> annotations_pb2.Policy:
        return self.method.options.Extensions[annotations_pb2.policy]


@dataclass(frozen=True)
class Element:
    """A message, field, enum or enum value and its comment."""

    kind: str
    name: str
    doc: str


class Contracts:
    """Reads a FileDescriptorSet made with source positions."""

    def __init__(self, descriptors: bytes) -> None:
        every = FileDescriptorSet.FromString(descriptors).file
        self.files = [file for file in every if file.package.startswith("fivefold.")]

    def rpcs(self) -> list[Rpc]:
        return [
            Rpc(file.package, service.name, method, docs.get((SERVICES, i, METHODS, j), ""))
            for file in self.files
            for docs in [_comments(file)]
            for i, service in enumerate(file.service)
            for j, method in enumerate(service.method)
        ]

    def services(self) -> set[str]:
        return {f"{rpc.package}.{rpc.service}" for rpc in self.rpcs()}

    def messages(self) -> dict[str, DescriptorProto]:
        """Every message by its full name with a leading dot, as methods and fields refer to it."""
        return {f".{name}": message for file in self.files for name, message, _ in _messages(file)}

    def elements(self) -> Iterator[Element]:
        """Every message, field, enum and enum value."""
        for file in self.files:
            docs = _comments(file)
            for i, enum in enumerate(file.enum_type):
                yield from _enum(f"{file.package}.{enum.name}", enum, (ENUMS, i), docs)
            for name, message, path in _messages(file):
                yield Element("message", name, docs.get(path, ""))
                for i, field in enumerate(message.field):
                    yield Element("field", f"{name}.{field.name}", docs.get((*path, FIELDS, i), ""))
                for i, enum in enumerate(message.enum_type):
                    yield from _enum(f"{name}.{enum.name}", enum, (*path, NESTED_ENUMS, i), docs)

    def reasons(self) -> set[str]:
        """The values of Reason as they travel: without prefix, without UNSPECIFIED."""
        (reason,) = (enum for file in self.files for enum in file.enum_type if enum.name == "Reason")
        return {value.name.removeprefix("REASON_") for value in reason.value if value.number}


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {tuple(place.path): place.leading_comments.strip() for place in file.source_code_info.location}


def _messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto, tuple[int, ...]]]:
    waiting = [(f"{file.package}.{each.name}", each, (MESSAGES, i)) for i, each in enumerate(file.message_type)]
    while waiting:
        name, message, path = waiting.pop()
        if not message.options.map_entry:
            yield name, message, path
            waiting += [(f"{name}.{each.name}", each, (*path, NESTED, i)) for i, each in enumerate(message.nested_type)]


def _enum(
    name: str, enum: EnumDescriptorProto, path: tuple[int, ...], docs: dict[tuple[int, ...], str]
) -> Iterator[Element]:
    yield Element("enum", name, docs.get(path, ""))
    for i, value in enumerate(enum.value):
        yield Element("value", f"{name}.{value.name}", docs.get((*path, VALUES, i), ""))
