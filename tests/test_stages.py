"""Stages: what a sample becomes, how rows are packed, and the formulas of their losses against numbers made by hand."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from workbench import stages
from workbench.events import Entry, Eval, Started, Step, from_json, to_json
from workbench.formats import Sample, Turn
from workbench.learning.mismatch import other_answer
from workbench.learning.packing import fitted, join
from workbench.learning.preference import Pair, PairLoss, PairSettings, answer_logps, kto_losses, log_odds, pair_losses
from workbench.sockets import plugins
from workbench.specs import TrainSpec, read_flat
from workbench.stages import UNTRAINED, Encoded
from workbench.view import View

STAGES = plugins(stages)
HELLO = (Turn("user", "Hello?"), Turn("assistant", "Hi."), Turn("user", "Again?"))
PAIR = Sample(HELLO, chosen=(Turn("assistant", "Hi again."),), rejected=(Turn("assistant", "No."),))


def spec_of(stage: str, **more: Any) -> Any:
    return read_flat(TrainSpec, {"stage": stage, **more}).unwrap().stage


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# What a sample becomes


@pytest.mark.parametrize("stage", ["dpo", "rm"])
def test_a_pair_becomes_two_texts_whose_last_answers_count(stage: str) -> None:
    better, worse = STAGES[stage].scripts(spec_of(stage), PAIR)
    assert [turn.content for turn in better.turns] == ["Hello?", "Hi.", "Again?", "Hi again."]
    assert [turn.content for turn in worse.turns] == ["Hello?", "Hi.", "Again?", "No."]
    assert better.learn == worse.learn == "last"


def test_of_an_answer_of_several_turns_each_counts_and_nothing_before_it() -> None:
    asked = Turn("user", "Go on.")
    sample = Sample(HELLO, chosen=(Turn("assistant", "Well."), asked, Turn("assistant", "So.")), rejected=PAIR.rejected)
    better, worse = STAGES["dpo"].scripts(spec_of("dpo"), sample)
    assert better.learn == "answers" and worse.learn == "last"
    assert [turn.weight for turn in better.turns if turn.role == "assistant"] == [0.0, 1.0, 1.0]


def test_a_mark_reaches_the_row() -> None:
    kto, spec = STAGES["kto"], spec_of("kto")
    for good in (True, False):
        talk = Sample((*HELLO, Turn("assistant", "Hi again.", weight=0.5)), label=good)
        (script,) = kto.scripts(spec, talk)
        weight = script.turns[-1].weight
        assert script.learn == "last" and weight
        weights = None if weight == 1.0 else [0.0, 0.0, weight]
        assert kto.columns(spec, [Encoded([5, 6, 7], [UNTRAINED, UNTRAINED, 7], weights)]) == {
            "input_ids": [5, 6, 7], "labels": [UNTRAINED, UNTRAINED, 7], "good": [int(good)]
        }  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "more", "passes"),
    [("sft", {}, 0), ("rm", {}, 0), ("dpo", {}, 1), ("dpo", {"pref_loss": "simpo"}, 0), ("dpo", {"pref_loss": "orpo"}, 0),
     ("kto", {}, 3), ("grpo", {}, 0), ("grpo", {"beta": 0.1}, 1), ("ppo", {}, 1)],
)  # fmt: skip
def test_a_stage_says_whether_it_asks_a_reference(stage: str, more: dict[str, Any], passes: int) -> None:
    assert spec_of(stage, **more).reference_passes == passes


def test_text_and_talk_become_running_text() -> None:
    pt = STAGES["pt"]
    (script,) = pt.scripts(spec_of("pt"), Sample(text="Seven is prime."))
    assert (script.text, script.whole) == ("Seven is prime.", True)
    (script,) = pt.scripts(spec_of("pt", packing=False), Sample(HELLO))
    assert (script.text, script.whole) == ("Hello?\n\nHi.\n\nAgain?", False)


@pytest.mark.parametrize(
    ("flat", "learn"), [({}, "answers"), ({"mask_history": True}, "last"), ({"train_on_prompt": True}, "everything")]
)
def test_what_supervised_tuning_learns_of_a_talk(flat: dict[str, Any], learn: str) -> None:
    (script,) = STAGES["sft"].scripts(spec_of("sft", **flat), Sample((*HELLO, Turn("assistant", "Hi."))))
    assert script.learn == learn


@pytest.mark.parametrize(
    ("stage", "flat", "key"),
    [
        ("sft", {"train_on_prompt": True, "mask_history": True}, "mask_history"),
        ("dpo", {"dpo_label_smoothing": 0.1, "pref_loss": "hinge"}, "dpo_label_smoothing"),
    ],
)
def test_fields_that_do_not_fit_together_are_told(stage: str, flat: dict[str, Any], key: str) -> None:
    assert [problem.key for problem in spec_of(stage, **flat).problems()] == [key]
    assert not any(spec_of(stage, **{name: value}).problems() for name, value in list(flat.items())[1:])


def test_every_stage_names_what_it_measures() -> None:
    measured = {name: list(module.Spec.METRICS) for name, module in STAGES.items()}
    assert all(measured.values()) and len(measured) >= 5
    assert (
        measured["dpo"][0] == "reward_margin" and measured["rm"][0] == "accuracy" and measured["pt"][0] == "perplexity"
    )
    assert [name for name, module in STAGES.items() if module.Spec.HEAD == "score"] == ["rm"]


def test_a_field_of_several_stages_is_accepted_by_each_and_by_no_other() -> None:
    for stage in STAGES:
        reading = read_flat(TrainSpec, {"stage": stage, "pref_beta": 0.3})
        has = "pref_beta" in type(reading.unwrap().stage).model_fields
        assert bool(reading.warnings) is not has
        assert not has or reading.unwrap().stage.__dict__["pref_beta"] == 0.3
    assert set(TrainSpec.knobs()["pref_beta"].owners) >= {"dpo", "kto"}


# What is said of it


def test_what_a_stage_measures_reaches_a_reader() -> None:
    told: list[Any] = [
        Started(),
        Step(1, 3, loss=2.0, metrics={"reward_margin": 0.1}),
        Step(2, 3, loss=1.9, metrics={"reward_margin": 0.4, "kl": 1.0}),
        Eval(2, 2.1, {"reward_margin": 0.2}),
        Step(3, 3, loss=1.8),
    ]
    view = View().fold(Entry(at, 0.0, event) for at, event in enumerate(told))
    assert (view.metrics["reward_margin"].steps, view.metrics["reward_margin"].values) == ([1, 2], [0.1, 0.4])
    assert view.metrics["kl"].values == [1.0] and view.eval_metrics["reward_margin"].values == [0.2]
    view.fold([Entry(5, 0.0, Started(1, 1))])
    assert view.metrics["reward_margin"].steps == [1] and not view.eval_metrics["reward_margin"].steps


def test_a_run_of_before_has_no_such_figures_and_can_be_read() -> None:
    old = [from_json({"kind": "step", "step": 1, "loss": 2.0}), from_json({"kind": "eval", "step": 1, "loss": 2.0})]
    assert [event.__dict__["metrics"] for event in old] == [{}, {}]
    infinite = to_json(Step(1, metrics={"perplexity": math.inf}))
    assert infinite["metrics"] == {"perplexity": None}
    read = from_json(infinite)
    assert read is not None and not View().fold([Entry(0, 0.0, read)]).metrics


# Packing


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([4, 6, 3, 7], [[0, 1], [2, 3]]),
        ([10, 1, 9], [[0], [1, 2]]),
        ([12, 2, 2], [[0], [1, 2]]),
        ([5, 5, 5], [[0, 1], [2]]),
        ([], []),
    ],
)
def test_rows_that_fit_go_together(lengths: Sequence[int], groups: Sequence[Sequence[int]]) -> None:
    assert fitted(lengths, 10) == groups


def test_no_row_is_lost_and_no_group_is_too_long() -> None:
    lengths = [1 + at * 37 % 90 for at in range(500)]
    groups = fitted(lengths, 100)
    assert sorted(at for group in groups for at in group) == list(range(500))
    assert max(sum(lengths[at] for at in group) for group in groups) <= 100
    assert len(groups) <= math.ceil(sum(lengths) / 100) * 1.03


def test_packed_rows_stand_one_behind_the_other() -> None:
    taken = {
        "input_ids": [[1, 2], [3, 4, 5]],
        "labels": [[1, 2], [3, -100, 5]],
        "loss_weights": [None, [1.0, 0.0, 0.5]],
    }
    assert join(taken, apart=True) == {
        "input_ids": [1, 2, 3, 4, 5],
        "labels": [-100, 2, -100, -100, 5],
        "loss_weights": [1.0, 1.0, 1.0, 0.0, 0.5],
        "position_ids": [0, 1, 0, 1, 2],
    }
    assert "position_ids" not in join(taken, apart=False)


@pytest.fixture(scope="module")
def rows() -> Any:
    from datasets import Dataset

    ids = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11], [12, 13]]
    return Dataset.from_list([{"input_ids": one, "labels": one} for one in ids])


def test_all_texts_become_blocks_and_nothing_is_dropped(rows: Any) -> None:
    blocks = spec_of("pt").arranged(rows, 4)
    assert [row["input_ids"] for row in blocks] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13]]
    assert len(blocks) == 4 and blocks[1]["labels"] == [5, 6, 7, 8]
    chosen = spec_of("pt").arranged(rows.select([3, 0]), 4)
    assert [row["input_ids"] for row in chosen] == [[12, 13, 1, 2], [3]]
    assert spec_of("pt", packing=False).arranged(rows, 4) is rows


def test_a_stream_is_packed_too(rows: Any) -> None:
    stream = rows.to_iterable_dataset()
    assert [row["input_ids"] for row in spec_of("pt").arranged(stream, 8)] == [
        [1, 2, 3, 4, 5, 6, 7, 8],
        [9, 10, 11, 12, 13],
    ]
    neat = list(spec_of("sft", neat_packing=True).arranged(stream, 10))
    assert [row["input_ids"] for row in neat] == [[1, 2, 3, 5, 6, 7, 8, 9, 10, 11], [4, 12, 13]]


def test_packing_takes_rows_whole_and_lazily(rows: Any) -> None:
    packed = spec_of("sft", packing=True).arranged(rows, 10)
    assert packed[0]["input_ids"] == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11] and packed[1]["labels"] == [-100, -100, 13]
    assert packed.column_names == ["rows"]
    assert spec_of("sft").arranged(rows, 10) is rows


# The answer of another row


def test_another_rows_answer_is_put_behind_the_question() -> None:
    question, other = ([1, 2, 3, 4], [-100, -100, 3, 4]), ([5, 6, 7, 8], [-100, 6, 7, 8])
    assert other_answer(*question, *other, 10) == ([1, 2, 6, 7, 8], [-100, -100, 6, 7, 8])
    assert other_answer(*question, *other, 4) == ([1, 2, 6, 7], [-100, -100, 6, 7])


def test_each_row_gets_the_answer_of_the_row_before_it() -> None:
    from datasets import Dataset

    rows = Dataset.from_list([{"input_ids": [9, at], "labels": [-100, at], "good": [at % 2]} for at in range(1, 4)])
    arranged = spec_of("kto").arranged(rows, 8)
    assert [row["kl_labels"] for row in arranged] == [[-100, 3], [-100, 1], [-100, 2]]
    assert [row["good"] for row in arranged] == [[1], [0], [1]] and len(arranged) == 3
    assert arranged[2]["kl_ids"] == [9, 2] and arranged[2]["input_ids"] == [9, 3]
    stream = spec_of("kto").arranged(rows.to_iterable_dataset(), 8)
    assert [row["kl_labels"] for row in stream] == [row["kl_labels"] for row in arranged]


# Losses

BETA, GAMMA = 0.5, 0.3
CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED = -1.0, -3.0, -1.5, -2.0
MARGIN = (CHOSEN - REF_CHOSEN) - (REJECTED - REF_REJECTED)
ODDS = (CHOSEN - math.log(1 - math.exp(CHOSEN))) - (REJECTED - math.log(1 - math.exp(REJECTED)))
BY_HAND: dict[PairLoss, float] = {
    "sigmoid": -math.log(logistic(BETA * MARGIN)),
    "hinge": 1 - BETA * MARGIN,
    "ipo": (MARGIN - 1 / (2 * BETA)) ** 2,
    "kto_pair": ((1 - logistic(BETA * (0.5 - 0.0))) + (1 - logistic(BETA * (0.5 + 1.0)))) / 2,
    "orpo": 1.0 - BETA * math.log(logistic(ODDS)),
    "simpo": -math.log(logistic(BETA * 2.0 - GAMMA)),
}


def pair(chosen: float, rejected: float) -> Pair:
    import torch

    return Pair(torch.tensor([chosen]), torch.tensor([rejected]))


@pytest.mark.parametrize("loss", BY_HAND)
def test_a_loss_of_pairs_is_what_its_formula_says(loss: PairLoss) -> None:
    settings = PairSettings(loss, BETA, simpo_gamma=GAMMA)
    found = pair_losses(settings, pair(CHOSEN, REJECTED), pair(REF_CHOSEN, REF_REJECTED))
    assert found.tolist() == pytest.approx([BY_HAND[loss]], rel=1e-5)


def test_the_numbers_by_hand_are_what_they_seem() -> None:
    assert MARGIN == 1.5
    assert BY_HAND["sigmoid"] == pytest.approx(0.38687, rel=1e-4)
    assert BY_HAND["hinge"] == 0.25 and BY_HAND["ipo"] == 0.25


def test_label_smoothing_believes_the_other_way_round_a_little() -> None:
    turned = -math.log(logistic(-BETA * MARGIN))
    found = pair_losses(
        PairSettings("sigmoid", BETA, label_smoothing=0.2), pair(CHOSEN, REJECTED), pair(REF_CHOSEN, REF_REJECTED)
    )
    assert found.item() == pytest.approx(0.8 * BY_HAND["sigmoid"] + 0.2 * turned, rel=1e-5)


def test_kto_measures_good_and_bad_answers_from_one_level() -> None:
    import torch

    found = kto_losses(
        BETA, torch.tensor([2.0, -1.0, 0.5]), torch.tensor([True, False, True]), torch.tensor(1.0), (3.0, 0.5)
    )
    by_hand = [3 * (1 - logistic(0.5)), 0.5 * (1 - logistic(1.0)), 3 * (1 - logistic(-0.25))]
    assert found.tolist() == pytest.approx(by_hand, rel=1e-6)


def test_answers_are_summed_or_averaged_over_what_is_learned() -> None:
    import torch

    log_probs = torch.tensor([[0.0, -1.0, -2.0, -3.0], [0.0, -4.0, -5.0, 0.0]])
    learned = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 0.0]])
    assert answer_logps(log_probs, learned, mean=False).tolist() == [-6.0, -4.0]
    assert answer_logps(log_probs, learned, mean=True).tolist() == [-2.0, -4.0]
    assert answer_logps(log_probs, learned, False, ld_alpha=0.5).tolist() == [-1.0 - 2.5, -4.0]
    assert answer_logps(log_probs, learned, False, ld_alpha=1.0).tolist() == [-6.0, -4.0]


def test_odds_keep_their_digits_at_both_ends() -> None:
    import torch

    found = log_odds(torch.tensor([-1e-3, -30.0, math.log(0.5)], dtype=torch.float64))
    assert found.tolist() == pytest.approx([-1e-3 - math.log(-math.expm1(-1e-3)), -30.0, 0.0], abs=1e-9)
