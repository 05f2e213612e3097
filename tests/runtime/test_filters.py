"""The language of filters and orders: MLflow's in full, and OR, NOT, parentheses; every mistake is shown with its place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold_runtime.errors import parse as parse_status
from fivefold_runtime.filters import And, Comparison, Field, FilterInvalid, Group, Kind, Operator, Or, Presence, Schema
from fivefold_runtime.filters.tree import OrderKey, Value

RUNS = Schema(
    Group(("metrics", "metric"), Kind.NUMBER),
    Group(("params", "param", "parameter", "parameters"), Kind.EITHER),
    Group(("tags", "tag"), Kind.TEXT),
    Group(
        ("attributes", "attribute", "attr", "run"),
        fields={"run_id": Kind.TEXT, "run_name": Kind.TEXT, "start_time": Kind.TIME},
        others={"Created": "start_time", "run name": "run_name"},
    ),
    Group(("datasets", "dataset"), fields={"name": Kind.TEXT}),
    bare="attributes",
    unordered=("datasets",),
)


def compared(group: str, key: str, operator: str, *values: Value, negated: bool = False) -> Comparison:
    return Comparison(Field(group, key), Operator(operator), values, negated)


A, B, C = (compared("metrics", key, ">", 1) for key in "abc")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None),
        (" \n", None),
        ("metrics.x > 0.5", compared("metrics", "x", ">", 0.5)),
        ("metric.x>=-1e-3", compared("metrics", "x", ">=", -1e-3)),
        ("metrics.x < .5", compared("metrics", "x", "<", 0.5)),
        ("metrics.x != 1", compared("metrics", "x", "!=", 1)),
        ("metrics.x IN (1, 2.5)", compared("metrics", "x", "IN", 1, 2.5)),
        ("`metrics`.`x y` <= 1", compared("metrics", "x y", "<=", 1)),
        ("params.x = 'a'", compared("params", "x", "=", "a")),
        ('param."a b" = "x"', compared("params", "a b", "=", "x")),
        ("parameter.'a b' = 'x'", compared("params", "a b", "=", "x")),
        ("parameters.`a.\"b` = ''", compared("params", 'a."b', "=", "")),
        ("params.a.b = 'x'", compared("params", "a.b", "=", "x")),
        ("params.a/b-c:d = 'x'", compared("params", "a/b-c:d", "=", "x")),
        ("params.lr > 1e-4", compared("params", "lr", ">", 1e-4)),
        ("params.lr = 3", compared("params", "lr", "=", 3)),
        ("params.x = 'it''s'", compared("params", "x", "=", "it's")),
        ("params.x = 'it\\'s'", compared("params", "x", "=", "it's")),
        ('params.x = "say ""hi"""', compared("params", "x", "=", 'say "hi"')),
        ("params.x = 'C:\\temp\\new'", compared("params", "x", "=", "C:\\temp\\new")),
        ("params.x = 'a OR b'", compared("params", "x", "=", "a OR b")),
        ("params.in = 'x'", compared("params", "in", "=", "x")),
        ("params.and = 'x'", compared("params", "and", "=", "x")),
        ("tag.mlflow.user LIKE 'a%'", compared("tags", "mlflow.user", "LIKE", "a%")),
        ("tags.x ilike '%A_'", compared("tags", "x", "ILIKE", "%A_")),
        ("tags.`schlüssel` = 'ü'", compared("tags", "schlüssel", "=", "ü")),
        ("tags.x IS NULL", Presence(Field("tags", "x"), False)),
        ("tags.x is  not\nnull", Presence(Field("tags", "x"), True)),
        ("run_id = 'a'", compared("attributes", "run_id", "=", "a")),
        ("attr.run_id IN ('a', \"b\")", compared("attributes", "run_id", "IN", "a", "b")),
        ("attributes.run_id not in ('a',)", compared("attributes", "run_id", "NOT IN", "a")),
        ("run.run_name = 'x'", compared("attributes", "run_name", "=", "x")),
        ("`run name` = 'x'", compared("attributes", "run_name", "=", "x")),
        ("Created > 5", compared("attributes", "start_time", ">", 5999)),
        ("start_time <= 5", compared("attributes", "start_time", "<=", 5999)),
        ("start_time >= 5", compared("attributes", "start_time", ">=", 5000)),
        ("NOT start_time < 5", compared("attributes", "start_time", "<", 5000, negated=True)),
        (
            "start_time = 5",
            And((compared("attributes", "start_time", ">=", 5000), compared("attributes", "start_time", "<=", 5999))),
        ),
        (
            "start_time != 5",
            Or((compared("attributes", "start_time", "<", 5000), compared("attributes", "start_time", ">", 5999))),
        ),
        (
            "NOT start_time = 5",
            Or((compared("attributes", "start_time", "<", 5000), compared("attributes", "start_time", ">", 5999))),
        ),
        ("start_time > 1.5", compared("attributes", "start_time", ">", 1500)),
        ("start_time >= '1970-01-02'", compared("attributes", "start_time", ">=", 86_400_000_000)),
        ("start_time < '1970-01-01T01:00:00+01:00'", compared("attributes", "start_time", "<", 0)),
        ("dataset.name LIKE '%x%'", compared("datasets", "name", "LIKE", "%x%")),
        ("metrics.a > 1 AND metrics.b > 1 and metrics.c > 1", And((A, B, C))),
        ("metrics.a > 1 OR metrics.b > 1 and metrics.c > 1", Or((A, And((B, C))))),
        ("(metrics.a > 1 OR metrics.b > 1) AND (metrics.c > 1)", And((Or((A, B)), C))),
        ("NOT metrics.a > 1", compared("metrics", "a", ">", 1, negated=True)),
        ("not not metrics.a > 1", A),
        ("NOT tags.x IS NULL", Presence(Field("tags", "x"), True)),
        (
            "NOT (metrics.a > 1 OR NOT metrics.b > 1 AND tags.x IS NULL)",
            And((compared("metrics", "a", ">", 1, negated=True), Or((B, Presence(Field("tags", "x"), True))))),
        ),
    ],
)
def test_a_filter_is_read_as_it_is_meant(text: str, meaning: object) -> None:
    assert RUNS.parse(text) == meaning


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("metrics.x ~ 1", 10, "a comparator"),
        ("metrics.x == 1", 10, "a comparator"),
        ("metrics.x <> 1", 10, "a comparator"),
        ("metrics.x = NaN", 12, "a number"),
        ("metrics.x = 1and metrics.y = 2", 12, "a number"),
        ("metrics.x > 1 AND", 17, "a field"),
        ("AND metrics.x > 1", 0, "a field"),
        ("metrics.x > 1 metrics.y > 1", 14, "AND, OR or the end"),
        ("metrics.x > 1; DROP TABLE runs", 13, "AND, OR or the end"),
        ("metrics.x > 1 -- and", 14, "AND, OR or the end"),
        ("metrics.x > 1)", 13, "the end"),
        ("(metrics.x > 1", 14, "')'"),
        ("()", 1, "a field"),
        ("metrics.x", 9, "a comparator"),
        ("metrics.x >", 11, "a number"),
        ("1 < metrics.x", 0, "a field"),
        ("metrics.x > 'a'", 12, "a number"),
        ("metrics.x LIKE 'a'", 15, "a number"),
        ("tags.x = 5", 9, "text in quotes"),
        ("tags.x > 'a'", 7, "=, !=, LIKE, ILIKE, IN or NOT IN"),
        ("params.x > '3'", 9, "=, !=, LIKE, ILIKE, IN or NOT IN"),
        ("params.x LIKE 3", 14, "text in quotes"),
        ("params.x = a", 11, "text in quotes"),
        ("params.x = 'abc", 11, "text in quotes"),
        ("params.`x = 'abc'", 6, "a comparator"),
        ("params.x IN ()", 13, "text in quotes"),
        ("params.x IN ('a' 'b')", 17, "',' or ')'"),
        ("params.x IN ('a', 3)", 13, ""),
        ("params.x IS 3", 12, "NOT or NULL"),
        ("params.`` = 'a'", 7, "a key"),
        ("metrics = 1", 0, "run_id, run_name or start_time"),
        ("run.color = 'red'", 4, "run_id, run_name or start_time"),
        ("color.x = 'red'", 0, "metrics., params., tags., attributes. or datasets."),
        ("METRICS.x = 1", 0, "metrics., params., tags., attributes. or datasets."),
        ("datasets.x = 'a'", 9, "name"),
        ("start_time > 'noon'", 13, "milliseconds since 1970"),
        ("start_time LIKE '2026%'", 11, "=, !=, <, <=, > or >="),
        ("tags.x = 'a\0'", 11, ""),
        ("tags.日本 = '日本' OR !", 18, "a field"),
        ("NOT " * 33 + "metrics.x > 1", 132, ""),
        ("metrics.x > 1 OR " * 200 + "metrics.y > 1", 3400, ""),
        (f"metrics.x IN (1{',1' * 2300})", 0, ""),
        ("x" * 65_537, 65_536, "the end"),
    ],
)
def test_a_mistake_is_shown_with_its_place_and_what_may_stand_there(text: str, position: int, expected: str) -> None:
    with pytest.raises(FilterInvalid) as caught:
        RUNS.parse(text)

    facts = caught.value.facts
    assert (facts["field"], facts["position"]) == ("filter", str(position))
    assert expected in facts["expected"], facts
    assert caught.value.fields[0].field == "filter"


