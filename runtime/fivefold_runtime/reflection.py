"""Reflection (grpc.reflection.v1alpha) for tools such as grpcurl, on the pool of streams. Off in production.

A service that is served under another name than its contract's (inference.GRPCInferenceService) is described under the
name on the wire, as its tools expect.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from fivefold_runtime import pools

_METHOD = "ServerReflectionInfo"


def handler(services: Iterable[tuple[str, str]], pool: ThreadPoolExecutor) -> grpc.GenericRpcHandler:
    """Returns what answers reflection for (served name, contract name) pairs."""
    described = descriptor_pool.DescriptorPool()
    names = [reflection.SERVICE_NAME]
    _add(described, reflection_pb2.DESCRIPTOR)
    for served, contract in services:
        file = descriptor_pool.Default().FindServiceByName(contract).file
        _add(described, file)
        if served != contract:
            described.AddSerializedFile(_renamed(file, served.rpartition(".")[0]).SerializeToString())
        names.append(served)
    servicer = reflection.ReflectionServicer(names, described)

    def behaviour(requests: Any, context: grpc.ServicerContext) -> Any:
        return servicer.ServerReflectionInfo(requests, context)

    pools.run_on(pool, behaviour)
    method = grpc.stream_stream_rpc_method_handler(
        behaviour,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(reflection.SERVICE_NAME, {_METHOD: method})


def _add(pool: descriptor_pool.DescriptorPool, file: Any) -> None:
    """Adds a file after those it imports, each once."""
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        for imported in file.dependencies:
            _add(pool, imported)
        pool.AddSerializedFile(file.serialized_pb)


def _renamed(file: FileDescriptor, package: str) -> descriptor_pb2.FileDescriptorProto:
    """Returns the file as if its package had another name."""
    copy = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
    old, new = f".{copy.package}.", f".{package}."
    copy.name, copy.package = f"{package}/{copy.name}", package

    def rename(message: descriptor_pb2.DescriptorProto) -> None:
        for field in message.field:
            if field.type_name.startswith(old):
                field.type_name = new + field.type_name[len(old) :]
        for nested in message.nested_type:
            rename(nested)

    for message in copy.message_type:
        rename(message)
    for service in copy.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old, new, 1)
            method.output_type = method.output_type.replace(old, new, 1)
    return copy
