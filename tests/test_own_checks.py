"""Own checks: what each line says of an answer, what is said of lines that can't be read, and that none takes for ever."""

import time
from typing import Any

import pytest

from workbench.evaluating.own_checks import KINDS, LINES, first_number, parse
from workbench.evaluating.patterns import LIMIT_S, MOST_COPIES, compiled, copies, found
from workbench.evaluating.schemas import KNOWN, LIMITS, NAMED, ONE, PLAIN, SEVERAL, read_schema
from workbench.problems import UserError


def held(line: str, answer: str, reference: str = "") -> float | None:
    """What the only check of the line says."""
    (check,) = parse(line)
    return check.score(answer, reference)


@pytest.mark.parametrize(
    ("line", "yes", "no"),
    [
        ("contains Nova", "I am NOVA.", "I am new."),
        ("contains made by  us", "Made\nby us!", "made us"),
        ("contains 北京", "我在北京。", "我在上海。"),
        ("contains ABC", "ａｂｃ", "acb"),
        ("not_contains as an AI", "I am Nova.", "As an AI, I can't."),
        ("equals Yes.", " Yes.\n", "yes."),
        ("equals a b", "a  b", "a b c"),
        ("regex ^\\d{4}-\\d\\d$", "2024-05", "24-05"),
        ("regex (?i)nova|新星", "我是新星", "我是谁"),
        ("number 1..10", "There are 7.", "There are 70."),
        ("number -5..-1", "It is -3 °C", "It is 3-4"),
        ("number 0..", "1,234.5", "none at all"),
        ("number ..2.5", "２.5", "2.51"),
        ("number 3 .. 3", "3.0 exactly", "3.01"),
        ("number 1000..3000", "2e3", "2"),
        ("json_schema {}", "[1]", "[1"),
        ('json_schema {"type": "object", "required": ["name"]}', '{"name": 1}', '{"nam": 1}'),
        ('json_schema {"type": "number"}', "1", "NaN"),
    ],
)
def test_a_line_holds_of_one_answer_and_not_of_another(line: str, yes: str, no: str) -> None:
    assert (held(line, yes), held(line, no)) == (1.0, 0.0)
    assert held(line, "") == (1.0 if line.startswith("not_contains") else 0.0)


def test_equals_alone_means_the_sets_own_answer() -> None:
    assert held("equals", " A cat.", "A cat.") == 1.0
    assert held("equals", "A dog.", "A cat.") == 0.0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3-5", 3), ("-3", -3), ("x-3", 3), ("a - 3", 3), ("−3", -3), ("1,234,567", 1234567), ("1,23", 1),
        (".5 of it", 0.5), ("v1.5", 1.5), ("二 2 三", 2), ("5e", 5), ("none", None), ("", None), ("1.", 1),
    ],
)  # fmt: skip
def test_the_first_number_of_a_text(text: str, number: float | None) -> None:
    assert first_number(text) == number


def test_every_kind_of_check_is_told_and_tried() -> None:
    assert all(kind in LINES for kind in KINDS)
    assert len(KINDS) == 6


def test_lines_become_checks_with_names_of_their_own() -> None:
    long = "contains " + "word " * 30
    checks = parse(f"\n# a note\n  contains Nova  \n{long}a\n{long}b\nequals\n")
    assert [one.name for one in checks[:1] + checks[3:]] == ["contains Nova", "equals"]
    names = [one.name for one in checks]
    assert len(set(names)) == 4 and all(len(name) <= 64 for name in names)
    assert names[2] == f"{names[1]} #2" and names[1].endswith("…")
    assert [one.name for one in parse(["contains a", "", "contains b"])] == ["contains a", "contains b"]
    assert parse("") == parse([]) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("holds Nova", "'holds Nova' is no check. Accepted: contains TEXT"),
        ("Contains Nova", "'Contains Nova' is no check"),
        ("contains", "'contains' stands alone. Accepted: 'contains' and what it looks for"),
        ("number", "'number' stands alone"),
        ("number 5", "'5' is no range of numbers. Accepted: such as 1..10"),
        ("number ..", "'..' is no range"),
        ("number a..b", "'a..b' is no range"),
        ("number 1..inf", "'1..inf' is no range"),
        ("number 1..2..3", "'1..2..3' is no range"),
        ("number 9..1", "The range 9..1 begins above its end"),
        ("regex [a-", "The pattern '[a-' can't be read: "),
        ("regex " + "a" * 1001, "The pattern has 1001 characters. Accepted: at most 1000"),
        ("regex ((a{1000}){1000}){1000}", "repeats parts 1001001000 times in all. Accepted: at most 10000"),
        ("json_schema {", "The schema is no JSON: "),
        ("json_schema [1]", "'[1]' is no schema. Accepted: a JSON object"),
        ('json_schema {"typ": "object"}', "The schema's keyword 'typ' is not known. Accepted: type, "),
        ('json_schema {"type": "text"}', "The schema's 'type' can't be \"text\". Accepted: object, array"),
        ('json_schema {"properties": {"a": {"minimum": "1"}}}', "The schema's 'minimum' can't be \"1\""),
        ('json_schema {"anyOf": []}', "The schema's 'anyOf' can't be []"),
        ('json_schema {"items": [{}]}', "The schema's 'items' can't be [{}]"),
        ('json_schema {"pattern": "("}', "The pattern '(' can't be read"),
        ('json_schema {"$ref": "#/$defs/a"}', "The schema has no part '#/$defs/a'"),
        ('json_schema {"$ref": "https://example.com/a.json"}', "The schema has no part 'https://example.com/a.json'"),
        ('json_schema {"default": {"pattern": "a"}, "$ref": "#/default"}', "The schema has no part '#/default'"),
        ('json_schema {"not": 1}', "The schema's 'not' can't be 1"),
        ("json_schema " + '{"not": ' * 70 + "{}" + "}" * 70, "more than 60 deep"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(["equals", line], "own_checks")
    (problem,) = caught.value.problems
    assert problem.key == "own_checks"
    assert str(problem.message).startswith("Line 2: ") and said in str(problem.message)


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse("contains a\nnumber x\ncontains a\nregex (\n")
    assert [str(one.message)[:6] for one in caught.value.problems] == ["Line 2", "Line 3", "Line 4"]
    with pytest.raises(UserError, match="51 checks are given. Accepted: at most 50"):
        parse([f"contains {number}" for number in range(51)])


def test_a_pattern_that_would_take_for_ever_is_given_up_and_said() -> None:
    (check,) = parse("regex (a|aa)+$")
    started = time.monotonic()
    assert check.score("a" * 70 + "b") is None
    assert time.monotonic() - started < 20 * LIMIT_S
    assert check.score("caa") == 1.0
    assert str(check.slow(3)).startswith("'regex (a|aa)+$' took longer than 0.2 s on 3 answers")
    schema = read_schema('{"properties": {"a": {"pattern": "(a|aa)+$"}}}')
    assert schema.hold({"a": "a" * 70 + "b"}) is None and schema.hold({"a": "aa"}) is True


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("abc", 3),
        ("a{5}", 5),
        ("(ab){3}", 9),
        ("(a{10}){10}", 110),
        (r"\{9999\}x{2}", 8),
        ("[^{9}]{4}", 4),
        ("a{2,}b{,3}", 5),
    ],
)
def test_copies_are_counted_before_they_are_made(pattern: str, count: int) -> None:
    assert copies(pattern) == count


