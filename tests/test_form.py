"""The form: every field has its component, every bad value is told beside its field, in the visitor's language."""

import gradio as gr
import pytest

from tests.bad_inputs import BAD_INPUTS, GOOD, Bad
from workbench.checking import check_train
from workbench.specs import TrainSpec, read_flat
from workbench.ui.asking import told_line
from workbench.ui.desk import Desk, over
from workbench.ui.form import Form, shown
from workbench.workspace import Workspace, default_workspace


@pytest.fixture(scope="module")
def whole() -> Form:
    """A form of every field that a form can show."""
    with gr.Blocks(analytics_enabled=False):
        made = Form(Desk(default_workspace(), "en", None, None), TrainSpec)
        for key, knob in made.knobs.items():
            if knob.ui.widget != "values":
                made.field(key)
    return made


@pytest.fixture
def form(whole: Form, workspace: Workspace) -> Form:
    whole.desk.workspace = workspace
    return whole


def wrong(form: Form, updates: list[dict[str, object]]) -> dict[str, str]:
    """The marks by field."""
    pairs = zip(form.fields, updates, strict=True)
    return {key: str(update["info"]) for key, update in pairs if "wrong" in str(update.get("elem_classes", ""))}


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_bad_value_is_told_beside_its_field(form: Form, workspace: Workspace, bad: Bad) -> None:
    bad.lay(workspace)
    checked = check_train(workspace, {**GOOD, **bad.flat})
    assert checked.spec is None
    updates, marked = form.mark(checked.problems, [], "en")
    if bad.key in form.fields:
        assert bad.key in marked
        for words in bad.words:
            assert words in wrong(form, updates)[bad.key]
    line = told_line(form.desk.locale("zh"), checked)
    assert 'class="plan ready"' not in line
    assert any("\u4e00" <= letter <= "\u9fff" for letter in line)


def test_all_problems_are_told_at_once(form: Form, workspace: Workspace) -> None:
    given = {**GOOD, "learning_rate": "abc", "cutoff_len": "3", "dataset": "plian", "output_dir": "../x"}
    checked = check_train(workspace, given)
    _, marked = form.mark(checked.problems, [], "en")
    assert set(marked) == {"learning_rate", "cutoff_len", "dataset", "output_dir"}


def test_a_mended_field_loses_its_mark_and_others_are_not_touched(form: Form, workspace: Workspace) -> None:
    checked = check_train(workspace, GOOD)
    assert checked.spec is not None
    updates, marked = form.mark(checked.problems, ["learning_rate"], "en")
    assert marked == []
    touched = [key for key, update in zip(form.fields, updates, strict=True) if "info" in update]
    assert touched == ["learning_rate"]


def test_what_the_form_shows_is_read_back_as_the_same_spec() -> None:
    spec = read_flat(TrainSpec, {**GOOD, "learning_rate": 2e-4, "watch_prompts": ["a, b", "c"], "max_steps": 7}).unwrap()
    knobs = TrainSpec.knobs()
    form = {key: shown(knobs[key], value) for key, value in spec.flat().items()}
    assert form["learning_rate"] == "2e-4"
    assert read_flat(TrainSpec, form).unwrap() == spec


def test_words_of_users_are_escaped(form: Form, workspace: Workspace) -> None:
    checked = check_train(workspace, {**GOOD, "dataset": "<script>alert(1)</script>"})
    assert "<script>" not in told_line(form.desk.locale("en"), checked)


def test_only_a_value_that_means_something_else_is_changed(form: Form) -> None:
    same = {"learning_rate": f"{form.knobs['learning_rate'].default:f}", "dataset": None, "packing": ""}
    assert form.changed(form.defaults()) == []
    assert form.changed({**form.defaults(), **same}) == []
    given = {"learning_rate": "abc", "max_steps": "7", "dataset": ["plain"], "mask_history": True, "stage": "dpo"}
    assert set(form.changed({**form.defaults(), **given})) == set(given)


def test_of_two_updates_the_upper_one_counts() -> None:
    assert over({}, "x") == "x"
    both = over(gr.update(label="a", value="b"), gr.update(value="c"))
    assert (both["label"], both["value"]) == ("a", "c")
    assert over(gr.update(label="a"), "c")["value"] == "c"
    assert over(gr.update(label="a"), gr.skip())["label"] == "a"
