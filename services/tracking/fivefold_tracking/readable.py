"""Names for people, for runs that were given none: "brave-otter-417"."""

from __future__ import annotations

_ADJECTIVES = (
    "able", "amber", "apt", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "crisp", "curious", "daring",
    "deft", "eager", "fair", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "hardy", "honest",
    "jolly", "keen", "kind", "lively", "loyal", "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "placid",
    "plucky", "polite", "proud", "quick", "quiet", "rapid", "rare", "serene", "sharp", "silver", "sleek", "smooth",
    "snug", "spry", "steady", "stout", "sunny", "swift", "tidy", "tranquil", "upbeat", "vivid", "warm", "wise", "zesty",
)  # fmt: skip
_ANIMALS = (
    "ant", "badger", "bear", "beaver", "bee", "bison", "crane", "cricket", "crow", "deer", "dolphin", "dove", "duck",
    "eagle", "egret", "elk", "falcon", "ferret", "finch", "fox", "gecko", "goat", "goose", "hare", "hawk", "heron",
    "horse", "ibex", "jay", "koala", "lark", "lemur", "lion", "lizard", "llama", "lynx", "magpie", "marten", "mole",
    "moose", "moth", "newt", "orca", "osprey", "otter", "owl", "panda", "pigeon", "puffin", "quail", "rabbit", "raven",
    "robin", "salmon", "seal", "shrew", "sparrow", "stork", "swan", "tiger", "trout", "turtle", "whale", "wren",
)  # fmt: skip


def display_name(run: str) -> str:
    """Returns the name that belongs to a run's id: always the same, drawn from the id's random digits.

    run  32 hexadecimal digits
    """
    number = int(run[-12:], 16)
    number, adjective = divmod(number, len(_ADJECTIVES))
    number, animal = divmod(number, len(_ANIMALS))
    return f"{_ADJECTIVES[adjective]}-{_ANIMALS[animal]}-{number % 1000}"