def test_the_message_shows_the_filter_with_a_caret_under_the_mistake() -> None:
    with pytest.raises(FilterInvalid) as caught:
        RUNS.parse("metrics.auc > 0.5 AMD params.x = 'a'")

    assert caught.value.status().message == (
        "filter: 'AMD' cannot stand here; expected AND, OR or the end, at character 19\n"
        "  metrics.auc > 0.5 AMD params.x = 'a'\n"
        "                    ^"
    )


def test_the_caret_stands_right_in_a_long_filter_with_wide_letters_and_line_ends() -> None:
    with pytest.raises(FilterInvalid) as caught:
        RUNS.parse("tags.a = '" + "x" * 100 + "'\nAND tags.`日本` = 5 AND tags.b = '" + "y" * 100 + "'")

    _, shown, caret = caught.value.status().message.split("\n")
    before = shown[: shown.index("5 AND")]
    assert len(caret) == len(before) + 2 + 1  # two of the letters before it are two columns wide
    assert shown.startswith("  …xxx") and shown.endswith("yyy…")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", []),
        ("metrics.x", [("metrics", "x", False)]),
        ("metrics.x desc", [("metrics", "x", True)]),
        ("metrics.desc", [("metrics", "desc", False)]),
        ("metrics.`a b` ASC,start_time  DESC", [("metrics", "a b", False), ("attributes", "start_time", True)]),
        ('params."a,b" desc, Created', [("params", "a,b", True), ("attributes", "start_time", False)]),
        ("tags.x, metrics.x, params.x", [("tags", "x", False), ("metrics", "x", False), ("params", "x", False)]),
    ],
)
def test_an_order_is_read_as_it_is_meant(text: str, keys: list[tuple[str, str, bool]]) -> None:
    assert RUNS.parse_order(text) == tuple(OrderKey(Field(group, key), down) for group, key, down in keys)


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("metrics.a b", 10, "',', ASC, DESC or the end"),
        ("metrics.a desc,", 15, "a field"),
        ("metrics.a down", 10, "',', ASC, DESC or the end"),
        ("metrics.a, metric.a desc", 11, ""),
        ("datasets.name", 0, "metrics, params, tags or attributes"),
        ("color", 0, "run_id, run_name or start_time"),
        (", ".join(f"metrics.m{index}" for index in range(17)), 198, ""),
    ],
)
def test_a_mistake_in_an_order_is_shown_with_its_place(text: str, position: int, expected: str) -> None:
    with pytest.raises(FilterInvalid) as caught:
        RUNS.parse_order(text)

    facts = caught.value.facts
    assert (facts["field"], facts["position"]) == ("order_by", str(position))
    assert expected in facts["expected"], facts


