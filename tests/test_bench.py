"""The comparisons: of losses, both logs read and both programs given one file; of serving, what is counted and told."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.growth import Growth, ended_run
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
from bench.parts import NOTHING, WATCHED, Parts, Sides, grouped
from bench.peer import command
from bench.serve import ASKED, MANY, PROMPTS, Figures, one_round, percentile_95, ways
from bench.serve import Comparison as Serving
from bench.servers import Heard, Server, client_of, part, watched
from tests.serving import serving
from workbench.chats import template_text
from workbench.engines import BASE
from workbench.engines.echo import Echo
from workbench.events import EventLog, Finished, Step
from workbench.specs import ServeSpec, TrainSpec, read_flat
from workbench.workspace import Workspace


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


class TestServing:
    def test_a_round_is_all_tokens_over_all_time(self) -> None:
        figures = Figures("ours", 8)
        figures.add([Heard(0.5, 128), Heard(1.5, 72)], 4.0, 300 * 2**20)
        figures.add([Heard(0.7, 100), Heard(0.9, 100)], 2.0, 200 * 2**20)
        assert (figures.rates, figures.rate) == ([50, 100], 75)
        assert figures.row(2.5) == "| ours | 8 | 75 | 50 to 100 | 2.50 | 0.8 | 1.41 | 250 |"

    def test_95_of_100_stay_below(self) -> None:
        assert percentile_95([float(value) for value in range(101)]) == 95
        assert percentile_95([3.0]) == 3

    def test_the_ratio_is_over_the_best_rival_with_as_many_streams(self) -> None:
        found = Serving({"ours": "peer, fp32", "other": "peer"})
        rates = {("ours", 1): 30, ("peer, fp32", 1): 20, ("peer, bf16", 1): 40, ("other", 1): 80}
        for (name, streams), rate in {**rates, ("peer, fp32, 8 at once", 8): 10, ("peer, fp32", 8): 15, ("ours", 8): 60}.items():
            found.figures(name, streams).add([Heard(0.1, rate)], 1.0, 2**20)
        told = {key: found.ratio(figures) for key, figures in found.all.items()}
        assert told[("ours", 1)] == 1.5 and told[("other", 1)] == 2 and told[("ours", 8)] == 4
        assert told[("peer, bf16", 1)] is None
        assert "| ours | 8 | 60 | 60 to 60 | 4.00 | 0.1 | 0.1 | 1 |" in found.markdown().splitlines()
        assert "Answers have 10 to 80 tokens." in found.markdown()
        lines = found.to_json()["lines"]
        assert lines[0] == {**vars(found.figures("ours", 1)), "ratio": 1.5}
        assert json.loads(json.dumps(lines)) == lines

    def test_every_way_of_ours_has_a_spec_and_rivals(self) -> None:
        every = ways()
        ours, theirs = [way for way in every if way.rivals], [way for way in every if not way.rivals]
        assert [way.values["infer_backend"] for way in ours] == ["transformers", "transformers", *["llamacpp"] * 4]
        assert len({way.name for way in every}) == len(every) == 12
        for way in ours:
            assert not read_flat(ServeSpec, {"model_name_or_path": "models/x", **way.values}).problems
            rivals = [one for one in theirs if one.name.startswith(way.rivals)]
            assert {streams for one in rivals for streams in one.streams} == set(ASKED) >= set(way.streams)
        assert len(set(PROMPTS)) == len(PROMPTS) == MANY >= max(ASKED.values())

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ('data: {"choices": [{"delta": {"content": "hi"}}]}', ("hi", 0)),
            ('data: {"choices": [], "usage": {"completion_tokens": 7}}', ("", 7)),
            ('data:{"choices": [{"delta": {"role": "assistant", "content": ""}}], "usage": null}', ("", 0)),
            ('data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}', ("", 0)),
            ("data: [DONE]", ("", 0)),
            (": a comment", ("", 0)),
            ("", ("", 0)),
        ],
    )
    def test_a_line_of_a_stream(self, line: str, said: tuple[str, int]) -> None:
        assert part(line) == said

    def test_a_server_is_asked_in_a_round(self) -> None:
        with serving(Echo((BASE,), 0.0)) as url, client_of(url) as client:
            server = Server(client, psutil.Process(), lambda text: 1000)
            rounds = list(one_round(server, (1, 8), 5))
        assert [(streams, len(heard)) for streams, heard, _, _ in rounds] == list(ASKED.items())
        for _, heard, seconds, memory in rounds:
            assert {one.tokens for one in heard} == {5}, "as the server counts them"
            assert all(0 < one.first_s < seconds for one in heard)
            assert memory > 2**20

    def test_a_server_that_does_not_count_is_counted_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with serving(Echo((BASE,), 0.0)) as url, client_of(url) as client:
            monkeypatch.setattr("bench.servers.part", lambda line: (part(line)[0], 0))
            assert Server(client, psutil.Process(), lambda text: len(text.split())).ask("x", 4).tokens == 4

    def test_the_most_is_kept_of_what_was_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        told = iter([5, 9, *[7] * 1000])
        monkeypatch.setattr("bench.servers.held", lambda process: next(told))
        monkeypatch.setattr("bench.servers.LOOK_S", 0.001)
        nobody: Any = None
        with watched(nobody) as seen:
            while len(seen) < 3:
                pass
        assert max(seen) == 9

    def test_without_the_peer_it_is_said_what_is_wanted(self, tmp_path: Path) -> None:
        for given in (None, tmp_path):
            with pytest.raises(SystemExit, match="Accepted: a virtual environment"):
                command(given)


class TestGrowth:
    def test_exponents_compare_with_the_size_before_of_the_same_thing(self) -> None:
        found = Growth()
        found.take("rows", 10, [1.0, 3.0, 1.0])
        found.take("rows", 1000, [10.0])
        found.take("ranks", 4, [5.0], memory=3 << 20)
        assert [found.exponent(at) for at in range(3)] == [None, pytest.approx(0.5), None]
        assert "| rows | 1,000 | 10 | 10 to 10 | 0.50 |  |" in found.markdown().splitlines()
        assert "| ranks | 4 | 5 | 5 to 5 |  | 3 |" in found.markdown().splitlines()
        assert json.loads(json.dumps(found.to_json()))["lines"][2]["memory"] == 3 << 20

    def test_a_run_is_laid_with_its_steps(self, tmp_path: Path) -> None:
        home = Workspace(tmp_path)
        for folder in (home.models / "tiny", home.saves, home.data):
            folder.mkdir(parents=True)
        run = ended_run(home, "one", 30)
        assert run.state() == "finished" and len(run.view().loss.steps) == 30


def test_operations_are_told_by_their_parts() -> None:
    sides = Sides(words=49152, rank=8)
    heard = [
        ("aten::mm", {1250, 576, 1536}, 0.5),
        ("aten::addmm_", {1250, 8, 576}, 0.1),
        ("aten::mm", {170, 576, 49152}, 0.2),
        ("aten::_softmax", {170, 49152}, 0.1),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", {1, 9, 156, 64}, 0.15),
        ("aten::bmm", {9, 156, 64}, 0.05),
        ("aten::mul", {1250, 576}, 0.04),
        ("aten::mul", {1250, 1536}, 0.04),
        ("aten::add", {1250, 576}, 0.01),
    ]
    found = grouped(heard, sides)
    assert {part: round(seconds, 2) for part, seconds in found.items()} == {
        "layers: products": 0.5,
        "adapters: products": 0.1,
        "last layer: products": 0.2,
        "last layer: chances": 0.1,
        "attention": 0.2,
        "mul": 0.08,
        "add": 0.01,
    }
    lines = Parts("sft lora, bf16", 0.4, 0.4, 0.3, {**found, NOTHING: 0.01}).lines()
    assert lines[0] == f"| sft lora, bf16 | layers: products | {500 / WATCHED:,.0f} | 42% |"
    assert lines[-1].startswith("| sft lora, bf16 | 2 others, each under 3% |")
    assert len(lines) == 7
