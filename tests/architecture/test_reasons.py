"""The stable reasons of errors: the contract, the code and the tests name the same ones."""

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.contracts import Contracts
from tests.architecture.tree import Module, all_modules


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


@pytest.mark.last
@pytest.mark.slow
def test_every_reason_in_the_contract_was_raised_in_this_run(
    request: pytest.FixtureRequest, contracts: Contracts, raised: set[str]
) -> None:
    if request.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        pytest.skip("only a run of all tests can say")
    assert not contracts.reasons() - raised, f"no test provokes these reasons: {sorted(contracts.reasons() - raised)}"


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
