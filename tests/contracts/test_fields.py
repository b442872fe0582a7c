"""Fields: declared once, documented, with one meaning, and the same whichever way a value comes in."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.contracts.tree import ROOT
from workbench import generate
from workbench.fields import Knob, Section, plain, section_knobs
from workbench.sockets import plugins
from workbench.specs import Spec, read_flat, read_yaml

EVERY_KIND = generate.specs(generate.modules())
KINDS = [
    kind for at, kind in enumerate(EVERY_KIND) if not any(kind.knobs() == other.knobs() for other in EVERY_KIND[:at])
]
"""The kinds of specs; of several with the very same fields only the first."""
KNOBS = [pytest.param(kind, knob, id=f"{kind.JOB}-{knob.key}") for kind in KINDS for knob in kind.knobs().values()]
NUMBERS = [one for one in KNOBS if one.values[1].kind in ("int", "float")]
LEAST_KNOBS = 55
MEANS_NONE = {("max_steps", 0)}
"""Values below the range that tutorials write for 'none', and that are read so."""


def choices(kind: type[Spec]) -> Iterator[dict[str, Any]]:
    """Every combination of the kind's plugins, as flat values."""
    named = [[(key, name) for name in plugins(package)] for package, key in kind.CHOICES.values()]
    yield from (dict(combination) for combination in product(*named))


def chosen_for(kind: type[Spec], knob: Knob) -> dict[str, Any]:
    """The choice that makes the knob count."""
    return {kind.CHOICES[knob.place][1]: knob.plugin} if knob.plugin else {}


def declarations(kind: type[Spec]) -> Iterator[tuple[str, Knob]]:
    """Every declaration of a field, the same key as often as it is written: (key, knob)."""
    for place, info in kind.model_fields.items():
        if place not in kind.CHOICES:
            assert isinstance(info.annotation, type) and issubclass(info.annotation, Section)
            yield from ((knob.key, knob) for knob in section_knobs(info.annotation, place))
            continue
        for name, module in plugins(kind.CHOICES[place][0]).items():
            yield from ((knob.key, knob) for knob in section_knobs(module.Spec, place, name))


def meaning(knob: Knob) -> tuple[Any, ...]:
    """All of a declaration but where it stands."""
    return (knob.ui, knob.help, knob.kind, knob.optional, plain(knob.default), knob.choices,
            knob.low, knob.high, knob.low_open, knob.high_open)  # fmt: skip


def test_docs_fields_is_up_to_date() -> None:
    assert (ROOT / "docs/fields.md").read_text("utf-8") == generate.fields_page(), "run: python -m workbench.generate"
    assert len(KNOBS) >= LEAST_KNOBS
    assert {kind.JOB for kind in KINDS} >= {"train", "serve", "chat"}


def test_a_field_says_what_it_is() -> None:
    page = (ROOT / "docs/fields.md").read_text("utf-8")
    for knob in (one.values[1] for one in KNOBS):
        assert knob.ui.label and knob.ui.label[0].isupper() and not knob.ui.label.endswith("."), knob.key
        assert knob.help.endswith(".") and len(knob.help) >= 20, knob.key
        assert f"| `{knob.key}` |" in page


def test_one_key_has_one_meaning() -> None:
    meanings: dict[str, dict[tuple[Any, ...], str]] = defaultdict(dict)
    for kind in KINDS:
        for key, knob in declarations(kind):
            meanings[key][meaning(knob)] = f"{kind.JOB} {knob.section}"
    two = {key: list(found.values()) for key, found in meanings.items() if len(found) > 1}
    assert not two, "the same key is declared in different ways"


def test_labels_tell_fields_of_a_spec_apart() -> None:
    for kind in KINDS:
        for chosen in choices(kind):
            seen = [knob for knob in kind.knobs().values() if not knob.plugin or knob.plugin in chosen.values()]
            labels = [knob.ui.label for knob in seen]
            assert len(labels) == len(set(labels)), f"{kind.JOB}: {sorted(labels)}"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.JOB)
def test_every_choice_can_be_made_and_comes_back_whole(kind: type[Spec]) -> None:
    for chosen in choices(kind):
        reading = read_flat(kind, chosen)
        assert not reading.problems and not reading.warnings
        spec = reading.unwrap()
        for place, (package, key) in kind.CHOICES.items():
            assert isinstance(spec.__dict__[place], plugins(package)[chosen[key]].Spec)
        again = read_yaml(kind, spec.to_yaml())
        assert again.spec == spec and not again.warnings
        assert read_flat(kind, spec.flat()).spec == spec
        assert read_flat(kind, {key: plain(value) for key, value in chosen.items()}).spec == spec


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.JOB)
def test_plugins_of_a_choice_know_their_own_name(kind: type[Spec]) -> None:
    for package, key in kind.CHOICES.values():
        for name, module in plugins(package).items():
            assert module.Spec().__dict__[key] == name


@pytest.mark.parametrize(("kind", "knob"), KNOBS)
def test_a_default_passes_its_own_check_also_as_it_is_typed(kind: type[Spec], knob: Knob) -> None:
    typed = "\n".join(knob.default) if knob.ui.widget == "lines" else plain(knob.default)
    for given in (knob.default, typed):
        reading = read_flat(kind, {**chosen_for(kind, knob), knob.key: given})
        assert not reading.problems and not reading.warnings
        assert reading.unwrap().flat()[knob.key] == knob.default


@pytest.mark.parametrize(("kind", "knob"), NUMBERS)
def test_the_range_that_is_told_is_the_range_that_is_checked(kind: type[Spec], knob: Knob) -> None:
    step = 1 if knob.kind == "int" else 1e-9
    edges = [
        (knob.low, not knob.low_open),
        (knob.low is not None and knob.low - step, False),
        (knob.high, not knob.high_open),
        (knob.high is not None and knob.high + max(step, knob.high * 1e-9), False),
    ]
    for value, accepted in edges:
        if value is None or value is False or (knob.key, value) in MEANS_NONE:
            continue
        given = int(value) if knob.kind == "int" and value == int(value) else value
        problems = read_flat(kind, {**chosen_for(kind, knob), knob.key: given}).problems
        assert (not problems) is accepted, f"{knob.key} = {given}"
        assert all(problem.key == knob.key for problem in problems)


@pytest.mark.parametrize(("kind", "knob"), [one for one in KNOBS if one.values[1].choices])
def test_every_value_of_a_list_is_accepted_and_no_other(kind: type[Spec], knob: Knob) -> None:
    for value in knob.choices:
        assert not read_flat(kind, {**chosen_for(kind, knob), knob.key: value}).problems
    (problem,) = read_flat(kind, {**chosen_for(kind, knob), knob.key: "no such thing"}).problems
    assert problem.key == knob.key
    assert all(value in str(problem.message) for value in knob.choices)
