"""Our own rules over the rendered YAML: what a careful operator would look for before applying it."""

import re
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from typing import Any

import pytest

from fivefold_runtime.health import LIVE
from tests.k8s.manifests import ROOT, SERVICES, Manifest, Overlay, environment

CALLS = {
    "tracking": set(),
    "features": set(),
    "registry": {"tracking"},
    "automl": {"tracking", "features", "registry"},
    "serving": {"registry", "features"},
}


def test_all_five_services_are_there(overlay: Overlay) -> None:
    assert {item["metadata"]["name"] for item in overlay.of_kind("Deployment")} == set(SERVICES)
    assert {item["metadata"]["name"] for item in overlay.of_kind("Service")} == set(SERVICES)


def test_no_pod_runs_as_root_or_with_a_token_of_the_api_server(overlay: Overlay) -> None:
    for owner, template in overlay.pods():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, owner
        assert spec["securityContext"]["runAsUser"] > 0, owner
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert spec["automountServiceAccountToken"] is False, owner
        assert spec["enableServiceLinks"] is False, owner


def test_every_container_is_confined_and_limited(overlay: Overlay) -> None:
    for owner, container in overlay.containers():
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, owner
        assert context["readOnlyRootFilesystem"] is True, owner
        assert context["capabilities"] == {"drop": ["ALL"]}, owner
        for kind in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][kind]), owner


def test_every_image_has_a_fixed_tag(overlay: Overlay) -> None:
    for owner, container in overlay.containers():
        assert re.fullmatch(r"fivefold/\w+:\d+\.\d+\.\d+", container["image"]), (owner, container["image"])


def test_every_server_is_probed_on_its_health_port(overlay: Overlay) -> None:
    for service in SERVICES:
        container = server(overlay, service)
        health = port(container, "health")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["grpc"]["port"] == health, (service, probe)


def test_a_server_that_waits_for_another_is_not_killed_and_automl_answers_without_ray(overlay: Overlay) -> None:
    for service in SERVICES:
        container = server(overlay, service)
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["grpc"]["service"] == LIVE, (service, probe)
        assert container["readinessProbe"]["grpc"].get("service", "") == (LIVE if service == "automl" else ""), service


def test_ray_is_probed_without_its_dashboard(overlay: Overlay) -> None:
    for cluster in overlay.of_kind("RayCluster"):
        head, workers = cluster["spec"]["headGroupSpec"], cluster["spec"]["workerGroupSpecs"]
        for group, parameter in [(head, "port"), *((group, "node-manager-port") for group in workers)]:
            for container in group["template"]["spec"]["containers"]:
                for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                    assert str(container[probe]["tcpSocket"]["port"]) == group["rayStartParams"][parameter], probe


def test_the_object_store_of_every_ray_node_fits_in_shared_memory(overlay: Overlay) -> None:
    automl = overlay.named("Deployment", "automl")["spec"]["template"]["spec"]
    told = environment(automl["containers"][0])
    joins = "FIVEFOLD_AUTOML_RAY_ADDRESS" in told
    limit = automl["containers"][0]["resources"]["limits"]["memory"]
    # A node that is told no size takes 30 % of its memory.
    store = 0.3 * size(limit) if joins else import_module("fivefold_automl.__main__").Config().ray_store_bytes
    nodes = [(automl, store)]
    for cluster in overlay.of_kind("RayCluster"):
        for group in [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]:
            nodes.append((group["template"]["spec"], int(group["rayStartParams"]["object-store-memory"])))
    for spec, wanted in nodes:
        mount = next(item for item in spec["containers"][0]["volumeMounts"] if item["mountPath"] == "/dev/shm")
        volume = next(item for item in spec["volumes"] if item["name"] == mount["name"])["emptyDir"]
        assert volume["medium"] == "Memory" and wanted < size(volume["sizeLimit"]), (wanted, volume)
        assert 2 * size(volume["sizeLimit"]) <= size(spec["containers"][0]["resources"]["limits"]["memory"])


