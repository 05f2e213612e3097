"""Every rendered object fits its schema, with no property that the schema does not know."""

import json
from pathlib import Path

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator

from tests.k8s.manifests import Manifest, Overlay

CUSTOM = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "schemas").glob("*.json")}
OLDEST, NEWEST = "1.30", "1.37"  # ReadWriteOncePod, gRPC probes and maxUnavailable are stable in all of them


def check(manifest: Manifest, version: str) -> None:
    if manifest["kind"] in CUSTOM:
        Draft202012Validator(CUSTOM[manifest["kind"]]).validate(manifest)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_fits_its_schema_strictly(overlay: Overlay, version: str) -> None:
    for manifest in overlay.objects:
        check(manifest, version)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_pod_of_a_custom_resource_fits_the_schema_of_pods_strictly(overlay: Overlay, version: str) -> None:
    for owner, template in overlay.pods():
        metadata = template["metadata"] | {"name": owner.rpartition("/")[2]}
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}, version, strict=True
        )


def test_a_property_that_the_schema_does_not_know_is_refused(overlay: Overlay) -> None:
    for kind in ("Deployment", "RayCluster", "GRPCRoute"):
        for manifest in overlay.of_kind(kind)[:1]:
            with pytest.raises(Exception, match="replicsa"):
                check(manifest | {"spec": manifest["spec"] | {"replicsa": 3}}, NEWEST)
