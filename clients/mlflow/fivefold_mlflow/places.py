"""Where things are: `fivefold://host:port` and the `fivefold-artifacts:` URIs of files. Pure.

    fivefold-artifacts://host:7100/experiments/7/{run}/artifacts/model
    fivefold-artifacts://host:7100/experiments/7/models/{m-id}/artifacts
    fivefold-artifacts://host:7100/models/{name}/versions/3

An experiment's location followed by the run's id and `artifacts`, as MLflow's own stores build them. MLflow makes
`scheme:/x` of `scheme:///x` on its way, so an empty host may stand with any number of slashes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote

from fivefold.sdk.addresses import SERVICES, join, resolve, split
from fivefold.sdk.errors import InvalidArgument

STORE = "fivefold"
FILES = "fivefold-artifacts"

_ARTIFACTS = re.compile(r"experiments/[0-9]+/(?:models/(?P<model>m-[0-9a-f]{32})|(?P<run>[0-9a-f]{32}))/artifacts")
_VERSION = re.compile(r"models/(?P<name>[^/]+)/versions/(?P<number>[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Place:
    """An installation. `authority` is "host:port" as the user wrote it, "" where the environment says it."""

    authority: str

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Raises InvalidArgument for what is not `fivefold://host:port`."""
        authority, path = _parts(uri, STORE)
        if path:
            raise InvalidArgument(
                f"the URI is {uri!r}; it must be fivefold://host:port, or fivefold:// for where FIVEFOLD_URL says",
                reason="FIELD_INVALID",
                facts={"uri": uri},
            )
        return cls(authority)

    def addresses(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Returns host:port of each service: FIVEFOLD_URL_TRACKING … where it is set. Raises InvalidArgument."""
        found = resolve(self.authority or None, environ)
        for service in SERVICES:
            variable = f"FIVEFOLD_URL_{service.upper()}"
            if environ.get(variable):
                found[service] = join(*split(environ[variable], variable))
        return found

    def experiment(self, number: str) -> str:
        """Returns the location of the files of an experiment's runs and logged models."""
        return f"{self._root()}/experiments/{number}"

    def version(self, model: str, number: int) -> str:
        """Returns the URI of a model version's files."""
        return f"{self._root()}/models/{quote(model, safe='')}/versions/{number}"

    def _root(self) -> str:
        return f"{FILES}://{self.authority}" if self.authority else f"{FILES}:"


@dataclass(frozen=True, slots=True)
class Files:
    """What a `fivefold-artifacts:` URI means.

    parent  runs/{run}, logged_models/{logged_model} or models/{model}/versions/{version}
    top     where the parent's files begin in the URI, without scheme and authority
    path    a folder below it, "" for the top
    """

    place: Place
    parent: str
    top: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> Files:
        """Raises InvalidArgument for what is no such URI."""
        authority, rest = _parts(uri, FILES)
        if (found := _ARTIFACTS.match(rest)) is not None:
            parent = f"logged_models/{found['model']}" if found["model"] else f"runs/{found['run']}"
        elif (found := _VERSION.match(rest)) is not None:
            parent = f"models/{unquote(found['name'])}/versions/{found['number']}"
        below = rest[found.end() :] if found else ""
        if found is None or (below and below[0] != "/"):
            raise InvalidArgument(
                f"the URI is {uri!r}; it must be {FILES}://host:port/experiments/NUMBER/RUN/artifacts, "
                f"…/experiments/NUMBER/models/ID/artifacts or …/models/NAME/versions/NUMBER",
                reason="FIELD_INVALID",
                facts={"uri": uri},
            )
        return cls(Place(authority), parent, found.group(), below.strip("/"))

    @property
    def of_version(self) -> bool:
        """Whether the registry has them."""
        return self.parent.startswith("models/")


def files_place(uri: str) -> tuple[Place, str]:
    """Returns the place of a `fivefold-artifacts:` URI and the rest of it. Raises InvalidArgument for another scheme."""
    authority, rest = _parts(uri, FILES)
    return Place(authority), rest


def is_files(uri: str) -> bool:
    """Says whether a URI is meant to be one of ours."""
    return uri.startswith(f"{FILES}:")


def _parts(uri: str, scheme: str) -> tuple[str, str]:
    """Returns (authority, path without slashes at its ends)."""
    found, colon, rest = uri.partition(":")
    if not colon or found.lower() != scheme:
        raise InvalidArgument(
            f"the URI is {uri!r}; it must begin with {scheme}:", reason="FIELD_INVALID", facts={"uri": uri}
        )
    if rest.startswith("//") and not rest.startswith("///"):
        authority, _, path = rest[2:].partition("/")
        return authority, path.strip("/")
    return "", rest.strip("/")
