"""Resource names: "models/churn/versions/3" against the pattern "models/{model}/versions/{version}".

An id is safe to put into a path, a URL or a log line: parsing refuses whatever could step out of its place.
"""

from __future__ import annotations

import re

from fivefold_runtime.errors import InvalidArgument

MAX_ID = 256  # bytes of UTF-8, one id

# Separators of paths, URLs and archives, and Unicode's look-alikes of dot and slash, which some file systems and
# proxies fold into the real ones.
_FORBIDDEN = re.compile(r"[/\\;#?%\u2024\u2025\u2026\u2044\u2215\u29f8\ufe52\uff0e\uff0f\uff3c]")
_DRIVE = re.compile(r"[A-Za-z]:")


class NameInvalid(InvalidArgument):
    """A resource name or id that does not have its documented form."""

    reason = "NAME_INVALID"


class Pattern:
    """One form of name. `Pattern("models/{model}/versions/{version}")`.

    parse("models/churn/versions/3") -> {"model": "churn", "version": "3"}; format(model="churn", version=3) is the
    inverse.
    """

    def __init__(self, template: str) -> None:
        self.template = template
        self._parts = template.split("/")

    def parse(self, name: str, field: str = "name") -> dict[str, str]:
        """Returns the ids by their names in the template. Raises NameInvalid, naming `field`, for any other text."""
        parts = name.split("/")
        if len(parts) != len(self._parts):
            raise self._invalid(name, field)
        ids = {}
        for wanted, part in zip(self._parts, parts, strict=True):
            if wanted.startswith("{"):
                ids[wanted[1:-1]] = check_id(part, field)
            elif wanted != part:
                raise self._invalid(name, field)
        return ids

    def matches(self, name: str) -> bool:
        """Says whether `parse` would accept the name."""
        try:
            self.parse(name)
        except NameInvalid:
            return False
        return True

    def format(self, **ids: object) -> str:
        """Returns the name. Raises NameInvalid for an id that `parse` would refuse, KeyError for a missing one."""
        return "/".join(
            check_id(str(ids[part[1:-1]]), part[1:-1]) if part.startswith("{") else part for part in self._parts
        )

    def _invalid(self, name: str, field: str) -> NameInvalid:
        return _refused(name, field, f"it must have the form {self.template}")


def check_id(text: str, field: str = "id") -> str:
    """Returns `text` when it can be one part of a name. Raises NameInvalid that names `field` and what is wrong."""
    if not text or text in (".", ".."):
        raise _refused(text, field, 'an id is neither empty nor "." nor ".."')
    if len(text) > MAX_ID or len(text.encode("utf-8", "surrogatepass")) > MAX_ID:
        raise _refused(text, field, f"an id has at most {MAX_ID} bytes")
    found = _FORBIDDEN.search(text)
    if found:
        raise _refused(text, field, f"an id must not contain {found.group()!r}")
    if not text.isprintable():
        raise _refused(text, field, "an id must not contain control, format or private characters")
    if text != text.strip():
        raise _refused(text, field, "an id does not begin or end with a space")
    if _DRIVE.match(text) and len(text) == 2:
        raise _refused(text, field, "an id must not be a drive letter")
    return text


def check_path(path: str, field: str = "path", limit: int = 1024) -> str:
    """Returns a relative path of ids ("metrics/plot.png"). Raises NameInvalid for whatever could leave its root."""
    if len(path.encode("utf-8", "surrogatepass")) > limit:
        raise _refused(path, field, f"a path has at most {limit} bytes")
    for part in path.split("/"):
        check_id(part, field)
    if _DRIVE.match(path):
        raise _refused(path, field, "a path must not begin with a drive letter")
    return path


def _refused(text: str, field: str, why: str) -> NameInvalid:
    shown = text if len(text) <= 64 else text[:61] + "..."
    return NameInvalid.at(field, f"is {shown!r}; {why}", value=shown)