words = st.sampled_from(
    ["metrics.a", "params.`b c`", 'tags."x"', "start_time", "=", "!=", "<", ">=", "LIKE", "IN", "NOT", "AND", "or", "is",
     "null", "(", ")", ",", "1", "-.5e3", "'x'", '"', "'", "`", "''", "\\", "%", "desc", ";", "--", "\0", "\ud800", "é", "  "]
)  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80), st.lists(words, max_size=30).map(" ".join), st.lists(words, max_size=30).map("".join)
    )
)
def test_any_text_is_a_filter_or_a_typed_mistake_with_a_place(text: str) -> None:
    for read in (RUNS.parse, RUNS.parse_order):
        try:
            read(text)
        except FilterInvalid as error:
            assert 0 <= int(error.facts["position"]) <= len(text)
            assert error.status().ByteSize() < 8192


@pytest.mark.parametrize(
    "text", ["(" * 30_000, "NOT " * 16_000, "'" * 65_535, "metrics.a > 1 AND " * 3600, "'\\'" * 20_000, "`" * 65_535]
)  # fmt: skip
def test_a_hostile_filter_is_refused_like_any_other(text: str) -> None:
    for filter in (text, f"params.x = {text}", f"metrics.x > {text}", f"params.x IN ({text}"):
        with pytest.raises(FilterInvalid):
            RUNS.parse(filter)


def test_values_that_a_filter_quotes_come_back_as_they_were() -> None:
    @given(st.text(alphabet=st.characters(exclude_characters="\0\\", exclude_categories=["Cs"])))
    def check(value: str) -> None:
        for quote in "'\"":
            quoted = quote + value.replace(quote, quote * 2) + quote
            assert RUNS.parse(f"params.x = {quoted}") == compared("params", "x", "=", value)

    check()


def test_the_facts_leave_with_the_status() -> None:
    class Failed:
        def __init__(self, error: FilterInvalid) -> None:
            self.trailing_metadata = error.trailers

    with pytest.raises(FilterInvalid) as caught:
        RUNS.parse("metrics.x > ")

    reason, facts = parse_status(Failed(caught.value))
    assert (reason, facts["position"], facts["found"]) == ("FILTER_INVALID", "12", "the end")
