"""Every RPC is documented, guarded, limited and implemented: the descriptors are walked, so that none is forgotten."""

import ast

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from fivefold.annotations.v1 import annotations_pb2
from tests.architecture.contracts import Contracts
from tests.architecture.tree import SERVICES, modules

OWNERS = {
    **{f"fivefold.{service}.v1": f"fivefold_{service}" for service in SERVICES},
    "fivefold.inference.v1": "fivefold_serving",
    "fivefold.permissions.v1": "fivefold_runtime",
}
ON_A_RESOURCE = {annotations_pb2.ACCESS_READ, annotations_pb2.ACCESS_EDIT, annotations_pb2.ACCESS_MANAGE}
READS = (
    "Get",
    "List",
    "Lookup",
    "Search",
    "Read",
    "Watch",
    "Download",
    "Predict",
    "Profile",
    "Check",
    "Verify",
    "Sample",
    "Compare",
    "Export",
)
WITHOUT_REQUEST_ID = {
    "fivefold.tracking.v1.TrackingService.UploadArtifact": "its header's digest makes a second upload the same upload",
    "fivefold.tracking.v1.TrackingService.LogMetrics": "its messages' sequence numbers say what is on disk already",
}


def test_everything_in_the_contracts_has_a_comment(contracts: Contracts) -> None:
    silent = [f"{element.kind} {element.name}" for element in contracts.elements() if not element.doc]
    silent += [f"rpc {rpc.name}" for rpc in contracts.rpcs() if not rpc.doc]
    assert not silent, f"no comment above: {silent}"


def test_every_rpc_says_who_may_call_it(contracts: Contracts) -> None:
    open_ = [rpc.name for rpc in contracts.rpcs() if rpc.policy.access == annotations_pb2.ACCESS_UNSPECIFIED]
    assert not open_, f"no option (fivefold.annotations.v1.policy) on: {open_}"


def test_a_policy_on_a_resource_names_a_text_field_of_the_request(contracts: Contracts) -> None:
    messages = contracts.messages()
    wrong = {
        rpc.name: rpc.policy.resource
        for rpc in contracts.rpcs()
        if rpc.policy.access in ON_A_RESOURCE and not _is_text(messages, rpc.method.input_type, rpc.policy.resource)
    }
    assert not wrong, f"policy.resource is no path to a string field of the request: {wrong}"


def test_every_mutation_takes_a_request_id(contracts: Contracts) -> None:
    messages = contracts.messages()
    without = [
        rpc.name
        for rpc in contracts.rpcs()
        if not rpc.method.name.startswith(READS)
        and rpc.package != "fivefold.inference.v1"  # the Open Inference Protocol's messages are not ours to extend
        and rpc.name not in WITHOUT_REQUEST_ID
        and not _carries_request_id(messages, rpc.method.input_type)
    ]
    assert not without, (
        f"neither the request nor its header has request_id, and the name is no read's {READS}: {without}"
    )


def test_every_text_of_a_request_has_a_limit(contracts: Contracts) -> None:
    messages = contracts.messages()
    endless = [
        f"{rpc.method.input_type.lstrip('.')}.{field.name}"
        for rpc in contracts.rpcs()
        for field in messages[rpc.method.input_type].field
        if field.type == FieldDescriptorProto.TYPE_STRING
        and not field.options.Extensions[annotations_pb2.limits].max_bytes
    ]
    assert not endless, f"no (fivefold.annotations.v1.limits).max_bytes on: {endless}"


def test_every_rpc_has_an_implementation(contracts: Contracts) -> None:
    for service in sorted(contracts.services()):
        package = service.rpartition(".")[0]
        assert package in OWNERS, f"{service}: tests/architecture does not know which distribution serves it"
        wanted = {rpc.method.name for rpc in contracts.rpcs() if f"{rpc.package}.{rpc.service}" == service}
        best = max(_methods_by_class(OWNERS[package]).values(), key=lambda has: len(wanted & has), default=set())
        assert wanted <= best, f"{OWNERS[package]} has no class that implements {sorted(wanted - best)} of {service}"


def _methods_by_class(package: str) -> dict[str, set[str]]:
    """Names of the methods of each class, those of its bases in the same package included."""
    own: dict[str, set[str]] = {}
    bases: dict[str, list[str]] = {}
    for module in modules(package):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                own[node.name] = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
                bases[node.name] = [ast.unparse(base).rpartition(".")[2] for base in node.bases]

    def methods(name: str, above: tuple[str, ...] = ()) -> set[str]:
        if name not in own or name in above:
            return set()
        return own[name].union(*(methods(base, (*above, name)) for base in bases[name]))

    return {name: methods(name) for name in own}


def _is_text(messages: dict[str, DescriptorProto], message: str, path: str) -> bool:
    step, _, rest = path.partition(".")
    for field in messages[message].field:
        if field.name == step:
            return _is_text(messages, field.type_name, rest) if rest else field.type == FieldDescriptorProto.TYPE_STRING
    return False


def _carries_request_id(messages: dict[str, DescriptorProto], message: str) -> bool:
    """Whether the message has the field, or one of its parts has, as the header of a client's stream."""
    fields = messages[message].field
    parts = [messages[field.type_name].field for field in fields if field.type_name in messages]
    return any(field.name == "request_id" for group in (fields, *parts) for field in group)
