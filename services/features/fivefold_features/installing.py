"""Reading the on-demand functions out of the modules that the operator names, with a hash over what they consist of.

The hash covers the function and, within its module, all that it refers to by name, step by step: helpers, constants,
imports. It is taken over source text, so it is the same in every image, whatever its Python.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Protocol, runtime_checkable

from fivefold_features.functions import Installed, OnDemand
from fivefold_features.schema import Column, Kind
from fivefold_runtime.settings import StartError, listed


@runtime_checkable
class Mark(Protocol):
    """What `fivefold.on_demand` leaves on a function: the SDK is the operator's to import, not this service's."""

    takes: Mapping[str, str]
    gives: Mapping[str, str]
    nulls: bool


def install(modules: str) -> Installed:
    """Imports modules, comma-separated, and returns their functions. Raises StartError."""
    functions: list[OnDemand] = []
    for name in listed(modules):
        try:
            module = importlib.import_module(name)
            found = list(_functions(module))
        except Exception as error:
            raise StartError(f"--functions names {name}, which cannot be used: {error!r}.") from error
        if not found:
            raise StartError(f"--functions names {name}, but it has no function marked with fivefold.on_demand.")
        functions += found
    return Installed(functions)


def _functions(module: ModuleType) -> Iterator[OnDemand]:
    source = inspect.getsource(module)
    pieces = _pieces(source)
    for name, value in vars(module).items():
        mark = getattr(value, "on_demand", None)
        if not isinstance(mark, Mark) or value.__module__ != module.__name__:
            continue
        parameters, results = (
            tuple(Column(column, Kind(kind.upper())) for column, kind in columns.items())
            for columns in (mark.takes, mark.gives)
        )
        yield OnDemand(
            module=module.__name__,
            name=name,
            source_hash=source_hash(name, pieces),
            description=inspect.getdoc(value) or "",
            parameters=parameters,
            results=results,
            nulls=mark.nulls,
            call=value,
        )


def source_hash(name: str, pieces: Mapping[str, list[tuple[str, frozenset[str]]]]) -> str:
    """Returns 64 hexadecimal digits over the statements that define a name and all names that these refer to."""
    texts: set[str] = set()
    waiting, seen = [name], set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        for text, names in pieces.get(one, ()):
            texts.add(text)
            waiting += names
    digest = hashlib.sha256()
    for text in sorted(texts):
        data = text.encode()
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()


def _pieces(source: str) -> dict[str, list[tuple[str, frozenset[str]]]]:
    """Returns, by name that a module's top level binds, the statements that bind it and the names they refer to."""
    pieces: dict[str, list[tuple[str, frozenset[str]]]] = {}
    lines = source.splitlines(keepends=True)
    for statement in ast.parse(source).body:
        first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
        text = "".join(lines[first - 1 : statement.end_lineno])
        nodes = list(ast.walk(statement))
        names = frozenset(node.id for node in nodes if isinstance(node, ast.Name))
        for bound in _bound(statement, nodes):
            pieces.setdefault(bound, []).append((text, names))
    return pieces


def _bound(statement: ast.stmt, nodes: list[ast.AST]) -> set[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
    # A call or an assignment to a part of something, such as TABLE["x"] = 1, may change every name in it.
    if not bound:
        bound = {node.id for node in nodes if isinstance(node, ast.Name)}
    return bound
