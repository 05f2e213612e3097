"""Rendered manifests, and the questions that the policy asks of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
Manifest = dict[str, Any]
SERVICES = ("tracking", "features", "registry", "automl", "serving")


@dataclass(frozen=True)
class Overlay:
    """One overlay: its name, the rendered text, and its objects."""

    name: str
    text: str
    objects: list[Manifest]

    def of_kind(self, *kinds: str) -> list[Manifest]:
        return [item for item in self.objects if item["kind"] in kinds]

    def named(self, kind: str, name: str) -> Manifest:
        return next(item for item in self.of_kind(kind) if item["metadata"]["name"] == name)

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Every pod template: whose it is, and the template."""
        for item in self.of_kind("Deployment", "StatefulSet", "Job"):
            yield f"{item['kind']}/{item['metadata']['name']}", item["spec"]["template"]
        for item in self.of_kind("RayCluster"):
            groups = [item["spec"]["headGroupSpec"], *item["spec"]["workerGroupSpecs"]]
            for group in groups:
                yield f"RayCluster/{item['metadata']['name']}/{group.get('groupName', 'head')}", group["template"]

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        """Every container of every pod, init containers included."""
        for owner, template in self.pods():
            for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
                yield f"{owner}/{container['name']}", container


def environment(container: Manifest) -> dict[str, str]:
    """A container's literal variables; those from Secrets and ConfigMaps have the value ``""``."""
    return {item["name"]: item.get("value", "") for item in container.get("env", [])}
