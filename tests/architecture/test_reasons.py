"""The stable reasons of errors: the contract, the code and the tests name the same ones."""

import ast
from collections.abc import Iterator

from tests.architecture.contracts import Contracts
from tests.architecture.tree import ROOT, Module, all_modules


def test_every_reason_in_code_is_in_the_contract(contracts: Contracts) -> None:
    unknown = sorted(
        f"{module.where}:{line} {reason}"
        for module in all_modules()
        for reason, line in _declared(module)
        if reason not in contracts.reasons()
    )
    assert not unknown, f"not in fivefold/errors/v1/errors.proto: {unknown}"


def test_every_reason_in_the_contract_is_used_by_code(contracts: Contracts) -> None:
    used = {reason for module in all_modules() for reason, _ in _declared(module)}
    assert not contracts.reasons() - used, f"no error class has these reasons: {sorted(contracts.reasons() - used)}"


def test_every_reason_in_the_contract_is_raised_in_a_test(contracts: Contracts) -> None:
    named = {text for path in (ROOT / "tests").rglob("*.py") for text in _texts(ast.parse(path.read_text()))}
    assert not contracts.reasons() - named, f"no test names these reasons: {sorted(contracts.reasons() - named)}"


def _declared(module: Module) -> Iterator[tuple[str, int]]:
    """Reasons that classes of the module declare as `reason = "..."`, with their lines."""
    for owner in ast.walk(module.tree):
        if not isinstance(owner, ast.ClassDef):
            continue
        for node in owner.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            named = any(isinstance(target, ast.Name) and target.id == "reason" for target in targets)
            value = getattr(node, "value", None)
            if named and isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                yield value.value, node.lineno


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
