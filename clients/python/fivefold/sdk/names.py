"""Resource names, short or long: "churn" and "models/churn" are the same model, "churn/3" its third version.

Only the form is completed here; the services check the rest.
"""

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


def model_or_version(name: str) -> str:
    """Returns the full name of a model ("churn") or of a version ("churn/3")."""
    return version(name) if "/" in name.removeprefix("models/") else full("models", name)


def short(name: str) -> str:
    """Returns what people type: "churn" for "models/churn", "churn/3" for "models/churn/versions/3"."""
    return "/".join(name.split("/")[1::2])


def _invalid(name: object, expected: str) -> InvalidArgument:
    return InvalidArgument(f"name is {name!r}; it must be {expected}", reason="NAME_INVALID", facts={"name": str(name)})
