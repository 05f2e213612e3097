"""Reads the text of filters and orders: an LALR grammar, in time that grows with the text alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from fivefold_runtime.filters.errors import FilterInvalid
from fivefold_runtime.filters.tree import Operator, Value

_LONGEST = 65_536  # characters
_DEEPEST = 32  # nested AND, OR and NOT
_MOST = 200  # comparisons
_MOST_VALUES = 2000  # in all lists together
_MOST_KEYS = 16  # of an order

# A field is one token, so that a key may be any word: metrics.desc, params.in.
_GRAMMAR = r"""
filter: either
?either: both (_OR both)*                -> either
?both: one (_AND one)*                   -> both
?one: _NOT one                           -> negation
    | "(" either ")"
    | FIELD COMPARATOR (TEXT | NUMBER)   -> comparison
    | FIELD (LIKE | ILIKE) TEXT          -> comparison
    | FIELD IN values                     -> comparison
    | FIELD _NOT IN values                -> excluded
    | FIELD _IS _NULL                    -> absent
    | FIELD _IS _NOT _NULL               -> present
values: "(" (TEXT | NUMBER) ("," (TEXT | NUMBER))* ","? ")"

order: key ("," key)*
key: FIELD (ASC | DESC)?

_AND.3: /and(?![\w.])/i
_OR.3: /or(?![\w.])/i
_NOT.3: /not(?![\w.])/i
_IS.3: /is(?![\w.])/i
_NULL.3: /null(?![\w.])/i
IN.3: /in(?![\w.])/i
LIKE.3: /like(?![\w.])/i
ILIKE.3: /ilike(?![\w.])/i
ASC.3: /asc(?![\w.])/i
DESC.3: /desc(?![\w.])/i
COMPARATOR: /[!<>]=|[=<>](?![=<>])/
NUMBER.2: /[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?(?![\w.])/i
TEXT.2: /'(''|\\'|[^'])*'|"(""|\\"|[^"])*"/
FIELD: /(?!(?i:and|or|not|is|null|in|like|ilike|asc|desc)(?![\w.]))(`[^`]*`|"[^"]*"|[^\W\d]\w*)(\.(`[^`]*`|"[^"]*"|'[^']*'|\w[\w.:\/\-]*))?/
%ignore /\s+/
"""

_WORDS = {
    "FIELD": "a field",
    "COMPARATOR": "a comparator (= != < <= > >=)",
    "TEXT": "text in quotes",
    "NUMBER": "a number",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "_IS": "IS (NOT) NULL",
    "$END": "the end",
}  # What the other terminals are called follows from their names.
_ORDER = ("FIELD", "COMPARATOR", "NUMBER", "TEXT", "LPAR", "COMMA", "RPAR")
_PARTS = re.compile(r"""(`[^`]*`|"[^"]*"|\w+)(?:\.(.+))?""", re.DOTALL)
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Name:
    """A field as it was written. `group` is None where there is a key only."""

    group: str | None
    key: str
    position: int
    key_position: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A value and where it stands."""

    value: Value
    position: int


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a filter as it was written: `kind` is either, both, negation, comparison, absent or present."""

    kind: str
    parts: tuple[Node, ...] = ()
    name: Name | None = None
    operator: Operator | None = None
    literals: tuple[Literal, ...] = ()
    position: int = field(default=0)  # of the operator


def read_filter(text: str, where: str) -> Node | None:
    """Returns what a filter says, None for an empty one. Raises FilterInvalid for the field `where`."""
    if not text.strip():
        return None
    node: Node = _read("filter", text, where)
    _check_size(node, text, where)
    return node


def read_order(text: str, where: str) -> list[tuple[Name, bool]]:
    """Returns the keys of an order and whether each descends. Raises FilterInvalid for the field `where`."""
    if not text.strip():
        return []
    keys: list[tuple[Name, bool]] = _read("order", text, where)
    if len(keys) > _MOST_KEYS:
        raise FilterInvalid.here(where, text, keys[_MOST_KEYS][0].position, (), why=f"more than {_MOST_KEYS} keys")
    return keys


def _read(start: str, text: str, where: str) -> Any:
    if len(text) > _LONGEST:
        raise FilterInvalid.here(where, text, _LONGEST, ("the end",), why=f"longer than {_LONGEST} characters")
    bad = _UNSENDABLE.search(text)
    if bad:
        raise FilterInvalid.here(where, text, bad.start(), (), why="a character that no stored text has")
    try:
        return _parser().parse(text, start=start)
    except UnexpectedInput as error:
        raise _located(error, text, where) from None


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start=["filter", "order"], transformer=_Reader(), propagate_positions=False)


def _located(error: UnexpectedInput, text: str, where: str) -> FilterInvalid:
    """Returns our error for the parser's, at the place where the parser could not go on."""
    position = len(text)
    if isinstance(error, UnexpectedCharacters):
        position = int(error.pos_in_stream or 0)
    elif isinstance(error, UnexpectedToken) and error.token.type != "$END":
        position = _at(error.token)
    accepted = getattr(error, "interactive_parser").accepts()  # noqa: B009  # the stubs do not know it
    names = sorted(accepted, key=lambda name: (_ORDER.index(name) if name in _ORDER else 99, name == "$END", name))
    why = ""
    if position < len(text) and text[position] in "'\"`" and isinstance(error, UnexpectedCharacters):
        why = f"the quote {text[position]} is not closed"
    elif text[position : position + 2] in ("==", "<>"):
        why = f"{text[position : position + 2]} is no comparator"
    return FilterInvalid.here(where, text, position, [_WORDS.get(name, name.lstrip("_")) for name in names], why=why)


def _check_size(root: Node, text: str, where: str) -> None:
    """Raises FilterInvalid for a filter that nests too deep or compares too much."""
    stack: list[tuple[Node, int]] = [(root, 0)]
    comparisons = values = 0
    while stack:
        node, depth = stack.pop()
        if depth > _DEEPEST:
            raise FilterInvalid.here(where, text, _first(node), (), why=f"nested more than {_DEEPEST} deep")
        comparisons += node.name is not None
        values += len(node.literals)
        if comparisons > _MOST:
            raise FilterInvalid.here(where, text, _first(node), (), why=f"more than {_MOST} comparisons")
        if values > _MOST_VALUES + _MOST:
            raise FilterInvalid.here(where, text, _first(node), (), why=f"more than {_MOST_VALUES} values in lists")
        stack += [(part, depth + 1) for part in reversed(node.parts)]


def _first(node: Node) -> int:
    while node.name is None:
        node = node.parts[0]
    return node.name.position


def _list_of(kind: str) -> Callable[[Any, list[Node]], Node]:
    return lambda _, parts: parts[0] if len(parts) == 1 else Node(kind, tuple(parts))


class _Reader(Transformer[Token, Any]):
    """Builds nodes while the parser goes on, so that nothing recurses however deep a text nests."""

    either = _list_of("either")
    both = _list_of("both")

    def filter(self, parts: list[Node]) -> Node:
        return parts[0]

    def negation(self, parts: list[Node]) -> Node:
        return Node("negation", tuple(parts))

    def comparison(self, parts: list[Any]) -> Node:
        name, operator, value = parts
        literals = value if isinstance(value, tuple) else (_literal(value),)
        found = Operator(operator.upper())
        return Node("comparison", (), _name(name), found, literals, _at(operator))

    def excluded(self, parts: list[Any]) -> Node:
        name, operator, literals = parts
        return Node("comparison", (), _name(name), Operator.NOT_IN, literals, _at(operator))

    def absent(self, parts: list[Token]) -> Node:
        return Node("absent", (), _name(parts[0]))

    def present(self, parts: list[Token]) -> Node:
        return Node("present", (), _name(parts[0]))

    def values(self, parts: list[Token]) -> tuple[Literal, ...]:
        return tuple(map(_literal, parts))

    def order(self, parts: list[tuple[Name, bool]]) -> Any:
        return [*parts]

    def key(self, parts: list[Token]) -> tuple[Name, bool]:
        return _name(parts[0]), len(parts) > 1 and parts[1].type == "DESC"


def _name(token: Token) -> Name:
    match = _PARTS.fullmatch(token)
    assert match is not None  # A FIELD begins with what a part is.
    position = _at(token)
    group, key = match.groups()
    if key is None:
        return Name(None, _bare(group), position, position)
    return Name(_bare(group), _bare(key), position, position + match.start(2))


def _at(token: Token) -> int:
    position: int = token.start_pos or 0
    return position


def _bare(part: str) -> str:
    return part[1:-1] if part[0] in "`\"'" else part


def _literal(token: Token) -> Literal:
    position = _at(token)
    if token.type == "NUMBER":
        return Literal(int(token) if _WHOLE.fullmatch(token) else float(token), position)
    quote = token[0]
    inside = token[1:-1].replace(f"\\{quote}", quote)
    return Literal(inside.replace(quote * 2, quote), position)
