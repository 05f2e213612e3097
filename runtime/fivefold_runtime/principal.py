"""Who calls: a value, which knows nothing of tokens and clocks."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. `token` is what they sent, so that a call on their behalf can carry it on; "" when there is none.

    email  the token's claim of that name; "" without one, or when its issuer says that it is not verified
    """

    subject: str
    groups: frozenset[str] = frozenset()
    token: str = field(default="", repr=False)
    email: str = field(default="", repr=False)

    def names(self) -> tuple[str, ...]:
        """Returns the principals that grants may name for this caller: the subject and `group:NAME` for each group."""
        return (self.subject, *sorted(f"group:{group}" for group in self.groups))


LOCAL = Principal("local")
ANONYMOUS = Principal("anonymous")
