"""What a model's owner calls the stages. A name is only a name: rules and rights are those of the stage. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fivefold_registry.lifecycle import Stage
from fivefold_runtime.errors import InvalidArgument

_FIELD = "model.policy.stage_names"


class StageNameInvalid(InvalidArgument):
    """Two names for a stage, one name for two, or a name that another stage has anyway."""

    reason = "FIELD_INVALID"


def checked(names: Iterable[tuple[Stage, str]]) -> Mapping[Stage, str]:
    """Returns the own names by stage. Raises StageNameInvalid when one could be taken for another stage."""
    standard = {stage.casefold(): stage for stage in Stage}
    found: dict[Stage, str] = {}
    taken: dict[str, Stage] = {}
    for stage, name in names:
        folded = name.casefold()
        if stage in found:
            raise StageNameInvalid.at(_FIELD, f"has two names for {stage}", stage=stage)
        if name != name.strip() or not name.isprintable():
            raise StageNameInvalid.at(
                _FIELD, f"has {name!r}; a name has no control characters and no spaces at its ends", value=name
            )
        if standard.get(folded, stage) is not stage:
            raise StageNameInvalid.at(
                _FIELD, f"calls {stage} {name!r}, which is another stage", stage=stage, value=name
            )
        if folded in taken:
            raise StageNameInvalid.at(_FIELD, f"calls {taken[folded]} and {stage} {name!r}", stage=stage, value=name)
        found[stage] = name
        taken[folded] = stage
    return found


def called(names: Mapping[Stage, str], stage: Stage) -> str:
    """Returns the own name of a stage, or its standard one."""
    return names.get(stage, stage.value)