def test_what_an_autoscaler_scales_has_no_number_of_replicas_of_its_own(overlay: Overlay) -> None:
    for scaler in overlay.of_kind("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert "replicas" not in overlay.named(target["kind"], target["name"])["spec"]


def test_ports_are_those_that_the_servers_are_told(overlay: Overlay) -> None:
    for service in SERVICES:
        container = server(overlay, service)
        told = environment(container)
        prefix = f"FIVEFOLD_{service.upper()}_"
        for name, setting in (("grpc", "LISTEN"), ("health", "HEALTH_LISTEN"), ("metrics", "METRICS_LISTEN")):
            assert told[prefix + setting] == f"0.0.0.0:{port(container, name)}", (service, name)
        [published] = overlay.named("Service", service)["spec"]["ports"]
        assert published["targetPort"] == "grpc" and published["port"] == port(container, "grpc"), service
        config = import_module(f"fivefold_{service}.__main__").Config
        assert port(container, "grpc") == int(config().listen.rpartition(":")[2]), service


def test_every_variable_is_a_setting_that_the_server_knows(overlay: Overlay) -> None:
    for owner, container in overlay.containers():
        service = container["image"].partition("/")[2].partition(":")[0]
        known = {field.name for field in fields(import_module(f"fivefold_{service}.__main__").Config)}
        for variable in environment(container):
            if variable.startswith("FIVEFOLD_"):
                assert variable.removeprefix(f"FIVEFOLD_{service.upper()}_").lower() in known, (owner, variable)


def test_authentication_is_on(overlay: Overlay) -> None:
    for service in SERVICES:
        assert environment(server(overlay, service))[f"FIVEFOLD_{service.upper()}_AUTH"] == "jwt", service


def test_the_token_of_every_calling_service_has_a_level_where_it_calls(overlay: Overlay) -> None:
    for caller, called in CALLS.items():
        account = overlay.named("Deployment", caller)["spec"]["template"]["spec"]["serviceAccountName"]
        for service in called:
            levels = environment(server(overlay, service))[f"FIVEFOLD_{service.upper()}_STANDING_LEVELS"]
            assert f"system:serviceaccount:fivefold:{account}=CAN_" in levels, (caller, service)


def test_no_secret_is_written_down(overlay: Overlay) -> None:
    assert not overlay.of_kind("Secret")
    assert not re.search(r"://[^/\s]*:[^/\s]*@", overlay.text), "a URL with a password"


def test_calls_follow_the_design_in_addresses_and_in_network_policies(overlay: Overlay) -> None:
    for service in SERVICES:
        told = environment(server(overlay, service))
        addresses = {
            name: told.get(f"FIVEFOLD_{service.upper()}_{name.upper()}") for name in SERVICES if name != service
        }
        assert {name for name, address in addresses.items() if address} == CALLS[service], service
        for name in CALLS[service]:
            assert addresses[name] == f"dns:///{name}:{port(server(overlay, name), 'grpc')}"
        policy = overlay.named("NetworkPolicy", service)["spec"]
        assert peers(policy["egress"], "to") & set(SERVICES) == CALLS[service], service
        callers = {caller for caller, called in CALLS.items() if service in called}
        assert peers(policy["ingress"], "from") & set(SERVICES) == callers, service


def test_labelled_clients_reach_every_service(overlay: Overlay) -> None:
    clients = {"podSelector": {"matchLabels": {"fivefold/client": "true"}}}
    policy = overlay.named("NetworkPolicy", "clients")["spec"]
    assert policy["podSelector"] == clients["podSelector"]
    [rule] = [rule for rule in policy["egress"] if "podSelector" in rule["to"][0]]
    wanted = rule["to"][0]["podSelector"]["matchLabels"]
    for service in SERVICES:
        template = overlay.named("Deployment", service)["spec"]["template"]
        assert wanted.items() <= template["metadata"]["labels"].items(), service
        assert rule["ports"][0]["port"] <= port(server(overlay, service), "grpc") <= rule["ports"][0]["endPort"], (
            service
        )
        assert clients in overlay.named("NetworkPolicy", service)["spec"]["ingress"][0]["from"], service


def test_the_gateway_routes_every_grpc_service_but_the_one_that_all_five_answer(overlay: Overlay) -> None:
    routed = {
        match["method"]["service"]: backend["name"]
        for route in overlay.of_kind("GRPCRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
        for backend in rule["backendRefs"]
    }
    declared = {"inference.GRPCInferenceService": "serving"}
    for path in (ROOT / "protos/fivefold").glob("*/v1/*.proto"):
        package = path.parts[-3]
        for name in re.findall(r"^service (\w+)", path.read_text(), re.MULTILINE):
            if package in SERVICES:
                declared[f"fivefold.{package}.v1.{name}"] = package
    assert routed == (declared if overlay.name == "production" else {})


def test_nothing_flows_by_default(overlay: Overlay) -> None:
    policy = overlay.named("NetworkPolicy", "nothing-by-default")["spec"]
    assert policy["podSelector"] == {} and set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in policy and "egress" not in policy


def test_selectors_match_the_pods_that_they_mean(overlay: Overlay) -> None:
    labels = [template["metadata"]["labels"] for _, template in overlay.pods()]
    for item in overlay.of_kind("Service"):
        assert any(item["spec"]["selector"].items() <= pod.items() for pod in labels), item["metadata"]["name"]
    for item in overlay.of_kind("PodDisruptionBudget", "Deployment"):
        wanted = item["spec"]["selector"]["matchLabels"]
        assert sum(wanted.items() <= pod.items() for pod in labels) == 1, item["metadata"]["name"]


# Made by whoever installs; k8s/README.md shows how.
BROUGHT_ALONG = {
    "embedded": set(),
    "production": {
        ("Secret", "fivefold-database"),
        ("Secret", "fivefold-redis"),
        ("Secret", "fivefold-objects"),
        ("Secret", "fivefold-registry"),
        ("Secret", "fivefold-ray"),
        ("Secret", "fivefold-gateway-tls"),
        ("GatewayClass", "fivefold"),
    },
}


def test_every_reference_resolves(overlay: Overlay) -> None:
    present = {(item["kind"], item["metadata"]["name"]) for item in overlay.objects}
    missing = set(references(overlay)) - present
    assert missing == BROUGHT_ALONG[overlay.name], missing ^ BROUGHT_ALONG[overlay.name]
    page = (ROOT / "k8s/README.md").read_text()
    assert all(
        f"create secret generic {name}" in page or f"create secret tls {name}" in page
        for kind, name in missing
        if kind == "Secret"
    )


def test_sqlite_has_one_replica_a_disk_and_no_overlap(overlay: Overlay) -> None:
    for service in SERVICES:
        spec = overlay.named("Deployment", service)["spec"]
        on_disk = any("persistentVolumeClaim" in volume for volume in spec["template"]["spec"]["volumes"])
        database = environment(server(overlay, service)).keys() & {f"FIVEFOLD_{service.upper()}_STORE_URL"}
        if overlay.name == "embedded":
            assert on_disk and not database, service
            assert spec["replicas"] == 1 and spec["strategy"]["type"] == "Recreate", service
        elif service != "serving":
            assert database and on_disk == (service == "automl"), service  # AutoML's spool


def test_ray_wants_a_token_and_holds_no_other_secret(overlay: Overlay) -> None:
    if overlay.name != "production":
        pytest.skip("the embedded overlay runs Ray inside the AutoML pod")
    for owner, container in overlay.containers():
        if owner.startswith("RayCluster/"):
            told = environment(container)
            assert told["RAY_AUTH_MODE"] == "token", owner
            secrets = {name for kind, name in found(container) if kind == "Secret"}
            assert secrets == {"fivefold-ray"}, owner


def server(overlay: Overlay, service: str) -> Manifest:
    containers = overlay.named("Deployment", service)["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == "server")


def size(quantity: str) -> int:
    """Returns the bytes of a quantity such as 512Mi."""
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


def port(container: Manifest, name: str) -> int:
    return next(item["containerPort"] for item in container["ports"] if item["name"] == name)


def peers(rules: list[Manifest], side: str) -> set[str]:
    selectors = [peer.get("podSelector", {}) for rule in rules for peer in rule.get(side, [])]
    return {selector.get("matchLabels", {}).get("app.kubernetes.io/name", "") for selector in selectors}


def references(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for item in overlay.objects:
        yield from found(item)
        if item["kind"] == "Gateway":
            yield "GatewayClass", item["spec"]["gatewayClassName"]
            for listener in item["spec"]["listeners"]:
                yield from (("Secret", reference["name"]) for reference in listener["tls"]["certificateRefs"])
        if item["kind"] == "GRPCRoute":
            yield from (("Gateway", parent["name"]) for parent in item["spec"]["parentRefs"])
            for rule in item["spec"]["rules"]:
                yield from (("Service", backend["name"]) for backend in rule["backendRefs"])
        if item["kind"] == "HorizontalPodAutoscaler":
            yield item["spec"]["scaleTargetRef"]["kind"], item["spec"]["scaleTargetRef"]["name"]


KINDS = {
    "secretKeyRef": "Secret",
    "secretRef": "Secret",
    "configMapKeyRef": "ConfigMap",
    "configMapRef": "ConfigMap",
    "configMap": "ConfigMap",
}


def found(node: Any) -> Iterator[tuple[str, str]]:
    """Secrets, ConfigMaps, volume claims and service accounts that are named anywhere below a node."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in KINDS and isinstance(value, dict) and "name" in value:
                yield KINDS[key], value["name"]
            elif key == "persistentVolumeClaim" and isinstance(value, dict):
                yield "PersistentVolumeClaim", value["claimName"]
            elif key == "serviceAccountName":
                yield "ServiceAccount", value
            yield from found(value)
    elif isinstance(node, list):
        for value in node:
            yield from found(value)
