"""A model's life on the command line, as several people live it: tokens, rights, requests, rules, mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import fivefold_registry.__main__ as registry
import fivefold_tracking.__main__ as tracking
from fivefold.cli import main
from fivefold_runtime.keys import make_key, sign_token
from fivefold_runtime.testing import serve
from tests.client.conftest import NOBODY, Outcome

As = Callable[..., Outcome]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Path]]:
    """Tracking and registry that ask for tokens, and the folder of the key that signs them."""
    root = tmp_path_factory.mktemp("people")
    keys = root / "keys"
    settings: dict[str, Any] = {"auth": "jwt", "jwt_keys": str(make_key(keys))}
    own = root / "token"
    own.write_text(sign_token(keys, "registry", ["fivefold:registry"], lifetime=timedelta(hours=1)))
    with (
        serve(tracking.build, tracking.Config(data=str(root / "tracking"), **settings)) as first,
        serve(
            registry.build,
            registry.Config(
                data=str(root / "registry"), tracking=first.address, copies=2, token_file=str(own), **settings
            ),
        ) as second,
    ):
        yield {"tracking": first.address, "registry": second.address}, keys


@pytest.fixture
def as_(
    secured: tuple[dict[str, str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> As:
    """Runs a command as a person; "" has no token."""
    addresses, keys = secured
    for service in ("features", "automl", "serving"):
        monkeypatch.setenv(f"FIVEFOLD_URL_{service.upper()}", NOBODY)
    for service, address in addresses.items():
        monkeypatch.setenv(f"FIVEFOLD_URL_{service.upper()}", address)

    def run(person: str, *arguments: str) -> Outcome:
        token = sign_token(keys, person, [], lifetime=timedelta(hours=1)) if person else ""
        monkeypatch.setenv("FIVEFOLD_TOKEN", token)
        code = main(("models", *arguments))
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run


@pytest.fixture
def package(tmp_path: Path) -> str:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.txt").write_text("a model")
    return str(folder)


def test_a_model_is_registered_asked_for_approved_by_another_promoted_and_rolled_back(
    as_: As, package: str, tmp_path: Path
) -> None:
    rules = ("--one-production", "--no-self-approval")
    assert as_("ana", "create", "churn", "--description", "Who leaves", *rules).code == 0
    for words in ("first", "second"):
        assert as_("ana", "register", "churn", package, "--description", words).code == 0

    # To others the model is not there, until Ana shares it.
    strange = as_("bo", "show", "churn")
    assert (strange.code, strange.err.splitlines()[0]) == (1, "fivefold: models/churn does not exist")
    given = as_("ana", "permissions", "churn", "--grant", "bo=read", "--grant", "cy=manage-production-versions")
    assert given.out.splitlines()[1:] == [
        "ana        CAN_MANAGE",
        "bo         CAN_READ",
        "cy         CAN_MANAGE_PRODUCTION_VERSIONS",
    ]

    # Bo may not move it, is told what to type, and types it.
    refused = as_("bo", "promote", "churn/1")
    assert refused.code == 4
    assert "needs CAN_MANAGE_PRODUCTION_VERSIONS; you have CAN_READ" in refused.err
    assert refused.err.splitlines()[-1].strip() == (
        "ask those who may: `fivefold models request churn/1 Production --comment WHY`"
    )
    asked = as_("bo", "request", "churn/1", "Production", "--comment", "the numbers are good")
    assert asked.out.startswith("churn/1/") and asked.out.endswith(": bo asks to move churn/1 to Production\n")
    which = asked.out.partition(":")[0]
    assert asked.err == f"you may `fivefold models cancel {which}`\n"

    # Cy sees what waits and may decide; Bo may only take it back.
    assert as_("bo", "requests", "churn").out.splitlines()[1].split()[4] == "cancel"
    assert as_("cy", "requests", "churn").err == (
        f"you may `fivefold models approve {which}`, `fivefold models reject {which}`\n"
    )
    shown = as_("cy", "show", "churn").out
    assert "open requests" in shown and "approve, reject  " in shown and "the numbers are good" in shown
    assert as_("bo", "approve", "churn/1").code == 4
    assert as_("cy", "approve", "churn/1", "--comment", "go").out == "models/churn/versions/1 is in Production\n"

    # Nobody approves their own request under this rule, not even who manages the model.
    assert as_("ana", "request", "churn/2", "Production").code == 0
    own = as_("ana", "approve", "churn/2", "--archive-existing")
    assert (own.code, own.out) == (4, "")
    assert own.err.splitlines() == [
        "fivefold: the model's policy forbids approving one's own request",
        "  another person must approve it: `fivefold models permissions churn` shows who may",
    ]
    full = as_("cy", "approve", "churn/2")
    assert full.code == 1
    assert "version 1 is in Production and the model's policy allows one" in full.err
    assert "--archive-existing" in full.err
    done = as_("cy", "approve", "churn/2", "--archive-existing")
    assert done.out == "models/churn/versions/2 is in Production\nmodels/churn/versions/1 was archived\n"

    back = as_("cy", "rollback", "churn", "--comment", "too many false alarms")
    assert back.out == "models/churn/versions/1 is in Production\nmodels/churn/versions/2 was archived\n"

    story = [line[21:] for line in as_("bo", "history", "churn").out.splitlines()]
    assert story == [
        "churn/1  bo asked to move it from None to Production",
        "         “the numbers are good”",
        "churn/1  cy approved the request: it moved from None to Production",
        "         “go”",
        "churn/2  ana asked to move it from None to Production",
        "churn/2  cy approved the request: it moved from None to Production",
        "churn/1  it moved from Production to Archived, to make room for what cy moved",
        "churn/1  cy rolled back: it came from Archived to Production again",
        "         “too many false alarms”",
        "churn/2  it moved from Production to Archived, as cy rolled back",
    ]
    head = tmp_path / "head"
    assert as_("bo", "verify", "churn", "--head-file", str(head)).code == 0
    assert as_("ana", "comment", "churn/2", "what went wrong?").code == 0
    assert as_("bo", "verify", "churn", "--head-file", str(head)).code == 0
    assert json.loads(as_("bo", "verify", "churn", "-o", "json").out)["count"] == 8


def test_without_a_token_every_command_says_where_tokens_come_from(as_: As) -> None:
    for command in (["list"], ["show", "churn"], ["promote", "churn/1"], ["watch"]):
        outcome = as_("", *command)
        assert (outcome.code, outcome.out) == (4, "")
        assert "FIVEFOLD_TOKEN" in outcome.err


def test_only_its_author_changes_a_comment_and_whoever_manages_the_model_may_delete_it(as_: As, package: str) -> None:
    assert as_("ana", "register", "remarks", package).code == 0
    assert as_("ana", "permissions", "remarks", "--grant", "bo=read").code == 0
    which = as_("bo", "comment", "remarks/1", "hm").out.partition(":")[0]
    refused = as_("ana", "comment", "--edit", which, "fine")
    assert (refused.code, refused.err.splitlines()[1]) == (
        4,
        "  only its author changes a comment; add one of your own",
    )
    assert as_("bo", "comment", "--edit", which, "I see").out == f"{which}: bo said\n  “I see”\n"
    assert "bo, edited" in as_("ana", "comments", "remarks").out
    assert as_("ana", "comment", "--delete", which).out == f"{which} is deleted\n"
    assert as_("ana", "comments", "remarks").err == (
        "no comment; write one with: fivefold models comment remarks/NUMBER TEXT\n"
    )


def test_rights_are_set_by_who_manages_the_model_and_one_manager_stays(as_: As, package: str) -> None:
    assert as_("ana", "register", "rights", package).code == 0
    assert as_("ana", "permissions", "rights", "--grant", "bo=edit").code == 0
    assert as_("bo", "permissions", "rights", "--grant", "bo=manage").code == 4
    assert as_("bo", "update", "rights", "--stepwise").code == 4
    assert as_("bo", "update", "rights", "--description", "edited by bo").code == 0
    last = as_("ana", "permissions", "rights", "--revoke", "ana")
    assert (last.code, "somebody with CAN_MANAGE" in last.err) == (1, True)
    handed = as_("ana", "permissions", "rights", "--grant", "bo=manage", "--revoke", "ana", "-o", "json")
    assert json.loads(handed.out)["grants"] == {"bo": "CAN_MANAGE"}
    assert as_("ana", "show", "rights").code == 1
