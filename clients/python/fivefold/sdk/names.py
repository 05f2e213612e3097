"""Resource names, short or long: "churn" and "models/churn" are the same model, "churn/3" its third version.

Only the form is completed here; the services check the rest.
"""

from dataclasses import dataclass
from shlex import quote

from fivefold.sdk.errors import InvalidArgument


def full(collection: str, name: str) -> str:
    """Returns "models/churn" for "churn" or "models/churn". Raises InvalidArgument for an empty name."""
    if not isinstance(name, str) or not name:
        raise _invalid(name, f"{collection}/NAME or NAME")
    return name if name.startswith(f"{collection}/") else f"{collection}/{name}"


def version(name: str, number: int | None = None) -> str:
    """Returns "models/churn/versions/3" for that itself, for "churn/3", "models/churn/3" and ("churn", 3).

    Raises InvalidArgument when no version is named.
    """
    if number is not None:
        return f"{full('models', name)}/versions/{number}"
    text = name.removeprefix("models/") if isinstance(name, str) else ""
    model, _, rest = text.partition("/")
    last = rest.removeprefix("versions/")
    if not model or not last.isascii() or not last.isdigit():
        raise _invalid(name, "models/MODEL/versions/NUMBER or MODEL/NUMBER")
    return f"models/{model}/versions/{last}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A version as it was named: by exactly one of number, alias and stage. `stage` may be "latest", too."""

    model: str
    number: int | None = None
    alias: str = ""
    stage: str = ""


def reference(name: str, number: int | None = None) -> Reference:
    """Reads "churn/3", "churn@champion", "churn/Production" or "churn/latest", and their full forms, such as
    "models/churn/versions/3", "models/churn/aliases/champion" and MLflow's "models:/churn@champion".

    Raises InvalidArgument when no version is named.
    """
    if number is not None:
        return Reference(full("models", name), number=number)
    text = name.removeprefix("models:/").removeprefix("models/") if isinstance(name, str) else ""
    model, slash, rest = text.partition("/")
    if rest.startswith("aliases/") and model:
        return Reference(f"models/{model}", alias=rest.removeprefix("aliases/"))
    if model and rest:
        last = rest.removeprefix("versions/")
        if last.isascii() and last.isdigit():
            return Reference(f"models/{model}", number=int(last))
        if last == rest:
            return Reference(f"models/{model}", stage=rest)
    model, _, alias = text.rpartition("@")
    if not slash and model and alias:
        return Reference(f"models/{model}", alias=alias)
    hint = f"see its versions with `fivefold models versions {quote(text)}`" if text and not slash else ""
    raise _invalid(name, "MODEL/NUMBER, MODEL@ALIAS or MODEL/STAGE", hint)


def below(collection: str, name: str) -> str:
    """Returns "models/churn/versions/3/requests/7" for that itself and for "churn/3/7". Raises InvalidArgument."""
    parts = name.removeprefix("models/").split("/") if isinstance(name, str) else []
    if len(parts) == 5 and parts[1] == "versions" and parts[3] == collection:
        parts = parts[::2]
    if len(parts) != 3 or not all(parts) or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        raise _invalid(name, f"models/MODEL/versions/NUMBER/{collection}/NUMBER or MODEL/NUMBER/NUMBER")
    return f"models/{parts[0]}/versions/{parts[1]}/{collection}/{parts[2]}"


def short(name: str) -> str:
    """Returns what people type: "churn" for "models/churn", "churn/3" for "models/churn/versions/3"."""
    return "/".join(name.split("/")[1::2])


def word(name: str) -> str:
    """Returns what people type in a shell, in quotes where it needs them."""
    return quote(short(name))


def _invalid(name: object, expected: str, hint: str = "") -> InvalidArgument:
    message = f"name is {name!r}; it must be {expected}"
    return InvalidArgument(message, reason="NAME_INVALID", facts={"name": str(name)}, hint=hint)
