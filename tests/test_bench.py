"""The comparison of losses: reads both logs, tells the differences, and gives both programs a file that both read."""

import json
from pathlib import Path

import pytest

from bench.losses import (
    CASES,
    COMMON,
    DRAWN,
    LINE_END,
    VARIANTS,
    Comparison,
    Curves,
    line_end_learned,
    read_events,
    read_peer_log,
    whole_curve,
)
from workbench.chats import template_text
from workbench.events import EventLog, Finished, Step
from workbench.specs import TrainSpec, read_flat


def test_the_peers_log_gives_its_losses_without_the_closing_line(tmp_path: Path) -> None:
    log = tmp_path / "trainer_log.jsonl"
    lines = [
        {"current_steps": 1, "loss": 2.5, "lr": 0.0},
        {"current_steps": 2, "loss": 2.25},
        {"current_steps": 2, "epoch": 1.0},
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert read_peer_log(log) == [2.5, 2.25]


def test_our_events_give_the_losses_of_the_steps(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for step, loss in enumerate((2.5, 2.25), 1):
        log.write(Step(step=step, total=2, loss=loss))
    log.write(Finished())
    log.close()
    assert read_events(tmp_path / "events.jsonl") == [2.5, 2.25]


def test_a_curve_that_ends_early_is_no_curve() -> None:
    with pytest.raises(SystemExit, match="sft_lora has 1 losses where 20"):
        whole_curve([2.0], "sft_lora")


def test_differences_are_shares_of_the_peers_loss() -> None:
    curves = Curves("sft", ours=[2.02, 1.0, 0.5], theirs=[2.0, 1.0, -0.4])
    assert curves.differences == pytest.approx([0.01, 0.0, 2.25])
    assert curves.row() == "| sft | 3 | 2.0200 | 2.0000 | 0.5000 | -0.4000 | 1.0000% | 225.0000% |"
    assert curves.row() in Comparison([curves]).markdown().splitlines()
    assert Comparison([curves]).to_json()["curves"][0]["theirs"] == [2.0, 1.0, -0.4]


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_one_that_runs_here_as_it_is(case: str) -> None:
    read = read_flat(TrainSpec, {**COMMON, **CASES[case], "precision": "fp32"})
    spec = read.unwrap()
    assert not read.warnings
    assert (spec.stage.stage, spec.tuning.finetuning_type) == tuple(case.split("_"))
    assert (spec.memory.precision, spec.data.val_size, spec.optim.seed) == ("fp32", 0, 42)


def test_the_line_end_moves_among_what_is_learned_and_nothing_else_changes() -> None:
    template = template_text("smollm2")
    changed = line_end_learned(template)
    marks = ("{%- generation %}", "{%- endgeneration %}")
    assert [changed.count(mark) for mark in marks] == [template.count(mark) for mark in marks] == [1, 1]
    assert "<|im_end|>\\n'" in changed.split(marks[0])[1].split(marks[1])[0]
    assert "<|im_end|>\\n'" not in template.split(marks[0])[1].split(marks[1])[0]


def test_every_case_is_drawn_with_the_same_tokens_learned() -> None:
    assert {case for case, variant in DRAWN if variant == LINE_END} == set(CASES)
    assert {variant for _, variant in DRAWN} == set(VARIANTS)
