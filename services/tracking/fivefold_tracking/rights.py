"""Which experiments of a request its caller may look into."""

from __future__ import annotations

from collections.abc import Iterable

from fivefold_runtime.policy import Authorizer
from fivefold_tracking import names


def readable(authorizer: Authorizer, experiments: Iterable[str]) -> list[int]:
    """Returns the numbers of those experiments that the caller may read, each once. Raises NameInvalid."""
    numbers = dict.fromkeys(names.experiment_number(name, "experiments") for name in experiments)
    return authorizer.visible(numbers, names.experiment_name)