def test_a_pattern_of_the_largest_size_is_made_ready_at_once() -> None:
    started = time.monotonic()
    pattern = "((a{21}){21}){21}"
    assert MOST_COPIES * 0.9 < copies(pattern) <= MOST_COPIES
    assert found(compiled(pattern), "a" * 21**3) is True
    assert time.monotonic() - started < 2


ADDRESS = """{"$defs": {"street": {"type": "string", "minLength": 2}}, "type": "object", "additionalProperties": false,
 "properties": {"street": {"$ref": "#/$defs/street"}, "inside": {"$ref": "#"}, "tags": {"items": {"enum": ["a", 1]},
 "uniqueItems": true, "maxItems": 2}}}"""


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ('{"type": "integer"}', [1, 2.0, -3], [1.5, True, "1", None, 1e999]),
        ('{"type": ["number", "null"]}', [1.5, None], [False, "x", []]),
        ('{"type": "array"}', [[], [1]], [{}, "[]"]),
        ('{"type": "boolean"}', [True], [1, 0]),
        ('{"const": 1}', [1, 1.0], [True, "1"]),
        ('{"enum": ["a", null, [1]]}', ["a", None, [1.0]], [[True], [], "b"]),
        ('{"minimum": 1, "exclusiveMaximum": 3}', [1, 2.9, "text", True], [0.9, 3]),
        ('{"exclusiveMinimum": 1, "maximum": 3}', [1.1, 3], [1, 3.1]),
        ('{"minLength": 2, "maxLength": 3}', ["你好", "abc", 1], ["a", "abcd"]),
        ('{"pattern": "^a.c$"}', ["abc", 5], ["xabc"]),
        ('{"minItems": 1, "maxItems": 2}', [[1], [1, 2], {}], [[], [1, 2, 3]]),
        ('{"uniqueItems": true}', [[1, True, "1"], []], [[1, 1.0], [{"a": 1}, {"a": 1}]]),
        ('{"minProperties": 1, "maxProperties": 1}', [{"a": 1}, []], [{}, {"a": 1, "b": 2}]),
        ('{"required": ["a"]}', [{"a": None}, [], 1], [{}]),
        ('{"properties": {"a": {"type": "string"}}}', [{}, {"a": "x", "b": 1}], [{"a": 1}]),
        ('{"properties": {"a": {}}, "additionalProperties": {"type": "null"}}', [{"a": 1, "b": None}], [{"b": 1}]),
        ('{"items": {"type": "string"}}', [["a"], []], [["a", 1]]),
        ('{"anyOf": [{"type": "string"}, {"minimum": 3}]}', ["a", 4], [1]),
        ('{"oneOf": [{"type": "integer"}, {"minimum": 3}]}', [1, 3.5], [4, 1.5]),
        ('{"allOf": [{"type": "integer"}, {"minimum": 3}]}', [4], [2, 3.5]),
        ('{"not": {"type": "null"}}', [0, ""], [None]),
        ('{"title": "x", "format": "date", "description": "y"}', ["no date", 1], []),
        ("true", [1, None], []),
        ("false", [], [1, None]),
        (
            ADDRESS,
            [{"street": "Hof", "inside": {"tags": ["a", 1]}}],
            [{"street": "x"}, {"inside": {"x": 1}}, {"tags": ["a", "a"]}],
        ),
    ],
)
def test_a_schema_holds_of_what_it_describes(schema: str, right: list[Any], wrong: list[Any]) -> None:
    rules = read_schema(schema)
    assert [rules.hold(one) for one in right] == [True] * len(right)
    assert [rules.hold(one) for one in wrong] == [False] * len(wrong)


def test_a_schema_that_means_itself_is_given_up() -> None:
    assert read_schema('{"$ref": "#"}').hold(1) is None
    assert read_schema('{"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}').hold(1) is None


def test_every_keyword_belongs_to_one_kind() -> None:
    assert len(set(KNOWN)) == len(KNOWN) == len(PLAIN) + len(LIMITS) + len(ONE) + len(SEVERAL) + len(NAMED)
