"""What a spec would do: rows, steps, every problem at once, and what is unwise."""

import json
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from workbench.data import samples
from workbench.plans import count_rows, every, mixed_rows, plan, total_steps, validation_rows
from workbench.problems import UserError
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace


def spec(**more: Any) -> TrainSpec:
    return read_flat(TrainSpec, {**GOOD, "val_size": 0, **more}).unwrap()


@pytest.mark.parametrize(
    ("rows", "batch", "accumulation", "epochs", "most", "steps"),
    [
        (20, 4, 2, 3, None, 9),
        (16, 4, 2, 3, None, 6),
        (17, 4, 2, 1, None, 3),
        (1, 4, 2, 1, None, 1),
        (20, 4, 2, 0.5, None, 2),
        (20, 4, 2, 0.01, None, 1),
        (20, 1, 1, 2, None, 40),
        (20, 100, 8, 2.5, None, 3),
        (20, 4, 2, 3, 7, 7),
        (20, 4, 2, 3, 1000, 1000),
    ],
)
def test_steps(rows: int, batch: int, accumulation: int, epochs: float, most: int | None, steps: int) -> None:
    asked = spec(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        max_steps=most,
    )
    assert total_steps(asked, rows) == steps


@pytest.mark.parametrize(
    ("val_size", "rows", "held"),
    [(0, 20, 0), (0.05, 20, 1), (0.01, 20, 1), (0.5, 21, 10), (1, 20, 1), (5, 20, 5), (0.999, 20, 20)],
)
def test_rows_held_out(val_size: float, rows: int, held: int) -> None:
    assert validation_rows(val_size, rows) == held


def test_a_checkpoint_that_has_learned_everything_is_told(workspace: Workspace) -> None:
    folder = workspace.saves / "tiny/lora/old/checkpoint-8"
    folder.mkdir(parents=True)
    for name in ("trainer_state.json", "adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}", "utf-8")
    given = {"resume_from_checkpoint": "saves/tiny/lora/old/checkpoint-8", "max_steps": 8}
    (problem,) = plan(workspace, spec(**given)).problems
    assert problem.key == "resume_from_checkpoint"
    assert "has learned 8 steps, and this run has 8" in str(problem.message)
    assert plan(workspace, spec(**{**given, "max_steps": 9})).problems == ()


def test_every_so_many_steps() -> None:
    assert [every(None, steps, 8) for steps in (1, 8, 9, 100)] == [1, 1, 2, 13]
    assert every(7, 100, 8) == 7


def test_a_good_spec_is_planned(workspace: Workspace) -> None:
    planned = plan(workspace, spec(val_size=0.1, num_train_epochs=50))
    assert planned.problems == ()
    assert (planned.rows, planned.validation_rows, planned.excluded, planned.steps) == (18, 2, 0, 150)
    assert planned.warnings == []
    assert list(workspace.saves.iterdir()) == [], "planning leaves nothing behind"


def test_a_handful_of_steps_is_told_with_advice_that_helps(workspace: Workspace) -> None:
    planned = plan(workspace, spec(num_train_epochs=1))
    (warning,) = planned.warnings
    assert str(warning).startswith("Only 3 steps")
    epochs = warning.args["epochs"]
    assert plan(workspace, spec(num_train_epochs=epochs)).warnings == []


def test_rows_that_are_left_out_are_told(workspace: Workspace) -> None:
    rows = [{"instruction": "Q", "output": "A"}] * 8 + [{"instruction": "Q", "output": ""}] * 2
    (workspace.data / "plain.json").write_text(json.dumps(rows), "utf-8")
    planned = plan(workspace, spec(num_train_epochs=100))
    assert (planned.rows, planned.excluded) == (8, 2)
    assert [str(one) for one in planned.warnings] == [
        "2 of 10 rows are left out. The first: Dataset 'plain', row 9 is left out: "
        "No answer: 'output' is empty or missing. Accepted: text or messages. Write it."
    ]


def test_every_problem_is_found_at_once(workspace: Workspace) -> None:
    (workspace.saves / "file").write_text("x")
    planned = plan(
        workspace,
        spec(model_name_or_path="models/none", template="qwne", dataset="plian,identity", output_dir="saves/file"),
    )
    assert [problem.key for problem in planned.problems] == ["model_name_or_path", "template", "dataset", "output_dir"]
    assert planned.steps == 0


@pytest.mark.parametrize(
    ("val_size", "words"),
    [
        (20, "leaves 0 of 20 rows"),
        (1000, "leaves 0 of 20 rows"),
        (0.999, "leaves 0 of 20 rows"),
        (1.5, "Validation share is 1.5. Accepted: a share below 1, or a whole number of rows."),
    ],
)
def test_a_validation_share_that_can_not_be(val_size: float, words: str, workspace: Workspace) -> None:
    with pytest.raises(UserError) as caught:
        count_rows(workspace, spec(val_size=val_size))
    assert caught.value.problems[0].key == "val_size"
    assert words in str(caught.value)
    assert count_rows(workspace, spec(val_size=19)).learned[0].samples == 20


