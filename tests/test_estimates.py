"""What a run will need: facts of models, sizes of adapters, memory and time by formula, and what was measured before."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from tests.conftest import Tell
from workbench import tuning
from workbench.checking import check_train
from workbench.cli.commands import train
from workbench.estimates import Estimate, changes, estimate, grounds, measurements, told
from workbench.estimates.adapter_sizes import adapted_layers, num_trained
from workbench.estimates.measurements import Measured, corrected_parts, names_of
from workbench.estimates.measuring import measure_spec
from workbench.estimates.model_facts import ModelFacts, facts_of, read_facts
from workbench.estimates.needs import PARTS, Batch, Ground, Setting, batch_seconds, memory_parts
from workbench.estimates.row_lengths import RowLengths, guessed_tokens, row_lengths
from workbench.events import EventLog, Finished, Started, Step
from workbench.jobs.measure import STEPS, chosen_rows, shortened
from workbench.jobs.measure import told as told_measured
from workbench.machine import Card, Machine
from workbench.models import Say as Models
from workbench.plans import Plan
from workbench.runs import Run, create
from workbench.sockets import plugins
from workbench.specs import TrainSpec, read_flat
from workbench.text import ENGLISH
from workbench.ui.asking import told_line
from workbench.workspace import Workspace

CPU = Ground("cpu", "", 24_000_000_000, 2, "bf16", True)
CARD = Ground("cuda", "NVIDIA A100-SXM4-40GB", 40_000_000_000, 16, "bf16", True)


def llama(hidden: int, inner: int, layers: int, key_heads: int, vocab: int, tied: bool) -> ModelFacts:
    """The facts of a Llama of these sizes, heads being 64 wide."""
    config = {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers, "vocab_size": vocab,
        "num_attention_heads": hidden // 64, "num_key_value_heads": key_heads, "tie_word_embeddings": tied,
    }  # fmt: skip
    keys = 64 * key_heads
    inside = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (keys, hidden), "self_attn.v_proj": (keys, hidden),
              "self_attn.o_proj": (hidden, hidden), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
              "mlp.down_proj": (hidden, inner)}  # fmt: skip
    weights: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        weights |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in inside.items()}
    if not tied:
        weights["lm_head.weight"] = (vocab, hidden)
    return facts_of("llama", config, weights, 2 * sum(len(shape) for shape in weights.values()))


SMALL = llama(576, 1536, 30, 3, 49_152, tied=True)
LARGE = llama(4096, 11_008, 32, 64, 32_000, tied=False)


def setting(model: ModelFacts = SMALL, ground: Ground = CPU, **more: Any) -> Setting:
    return Setting(read_flat(TrainSpec, {**GOOD, "precision": "fp32", **more}).unwrap(), model, ground)


def total(length: float = 256, texts: int = 4, **more: Any) -> int:
    return sum(memory_parts(setting(**more), Batch(texts, length)).values())


def test_facts_are_read_from_the_heads_of_the_files(tiny_model: Path, tmp_path: Path) -> None:
    facts = read_facts(tiny_model)
    assert facts is not None
    assert (facts.hidden, facts.layers, facts.key_width, facts.tied) == (32, 2, 16, True)
    # a layer: q and o 32x32, k and v 16x32, three of 64x32, two norms of 32; then the last norm
    assert facts.num_weights == facts.vocab * 32 + 2 * (2 * 1024 + 2 * 512 + 3 * 2048 + 2 * 32) + 32
    assert len(facts.linear()) == 14 and len(facts.linear(["q_proj"])) == 2
    (tmp_path / "config.json").write_text("{")
    assert read_facts(tmp_path) is None
    (tmp_path / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    assert read_facts(tmp_path) is None


def test_an_adapter_of_low_rank_has_two_matrices_for_each_layer() -> None:
    spec = setting(lora_rank=8).spec
    # q and o: 8 (576 + 576), k and v: 8 (192 + 576), three of the inner layer: 8 (1536 + 576), in 30 layers
    assert num_trained(spec.tuning, SMALL) == 30 * 8 * (2 * 1152 + 2 * 768 + 3 * 2112) == 2_442_240
    only = setting(lora_rank=4, lora_target="q_proj").spec
    assert num_trained(only.tuning, SMALL) == 30 * 4 * 1152
    assert adapted_layers(only.tuning, SMALL) == [(576, 576)] * 30
    whole = setting(lora_rank=8, additional_target="embed_tokens").spec
    assert num_trained(whole.tuning, SMALL) == 2_442_240 + 49_152 * 576


@pytest.mark.parametrize("method", plugins(tuning))
def test_every_method_moves_something_and_at_most_everything(method: str) -> None:
    facts = replace(SMALL, weights={**SMALL.weights, "model.layers.0.input_layernorm.weight": (576,)})
    trained = num_trained(setting(finetuning_type=method).spec.tuning, facts)
    assert 0 < trained <= facts.num_weights
    assert (trained == facts.num_weights) == (method == "full")


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"per_device_train_batch_size": 4}, {"texts": 8}),
        ({}, {"length": 512}),
        ({"lora_rank": 8}, {"lora_rank": 64}),
        ({"precision": "bf16"}, {"precision": "fp32"}),
        ({"gradient_checkpointing": True}, {}),
        ({"quantization_bit": 4}, {"quantization_bit": 8}),
        ({"quantization_bit": 8}, {"precision": "fp32"}),
        ({"finetuning_type": "freeze"}, {"finetuning_type": "freeze", "freeze_trainable_layers": -2}),
        ({"finetuning_type": "freeze"}, {"finetuning_type": "full"}),
        ({"finetuning_type": "full", "optim": "adamw_8bit"}, {"finetuning_type": "full"}),
        ({"finetuning_type": "full", "optim": "sgd"}, {"finetuning_type": "full", "optim": "lion_32bit"}),
        ({"flash_attn": "auto"}, {"flash_attn": "disabled"}),
        ({"finetuning_type": "full", "stage": "dpo", "pref_loss": "orpo"}, {"finetuning_type": "full", "stage": "dpo"}),
        ({"stage": "rm"}, {"stage": "dpo"}),
        ({"lora_target": "q_proj"}, {"lora_target": "all"}),
        ({"finetuning_type": "full", "gradient_accumulation_steps": 1, "length": 32},
         {"finetuning_type": "full", "gradient_accumulation_steps": 2, "length": 32}),
        ({"precision": "pure_bf16", "finetuning_type": "full"}, {"precision": "bf16", "finetuning_type": "full"}),
    ],
    ids=lambda one: " ".join(f"{key}={value}" for key, value in one.items()) or "plain",
)  # fmt: skip
def test_memory_reacts_to_what_matters(less: Mapping[str, Any], more: Mapping[str, Any]) -> None:
    assert total(**less) < total(**more)


def test_known_sizes_come_out() -> None:
    parts = memory_parts(setting(LARGE, CARD, precision="bf16"), Batch(1, 512))
    assert parts["weights"] == pytest.approx(13.5e9, rel=0.01)  # 6.7 thousand million weights of two bytes
    assert set(parts) == set(PARTS)
    parts = memory_parts(setting(LARGE, CARD, precision="bf16", quantization_bit=4), Batch(1, 512))
    assert 3.3e9 < parts["weights"] < 4.5e9
    parts = memory_parts(setting(LARGE, CARD, precision="bf16", finetuning_type="full"), Batch(1, 512))
    assert parts["optimiser"] == 8 * LARGE.num_weights  # two moments in fp32


def test_time_reacts_to_what_matters() -> None:
    def seconds(length: float = 256, **more: Any) -> float:
        return batch_seconds(setting(**more), Batch(4, length))

    plain = seconds()
    assert seconds(length=512) > 1.9 * plain - 0.3
    assert plain < seconds(gradient_checkpointing=True) < seconds(finetuning_type="full", gradient_checkpointing=True)
    assert seconds(precision="bf16") < plain < seconds(stage="dpo", pref_loss="sigmoid")
    assert seconds(stage="dpo", pref_loss="orpo") < seconds(stage="dpo") < seconds(stage="kto")
    assert batch_seconds(setting(ground=CARD), Batch(4, 256)) < plain / 10


def test_a_batch_is_padded_to_the_longest_of_its_rows() -> None:
    lengths = RowLengths([10, 20, 30, 40], 40, texts=2)
    assert lengths.widest(3) == Batch(6, 40)
    one, several = lengths.usual(1, False), lengths.usual(4, False)
    assert (one.texts, one.length) == (2, 25.0)
    assert 30 < several.length < 40
    assert lengths.usual(4, True).length == 25.0


def test_rows_are_counted_with_the_models_own_tokens(workspace: Workspace) -> None:
    spec = read_flat(TrainSpec, GOOD).unwrap()
    lengths = row_lengths(workspace, spec)
    assert lengths is not None and lengths.texts == 1 and lengths.longest == max(lengths.tokens)
    short = row_lengths(workspace, read_flat(TrainSpec, {**GOOD, "cutoff_len": 16}).unwrap())
    assert short is not None and short.longest == 16
    packed = row_lengths(workspace, read_flat(TrainSpec, {**GOOD, "cutoff_len": 64, "packing": True}).unwrap())
    assert packed is not None and packed.packed and packed.widest(2) == Batch(2, 64)
    assert guessed_tokens("abcd" * 10) == 10 and guessed_tokens("你好吗") == 2
    assert row_lengths(workspace, read_flat(TrainSpec, {**GOOD, "dataset": "none_such"}).unwrap()) is None


def estimated(workspace: Workspace, **more: Any) -> Estimate:
    checked = check_train(workspace, {**GOOD, "precision": "fp32", **more})
    found = estimate(workspace, checked.unwrap(), checked.plan, CPU)
    assert found is not None
    return found


def test_a_run_to_come_is_estimated(workspace: Workspace) -> None:
    found = estimated(workspace)
    assert found.source == "formula" and found.fits and found.steps
    assert found.total_bytes == sum(found.memory.values()) > 560_000_000
    assert found.total_seconds > found.seconds["learning"] > 0
    assert "24 GB" in str(told(found))
    assert estimated(workspace, num_train_epochs=50).seconds["learning"] > 5 * found.seconds["learning"]
    assert estimated(workspace, watch_prompts=["Why?"]).seconds["watching"] > 0 == found.seconds["watching"]


def test_packed_rows_are_counted_by_their_tokens(workspace: Workspace) -> None:
    short = {**GOOD, "val_size": 0, "packing": True, "cutoff_len": 128, "per_device_train_batch_size": 1, "max_steps": None}
    checked = check_train(workspace, {**short, "gradient_accumulation_steps": 1, "num_train_epochs": 2})
    needed = estimate(workspace, checked.unwrap(), checked.plan)
    assert needed is not None and not checked.plan.exact
    assert 2 <= needed.steps < checked.plan.steps == 40
    assert f"About {needed.steps} steps" in told_line(ENGLISH, replace(checked, needed=needed))


def test_nothing_is_said_of_a_model_that_is_not_here(workspace: Workspace) -> None:
    spec = read_flat(TrainSpec, {**GOOD, "model_name_or_path": "owner/far-away"}).unwrap()
    assert estimate(workspace, spec, Plan(rows=10, steps=10), CPU) is None


def measured(workspace: Workspace, **more: Any) -> Measured:
    """What measuring the usual spec on a CPU would have found."""
    facts = read_facts(workspace.models / "tiny")
    assert facts is not None
    spec = read_flat(TrainSpec, {**GOOD, "precision": "fp32"}).unwrap()
    same, near, rows = names_of(Setting(spec, facts, CPU))
    values = {"same": same, "near": near, "rows": rows, "batch_rows": 4, "texts": 4, "length": 40.0, "factor": 3.0,
              "peak_bytes": 900_000_000, "usual_length": 30.0}  # fmt: skip
    return Measured(**{**values, **more})


def test_what_was_measured_is_believed(workspace: Workspace) -> None:
    before = estimated(workspace)
    measurements.keep(workspace, measured(workspace))
    after = estimated(workspace)
    assert after.source == "measured" and after.total_bytes == 900_000_000
    assert after.seconds["learning"] > 2 * before.seconds["learning"]
    assert "measured here" in str(told(after))
    like = estimated(workspace, lora_rank=16)
    assert like.source == "runs" and like.total_bytes > 850_000_000
    assert estimated(workspace, finetuning_type="full").source == "formula"


def test_of_several_processes_one_alone_is_measured_and_that_is_said(workspace: Workspace) -> None:
    measurements.keep(workspace, measured(workspace))
    assert estimated(workspace, num_processes=1).source == "measured"
    assert estimated(workspace, num_processes=2).source == "runs"
    for processes, words in ((1, "Measured: 900 MB"), (3, "Measured with one of 3 processes alone: 900 MB")):
        assert str(told_measured(setting(num_processes=processes).spec, 900_000_000, 2.0, 8)).startswith(words)


def test_the_newest_measurement_counts_and_a_damaged_file_does_not(workspace: Workspace) -> None:
    measurements.keep(workspace, measured(workspace, peak_bytes=800_000_000))
    measurements.keep(workspace, measured(workspace, peak_bytes=700_000_000))
    assert [one.peak_bytes for one in measurements.read(workspace)] == [700_000_000]
    (workspace.cache / measurements.FILE).write_text('[{"same": 1')
    assert measurements.read(workspace) == [] and estimated(workspace).source == "formula"


def test_what_grows_with_the_batch_is_scaled_where_it_is_most_of_it() -> None:
    one = setting()
    then = memory_parts(one, Batch(4, 1024))
    twice = 2 * (then["activations"] + then["logits"]) + sum(then.values()) - then["activations"] - then["logits"]
    found = corrected_parts(one, memory_parts(one, Batch(4, 512)), Measured("", "", "", 4, 4, 1024.0, twice))
    assert found["activations"] == pytest.approx(2 * memory_parts(one, Batch(4, 512))["activations"], rel=0.01)
    assert found["weights"] == then["weights"]


def test_earlier_runs_tell_how_fast_the_machine_is(workspace: Workspace) -> None:
    before = estimated(workspace)
    run = create(workspace, read_flat(TrainSpec, {**GOOD, "precision": "fp32", "output_dir": "earlier"}).unwrap())
    log = EventLog(run.events)
    log.write(Started(1))
    for step in range(1, 6):
        log.write(Step(step, 5, tokens=200, padding=40, seconds=9.0, memory_bytes=1))
    log.close()
    after = estimated(workspace)
    assert after.source == "runs"
    assert after.seconds["learning"] > 4 * before.seconds["learning"]
    assert after.total_bytes == before.total_bytes


ROOMS = {"a little less": 0.99, "less": 0.97}


@pytest.mark.parametrize("share", ROOMS.values(), ids=ROOMS)
def test_changes_make_it_fit_and_keep_the_rows_of_a_step(share: float, workspace: Workspace) -> None:
    checked = check_train(workspace, {**GOOD, "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2,
                                      "precision": "fp32", "cutoff_len": 256, "packing": True})  # fmt: skip
    spec = checked.unwrap()
    needed = estimate(workspace, spec, checked.plan, CPU)
    assert needed is not None
    ground = replace(CPU, room_bytes=round(share * needed.total_bytes / 0.95))
    found = changes(workspace, spec, checked.plan, ground)
    assert found and found[0].values["per_device_train_batch_size"] * found[0].values["gradient_accumulation_steps"] == 32
    for change in found:
        changed = read_flat(TrainSpec, {**spec.flat(), **change.values}).unwrap()
        again = estimate(workspace, changed, checked.plan, ground)
        assert change.costs and again is not None and again.fits and again == change.estimate


def test_where_no_change_does_alone_several_do_together_or_nothing_is_said(workspace: Workspace) -> None:
    checked = check_train(workspace, {**GOOD, "per_device_train_batch_size": 4, "precision": "fp32",
                                      "cutoff_len": 512, "packing": True, "lora_rank": 1024})  # fmt: skip
    spec = checked.unwrap()
    needed = estimate(workspace, spec, checked.plan, CPU)
    assert needed is not None
    found: list[list[int]] = []
    for room in range(round(1.06 * needed.total_bytes), 580_000_000, -3_000_000):
        ground = replace(CPU, room_bytes=room)
        found.append([len(change.values) for change in changes(workspace, spec, checked.plan, ground)])
    assert found[0] == [] and found[-1] == []
    assert any(len(sizes) > 1 for sizes in found), "at some size several changes do, each alone"
    assert any(len(sizes) == 1 and sizes[0] > 2 for sizes in found), "at some size only several together do"


def test_auto_is_what_the_run_will_take() -> None:
    assert setting(precision="auto").precision == setting(precision="auto", finetuning_type="full").precision == "bf16"
    assert setting(precision="auto", finetuning_type="full", fast_kernels=False).precision == "fp32"
    assert setting(precision="auto", stage="rm", dataset="pairs").precision == "fp32", "its loss takes no likelihoods"


def test_what_torch_said_of_the_machine_is_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert grounds.known(workspace) is None
    why = Models.auto_cuda_bf16()
    found = Machine("2.13.0", "cuda", "13.0", [Card("NVIDIA H100", 80_000)], 8, ["fp32"], "bf16", why, True)
    learned = grounds.keep(workspace, found)
    assert learned == Ground("cuda", "NVIDIA H100", 80_000, 8, "bf16", True, ["NVIDIA H100"]) == grounds.ground(workspace)
    monkeypatch.setattr(grounds, "version", lambda name: "9.9")
    assert grounds.known(workspace) is None
    (workspace.cache / grounds.FILE).write_text("[]")
    assert grounds.known(workspace) is None and grounds.ground(workspace).cores >= 1


def test_measuring_takes_the_longest_rows_twice_and_then_usual_ones() -> None:
    lengths = [5, 50, 7, 40, 6, 8, 9, 10]
    chosen = chosen_rows(lengths, 2)
    assert chosen[:4] == [1, 3, 1, 3] and len(chosen) == 2 * STEPS
    assert max(lengths[at] for at in chosen[4:]) < 40
    assert chosen_rows([3], 4) == [0] * 12


def test_a_measurement_is_the_run_without_all_that_is_no_step(workspace: Workspace) -> None:
    values = {**GOOD, "watch_prompts": ["Why?"], "eval_dataset": "identity", "output_dir": "mine", "learning_rate": 1e-3,
              "gradient_accumulation_steps": 8, "load_best_model_at_end": True}  # fmt: skip
    spec = measure_spec(read_flat(TrainSpec, values).unwrap())
    run = create(workspace, spec)
    assert run.name.startswith(".measure/tiny-") and json.dumps(run.name)
    assert type(run.read_spec().unwrap()) is type(spec)
    short = shortened(spec)
    assert type(short) is TrainSpec and short.optim.max_steps == STEPS
    assert (short.optim.gradient_accumulation_steps, short.optim.learning_rate) == (2, 1e-3)
    assert not short.saving.watch_prompts and not short.data.eval_dataset and not short.saving.load_best_model_at_end
    assert short.tuning == spec.tuning and short.memory == spec.memory


def test_a_terminal_measures_without_beginning_a_run(
    workspace: Workspace, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(home: Workspace, spec: TrainSpec) -> Run:
        measurements.keep(home, measured(home, peak_bytes=990_000_000))
        run = create(home, measure_spec(spec))
        log = EventLog(run.events)
        log.write(Started(1))
        log.write(Finished())
        log.close()
        return run

    monkeypatch.setattr(train, "begin", begin)
    monkeypatch.setattr(grounds, "guess", lambda: CPU)
    code, out, err = tell("train", *(f"{key}={value}" for key, value in GOOD.items()), "precision=fp32", "--measure")
    assert code == 0, err
    assert "needs 990 MB of 24 GB, as measured here" in out
    assert [path.name for path in workspace.saves.iterdir()] == [".measure"]
