"""One declaration per field: what follows from it, how values come in as text, and how wrong ones are told."""

import math
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError

from workbench.fields import Knob, Section, Ui, plain, problems_of, read_value, section_knobs
from workbench.problems import first_line
from workbench.text import ENGLISH, Locale


class Oven(Section):
    """Oven
    and what goes in."""

    heat: Annotated[float, Field(gt=0, lt=1), Ui("Heat", simple=True)] = 2e-4
    """How hot. Usual: 1e-4
    to 1e-3."""
    trays: Annotated[int, Field(ge=1, le=8), Ui("Trays")] = 4
    """How many."""
    minutes: Annotated[int | None, Field(ge=1), Ui("Minutes")] = None
    """How long. Empty: until done."""
    fan: Annotated[bool, Ui("Fan")] = False
    """Whether air moves."""
    mode: Annotated[Literal["top", "bottom"], Ui("Mode")] = "top"
    """Which heater."""
    name: Annotated[str, Ui("Name")] = ""
    """What it is called."""
    shelves: Annotated[list[str], Field(max_length=2), Ui("Shelves")] = []
    """Which shelves."""
    notes: Annotated[list[str], Ui("Notes", widget="lines")] = []
    """What to remember."""
    labels: Annotated[dict[str, str], Ui("Labels")] = {}
    """Names of things."""


KNOBS = {knob.key: knob for knob in section_knobs(Oven, "oven")}


def accepted(key: str) -> str:
    return ENGLISH(KNOBS[key].accepted())


def test_a_knob_says_all_that_a_form_needs() -> None:
    heat = KNOBS["heat"]
    assert heat == Knob(
        "heat", "oven", None, "Oven", Ui("Heat", simple=True), "How hot. Usual: 1e-4 to 1e-3.", "float", False, 2e-4,
        (), 0, 1, True, True,
    )  # fmt: skip
    kinds = {key: (knob.kind, knob.optional, knob.choices) for key, knob in KNOBS.items() if key != "heat"}
    assert kinds == {
        "trays": ("int", False, ()),
        "minutes": ("int", True, ()),
        "fan": ("bool", False, ()),
        "mode": ("choice", False, ("top", "bottom")),
        "name": ("str", False, ()),
        "shelves": ("list", False, ()),
        "notes": ("list", False, ()),
        "labels": ("dict", False, ()),
    }


def test_what_is_accepted_is_said_in_words() -> None:
    assert accepted("heat") == "a number above 0 and below 1"
    assert accepted("trays") == "a whole number of at least 1 and of at most 8"
    assert accepted("minutes") == "a whole number of at least 1, or nothing"
    assert accepted("fan") == "true or false"
    assert accepted("mode") == "one of top, bottom"
    assert accepted("shelves") == "names separated by commas"
    assert accepted("notes") == "text, one line for each"


def test_a_label_is_the_translators() -> None:
    chinese = Locale("zh", {"fields.heat.label": "火力", "fields.heat.help": "多热。"})
    assert KNOBS["heat"].label(chinese) == "火力"
    assert KNOBS["heat"].sentence(chinese) == "多热。"
    assert KNOBS["trays"].label(chinese) == "Trays"
    assert "火力 is 'x'" in chinese(KNOBS["heat"].invalid("x").message)


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("heat", " 2e-4 ", "2e-4"),
        ("heat", 0.5, 0.5),
        ("heat", "", "nothing"),
        ("heat", True, "true"),
        ("trays", True, "true"),
        ("trays", None, None),
        ("minutes", "", None),
        ("minutes", " None ", None),
        ("minutes", "null", None),
        ("minutes", "7", "7"),
        ("name", 5, "5"),
        ("name", 5.5, "5.5"),
        ("name", "  x ", "x"),
        ("name", "none", "none"),
        ("name", True, True),
        ("shelves", "a, b ,,c", ["a", "b", "c"]),
        ("shelves", "身份，闲聊", ["身份", "闲聊"]),
        ("shelves", 2024, ["2024"]),
        ("shelves", [2024, " a", ""], ["2024", "a"]),
        ("shelves", None, []),
        ("shelves", "", []),
        ("shelves", [["a"]], [["a"]]),
        ("shelves", {"a": 1}, {"a": 1}),
        ("notes", "Who, me?\n\n Yes \n", ["Who, me?", "Yes"]),
        ("labels", "", {}),
        ("labels", None, {}),
        ("labels", '{"a": "b", "c": 1}', {"a": "b", "c": "1"}),
        ("labels", {"a": 5, "b": " x ", "c": True}, {"a": "5", "b": "x", "c": True}),
        ("labels", "a=b", "a=b"),
        ("labels", "[1]", [1]),
        ("fan", "yes", "yes"),
    ],
)
def test_a_value_is_brought_nearer_to_its_type(key: str, given: Any, value: Any) -> None:
    read = read_value(KNOBS[key], given)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2e-4, "2e-4"), (5e-5, "5e-5"), (0.0002, "2e-4"), (0.1, "0.1"), (0.001, "0.001"), (1.0, "1"), (0.0, "0"), (3, "3"),
        (12345678.0, "1.234568e7"), (1e9, "1e9"), (-0.5, "-0.5"), (math.inf, "inf"), (math.nan, "nan"), (True, "true"),
        (False, "false"), (None, ""), (["a", 1, 0.5], "a, 1, 0.5"), ({"a": "身"}, '{"a": "身"}'), ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 77 + "..."), ("", ""),
    ],
)  # fmt: skip
def test_a_value_is_shown_as_a_person_writes_it(value: Any, text: str) -> None:
    assert plain(value) == text


def test_every_wrong_value_is_told_once_beside_its_field() -> None:
    class House(Section):
        oven: Oven = Oven()

    given: dict[str, Any] = {
        "heat": "abc", "trays": 9, "fan": "maybe", "mode": "left", "shelves": ["a", "b", "c"], "labels": {"heat": [1], "x": [2]},
    }  # fmt: skip
    with pytest.raises(ValidationError) as caught:
        House.model_validate({"oven": given})
    problems = {problem.key: str(problem.message) for problem in problems_of(caught.value, KNOBS)}
    assert list(problems) == ["heat", "trays", "fan", "mode", "shelves", "labels"], "a name in a mapping is no field"
    assert problems["heat"] == "Heat is 'abc'. Accepted: a number above 0 and below 1. Enter, for example, 2e-4."
    assert problems["mode"] == "Mode is 'left'. Accepted: one of top, bottom. Enter, for example, top."
    assert "Enter, for example, nothing." in problems["shelves"]


def test_a_field_without_a_sentence_or_a_label_is_a_mistake_of_ours() -> None:
    class Silent(Section):
        heat: Annotated[float, Ui("Heat")] = 1.0

    class Nameless(Section):
        heat: float = 1.0
        """How hot."""

    for section in (Silent, Nameless):
        with pytest.raises(AssertionError, match="heat has no"):
            list(section_knobs(section, "oven"))


def test_an_error_without_words_says_its_kind() -> None:
    assert first_line(NotImplementedError()) == "NotImplementedError"
    assert first_line(ValueError("\n first\nsecond")) == "first"
    assert len(first_line(ValueError("x" * 900))) == 200