def test_an_estimate_forbids_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SMALL_BYTES", 10)
    monkeypatch.setattr(samples, "FIRST_ROWS", 4)
    short, long = {"instruction": "Q", "output": "A"}, {"instruction": "Q" * 500, "output": ""}
    (workspace.data / "plain.json").write_text(json.dumps([long] * 5 + [short] * 50), "utf-8")
    assert not count_rows(workspace, spec(val_size=9)).learned[0].exact
    assert plan(workspace, spec(val_size=9)).problems == ()
    (workspace.data / "plain.json").write_text(json.dumps([{**long, "output": "A"}] * 5 + [short] * 50), "utf-8")
    planned = plan(workspace, spec(val_size=30))
    assert (planned.problems, planned.exact) == ((), False)
    (workspace.data / "plain.json").write_text(json.dumps([short] * 4), "utf-8")
    assert "val_size" in {problem.key for problem in plan(workspace, spec(val_size=30)).problems}


def test_braces_that_may_be_taught_are_a_warning(workspace: Workspace) -> None:
    rows = [{"instruction": "Vue?", "output": "{{ msg }}"}, *[{"instruction": "Q", "output": "A"}] * 19]
    (workspace.data / "plain.json").write_text(json.dumps(rows), "utf-8")
    planned = plan(workspace, spec())
    assert planned.problems == ()
    assert any("without a value: msg." in str(warning) for warning in planned.warnings)


def test_nothing_to_learn_is_a_problem(workspace: Workspace) -> None:
    (workspace.data / "plain.json").write_text(json.dumps([{"instruction": "Q", "output": ""}]), "utf-8")
    with pytest.raises(
        UserError, match="No row of the chosen sets can be learned from. First reason: Dataset 'plain', row 1"
    ):
        count_rows(workspace, spec())


VALUES = {"name": "A", "author": "B"}


@pytest.mark.parametrize(
    ("more", "words", "key"),
    [
        ({"interleave_probs": "0.5,0.2"}, "Shares in the mix are 0.5, 0.2 for 2 sets. Accepted: one share above 0", "interleave_probs"),
        ({"interleave_probs": "1"}, "Enter, for example, 0.5, 0.5.", "interleave_probs"),
        ({"interleave_probs": "1.5,-0.5"}, "above 0", "interleave_probs"),
        ({"streaming": True}, "Accepted: 'Max steps' above 0", "max_steps"),
        ({"streaming": True, "max_steps": 5, "val_size": 0.1}, "Validation share is 0.1, and streaming", "val_size"),
        ({"streaming": True, "max_steps": 5, "tokenized_path": "x"}, "keeps no tokens", "tokenized_path"),
        ({"eval_dataset": "plian"}, "Nearest: plain", "eval_dataset"),
    ],
)  # fmt: skip
def test_fields_of_the_data_that_do_not_fit_together(
    more: dict[str, Any], words: str, key: str, workspace: Workspace
) -> None:
    (problem,) = plan(workspace, spec(**{"dataset": "plain,identity", "dataset_values": VALUES, **more})).problems
    assert problem.key == key
    assert words in str(problem.message)


def test_validation_sets_take_the_place_of_the_share(workspace: Workspace) -> None:
    planned = plan(workspace, spec(eval_dataset="identity", dataset_values=VALUES, val_size=0.5, num_train_epochs=99))
    assert (planned.problems, planned.rows, planned.validation_rows) == ((), 20, 10)


@pytest.mark.parametrize(
    ("strategy", "shares", "rows"),
    [
        ("concat", "", 30),
        ("interleave_once", "", 30),
        ("interleave_under", "", 20),
        ("interleave_over", "", 40),
        ("interleave_under", "0.8,0.2", 25),
        ("interleave_over", "0.8,0.2", 50),
    ],
)
def test_rows_of_a_mix(strategy: str, shares: str, rows: int) -> None:
    asked = spec(dataset="plain,identity", mix_strategy=strategy, interleave_probs=shares)
    assert mixed_rows(asked, [20, 10]) == rows


def test_shares_that_are_not_used_are_told(workspace: Workspace) -> None:
    def warned(**more: Any) -> bool:
        asked = spec(dataset="plain,identity", dataset_values=VALUES, interleave_probs="0.9,0.1", **more)
        return any("'Shares in the mix' is 0.9, 0.1 and not used" in str(one) for one in plan(workspace, asked).warnings)

    assert warned() and not warned(mix_strategy="interleave_over")


def test_the_steps_of_packed_rows_are_no_exact_figure(workspace: Workspace) -> None:
    assert plan(workspace, spec()).exact
    assert not plan(workspace, spec(packing=True)).exact
    assert not plan(workspace, spec(neat_packing=True)).exact
    assert plan(workspace, spec(packing=True, max_steps=40)).exact
    assert not plan(workspace, spec(stage="pt")).exact
