"""Which events are told by mail, and in which words. Pure.

Names, users and comments come from anybody: in a header they are one line of printable characters, in the text they stand
behind a mark that no line of ours begins with.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP

from fivefold_registry.store.records import EventRecord, EventType
from fivefold_registry.webhooks.events import instant, sentence

#: What is told by mail, and what it is called there.
TOLD: Mapping[EventType, str] = {
    EventType.MODEL_VERSION_CREATED: "new versions",
    EventType.MODEL_VERSION_TRANSITIONED_STAGE: "moves",
    EventType.TRANSITION_REQUEST_CREATED: "requests",
    EventType.TRANSITION_REQUEST_SETTLED: "settled requests",
    EventType.COMMENT_CREATED: "comments",
}
_LONGEST_LINE = 200  # characters of a subject
_LONGEST_COMMENT = 4_000  # characters of it that are quoted
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_LONGEST_ADDRESS = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail as it is kept until it is sent."""

    to: str
    subject: str
    text: str

    @classmethod
    def parse(cls, body: str) -> Letter:
        return cls(**json.loads(body))

    def dump(self) -> str:
        return json.dumps({"to": self.to, "subject": self.subject, "text": self.text}, ensure_ascii=False)


def is_address(text: str) -> bool:
    """Says whether a text is one plain e-mail address in ASCII, without name, comment or quotes."""
    return len(text) <= _LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None


def write(event: EventRecord, to: str, comment: str, *, last: int) -> Letter:
    """Returns the letter about an event.

    comment  what the person wrote, "" for nothing
    last     0, or how many letters of its kind there may be a day, when this is the last of them
    """
    told = one_line(sentence(event))
    lines = [told, "", f"Model: {one_line(event.model)}"]
    if event.number:
        lines.append(f"Version: {event.number}")
    lines.append(f"When: {instant(event.time)}")
    if comment:
        lines += ["", *_quoted(comment)]
    if last:
        lines += ["", f"This is the last of {last} letters about {TOLD[event.type]} that you get today (UTC)."]
    lines += [
        "",
        "-- ",
        "Change what you get: fivefold models subscribe MODEL --activity followed_versions|all_activity|mute",
    ]
    return Letter(to=to, subject=one_line(f"[{event.model}] {told}"), text="\n".join(lines) + "\n")


def message(letter: Letter, sender: str, delivery: str) -> EmailMessage:
    """Returns the letter as it goes over the wire, with the same Message-ID however often it is sent.

    delivery  the delivery's id
    """
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = letter.to
    made["Subject"] = letter.subject
    domain = sender.rpartition("@")[2]
    made["Message-ID"] = f"<{hashlib.sha256(delivery.encode()).hexdigest()[:32]}@{domain}>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(letter.text, charset="utf-8", cte="base64")
    return made


def one_line(text: str) -> str:
    """Returns a text as one line of printable characters, cut to what a subject may have."""
    clean = "".join(char if char.isprintable() else " " for char in text)
    clean = " ".join(clean.split())
    return clean if len(clean) <= _LONGEST_LINE else clean[: _LONGEST_LINE - 1] + "…"


def _quoted(comment: str) -> list[str]:
    shown = comment if len(comment) <= _LONGEST_COMMENT else comment[:_LONGEST_COMMENT] + "…"
    return [
        "> " + "".join(char if char.isprintable() or char == "\t" else " " for char in line)
        for line in shown.splitlines()
    ]
