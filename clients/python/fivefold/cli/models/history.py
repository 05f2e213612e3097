"""`fivefold models`, the commands about what happened and what is said: history, verify, comments, watch."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import click

from fivefold.cli.failures import OK, REFUSED, USAGE, Failure
from fivefold.cli.models.cards import short
from fivefold.cli.output import listed, show, shown, text, width
from fivefold.cli.session import client

# What happened, as a sentence about a version. A test holds the keys against the contract.
STORY = {
    "APPLIED_TRANSITION": "{user} moved it from {from_stage} to {to_stage}",
    "REQUESTED_TRANSITION": "{user} asked to move it from {from_stage} to {to_stage}",
    "CANCELLED_REQUEST": "{user} took back the request to move it to {to_stage}",
    "APPROVED_REQUEST": "{user} approved the request: it moved from {from_stage} to {to_stage}",
    "REJECTED_REQUEST": "{user} rejected the request to move it to {to_stage}",
    "SYSTEM_TRANSITION": "it moved from {from_stage} to {to_stage}, to make room for what {user} moved",
    "NEW_COMMENT": "{user} said",
    "EDITED_COMMENT": "{user} changed a comment; it says now",
    "DELETED_COMMENT": "{user} deleted a comment",
    "DELETED_VERSION": "{user} deleted it",
}
_BACK = {
    "APPLIED_TRANSITION": "{user} rolled back: it came from {from_stage} to {to_stage} again",
    "SYSTEM_TRANSITION": "it moved from {from_stage} to {to_stage}, as {user} rolled back",
}


@click.command()
@click.argument("model")
@listed
def history(model: str, output: str) -> None:
    """Tells what happened to a model or version, oldest first."""
    own: dict[str, str] = {}
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.activities(model)]
        if output == "table" and found:
            own = connected.registry.get_model(found[0]["name"].split("/")[1]).policy.stage_names
    rows = [one | {"version": "/".join(one["name"].split("/")[1:4:2])} for one in found]
    if output != "table" or not rows:
        bare = quote(model.removeprefix("models/").partition("/")[0])
        empty = f"nothing happened yet; move a version with: fivefold models promote {bare}/NUMBER"
        columns = ("create_time", "version", "type", "user", "from_stage", "to_stage", "comment", "rollback")
        return show(rows, output, columns, empty=empty)
    room = max(width(row["version"]) for row in rows)
    for row in rows:
        label = f"{text(row['create_time'])}  {row['version']}{' ' * (room - width(row['version']))}  "
        click.echo(label + sentence(row, own))
        _quoted(row["comment"], 21 + room + 2)


def sentence(activity: Mapping[str, Any], own: Mapping[str, str]) -> str:
    """Returns what an activity tells, as a sentence without its comment; `own` has the model's names of stages."""
    kind = str(activity["type"])
    words = (_BACK.get(kind) if activity["rollback"] else None) or STORY.get(kind, f"{{user}}: {kind}")
    stages = {name: own.get(activity[name], activity[name]) for name in ("from_stage", "to_stage")}
    return text(words.format(user=activity["user"], **stages))


@click.command()
@click.argument("model")
@click.option("--expect", default="", metavar="HEAD", help="The head that an earlier call printed.")
@click.option(
    "--head-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Expect the head in this file, if it is there; keep the new one in it.",
)
@shown
def verify(model: str, expect: str, head_file: Path | None, output: str) -> int:
    """Checks that a model's history is as it was written.

    Exit code 1 if someone changed, removed or added what is told of it.

    Keep the head that it prints where the database's keeper does not reach, and give it back next time: so a cut end
    and a history that was made anew are found, too.
    """
    if head_file is not None and head_file.exists():
        if expect:
            raise Failure("give either --expect or a --head-file that is there", code=USAGE)
        expect = head_file.read_text().strip()
    with client() as connected:
        report = connected.registry.verify_activities(model, expect or None)
    if output == "table":
        click.echo(str(report))
    else:
        show(report.to_dict(), output)
    if not report:
        return REFUSED
    if head_file is not None:
        head_file.write_text(f"{report.head}\n")
    return OK


@click.command("comment")
@click.argument("version")
@click.argument("words", metavar="TEXT", default="")
@click.option("--edit", is_flag=True, help="VERSION is one of your comments, MODEL/NUMBER/COMMENT: change its text.")
@click.option("--delete", is_flag=True, help="VERSION is a comment, MODEL/NUMBER/COMMENT: delete it.")
@shown
def comment_(version: str, words: str, edit: bool, delete: bool, output: str) -> None:
    """Adds a comment to a version; changes or deletes one."""
    if (edit and delete) or bool(words) == delete:
        raise Failure("give TEXT, or --delete alone", "see: fivefold models comment --help", code=USAGE)
    with client() as connected:
        if delete:
            connected.registry.delete_comment(version)
            return click.echo(f"{version} is deleted")
        said = connected.registry.edit_comment(version, words) if edit else connected.registry.comment(version, words)
    if output != "table":
        return show(said.to_dict(), output)
    click.echo(f"{short(said.name)}: {said.author} said")
    _quoted(said.text, 2)


@click.command()
@click.argument("model")
@listed
def comments(model: str, output: str) -> None:
    """Lists the comments on a model or version, oldest first."""
    with client() as connected:
        found = [one.to_dict() for one in connected.registry.comments(model)]
    if output != "table" or not found:
        bare = quote(model.removeprefix("models/"))
        where = bare if "/" in bare else f"{bare}/NUMBER"
        columns = ("name", "author", "create_time", "update_time", "text")
        return show(found, output, columns, empty=f"no comment; write one with: fivefold models comment {where} TEXT")
    for one in found:
        edited = ", edited" if one["update_time"] and one["update_time"] != one["create_time"] else ""
        click.echo(f"{text(one['create_time'])}  {short(one['name'])}  {one['author']}{edited}")
        _quoted(one["text"], 21)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--after", type=click.IntRange(0), default=0, help="Events after this position; 0: from the first.")
@click.option("--new", is_flag=True, help="Only what happens from now on.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="json: one event a line.")
def watch(names: tuple[str, ...], after: int, new: bool, output: str) -> None:
    """Prints events as they happen, until Ctrl-C.

    Those of all models, or of the models NAMES.
    """
    with client() as connected:
        for event in connected.registry.watch(after, models=names, only_new=new):
            if output == "json":
                fields: dict[str, Any] = event.to_dict()
                click.echo(json.dumps(fields, default=lambda value: value.isoformat(), ensure_ascii=False))
                continue
            stages = f"  {event.from_stage or '-'} -> {event.to_stage}" if event.to_stage else ""
            about = short(event.subject) if "/" in event.subject else event.subject
            was = f"  was {short(event.old_model)}" if event.old_model else ""
            when = event.time.strftime("%Y-%m-%d %H:%M:%S") if event.time else ""
            where = short(event.model_version or event.model)
            line = f"{event.position:>6}  {when}  {event.type}  {where}{stages}{was}  {about}  {event.user}"
            click.echo(text(line.replace("    ", "  ")))


def _quoted(words: str, indent: int) -> None:
    """Prints what a person wrote, wrapped to the terminal, in line with what it belongs to."""
    room = max(shutil.get_terminal_size().columns - indent - 2, 30)
    lines = [line for part in text(words).splitlines() for line in textwrap.wrap(part, room) or [""]]
    for place, line in enumerate(lines):
        start, end = "“" if place == 0 else " ", "”" if place == len(lines) - 1 else ""
        click.echo(" " * indent + start + line + end)


HISTORY = (history, verify, comment_, comments, watch)
