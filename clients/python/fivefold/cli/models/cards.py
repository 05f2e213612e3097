"""How models, versions and requests look to people: rows of tables, and cards with what can be done next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

import click

from fivefold.cli.artifacts import size_text
from fivefold.cli.output import text

VERSION = ("version", "stage", "status", "aliases", "create_time", "creator", "description")
REQUEST = ("request", "to", "state", "creator", "you_may", "create_time", "comment")


def is_version(name: str) -> bool:
    """Says whether a version is named, rather than a model: by a number, an alias or a stage.

    A model whose own name has an @ is named in full, models/MODEL.
    """
    return "/" in name.removeprefix("models:/").removeprefix("models/") or (
        "@" in name and not name.startswith("models/")
    )


def short(name: str) -> str:
    """Returns what people type: "churn/3" for "models/churn/versions/3", "churn/3/7" for its seventh request."""
    return "/".join(name.split("/")[1::2])


def files_of(files: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many files there are, and their size."""
    return f"{len(files)} file{'' if len(files) == 1 else 's'}, {size_text(sum(file['size_bytes'] for file in files))}"


def stage_of(version: Mapping[str, Any]) -> str:
    """Returns a version's stage as its model calls it; the standard name beside an own one."""
    own, stage = version["stage_name"], version["stage"]
    return f"{own} ({stage})" if own and own != stage else str(stage)


def model_row(model: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a model as a row of a table: in each stage the newest version."""
    stages = {stage_of(version): version["version"] for version in model["latest_versions"]}
    return {**model, "name": short(model["name"]), "stages": stages}


def version_row(version: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a version as a row of a table."""
    return {**version, "version": short(version["name"]), "stage": stage_of(version)}


def request_row(request: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a request as a row of a table, with what the viewer may do."""
    may = [action.lower() for action in request["available_actions"]]
    return {**request, "request": short(request["name"]), "to": request["stage"], "you_may": may}


def model_card(model: Mapping[str, Any], waiting: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a model as a card: rules in words, the newest version in each stage, what waits for a decision."""
    return {
        "name": model["name"],
        "description": model["description"],
        "tags": model["tags"],
        "aliases": {alias: short(f"{model['name']}/versions/{number}") for alias, number in model["aliases"].items()},
        "rules": _rules(model["policy"]),
        "created": _by(model),
        "changed": model["update_time"],
        "stages": [
            {name: row[name] for name in ("stage", "version", "status", "create_time", "creator", "description")}
            for row in map(version_row, sorted(model["latest_versions"], key=_weight))
        ],
        "open requests": _waiting(waiting),
    }


def version_card(version: Mapping[str, Any], waiting: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns a version as a card: what it is, where it comes from, what it takes, what waits for a decision."""
    files = version["files"]
    return {
        "name": version["name"],
        "stage": stage_of(version),
        "status": f"{version['status']}: {version['status_message']}"
        if version["status_message"]
        else version["status"],
        "aliases": version["aliases"],
        "description": version["description"],
        "tags": version["tags"],
        "created": _by(version),
        "changed": version["update_time"],
        "source": version["source"],
        "files are at": version["external_uri"],
        "copied from": version["copied_from"] and short(version["copied_from"]),
        "lineage": [{"from": kind.replace("_", " "), "name": text(name)} for kind, name in _set(version["lineage"])],
        "flavors": version["flavors"],
        "files": files_of(files) if files else "",
        "digest": version["digest"],
        "inputs": version["signature"]["inputs"],
        "outputs": version["signature"]["outputs"],
        "open requests": _waiting(waiting),
    }


def advise(requests: Sequence[Mapping[str, Any]]) -> None:
    """Says on stderr what the viewer types to settle the first request that they may settle."""
    for request in requests:
        if request["available_actions"]:
            which = quote(short(request["name"]))
            may = [f"`fivefold models {action.lower()} {which}`" for action in request["available_actions"]]
            click.echo(f"you may {', '.join(may)}", err=True)
            return


def _waiting(requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = ("request", "to", "creator", "you_may", "create_time", "comment")
    return [{name: row[name] for name in names} for row in map(request_row, requests)]


def _weight(version: Mapping[str, Any]) -> int:
    """Where a stage stands in a card: what matters most comes first."""
    return ("Production", "Staging", "None", "Archived").index(version["stage"])


def _rules(policy: Mapping[str, Any]) -> str:
    rules = [
        words
        for rule, words in (
            ("one_production", "one version in Production"),
            ("stepwise", "moves go stepwise"),
            ("no_self_approval", "nobody approves their own request"),
        )
        if policy[rule]
    ]
    rules += [f"{stage} is called {name}" for stage, name in policy["stage_names"].items()]
    return "; ".join(rules) or "any move is allowed"


def _by(record: Mapping[str, Any]) -> str:
    return f"{text(record['create_time'])} by {record['creator']}"


def _set(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in fields.items() if value]
