"""The proof of an export: a faithful one proves itself, one that was tampered with fails for the right reason."""

import json
import math
import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import PLAIN
from tests.merging import make_adapter
from tests.tiny import HIDDEN, LAYERS, SPECIAL, UNKNOWN, write_model
from workbench import runs
from workbench.desk import Desk, StopAsked
from workbench.engines import BASE, Chat
from workbench.engines.echo import Echo
from workbench.evaluating.records import Question
from workbench.events import EventLog, Phase, tail
from workbench.exporters import EXACT, Bounds, Made, Source, Trained
from workbench.exporters import merged as merge
from workbench.exporting.proof import PROOF, Compared, Proof, Said, evidence, read_proof, remarks, verdict
from workbench.jobs import export
from workbench.merging.configs import write_tokenizer
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.proving import prove, room, settling
from workbench.proving.asking import ANSWERS
from workbench.proving.comparing import compare, divergence
from workbench.proving.prompts import questions
from workbench.proving.reading import reads_alike
from workbench.proving.sides import exported_side
from workbench.runs import Run
from workbench.specs import ExportSpec, TrainSpec, read_flat
from workbench.text import ENGLISH, load_locales, verbatim
from workbench.workspace import Workspace, source_folder

pytestmark = pytest.mark.slow

MERGED = Made("transformers", Path(), None, EXACT)
PROMPTS = ["Who are you?", "What is 2?", "Name it."]
RANK = 4


def lay_adapter(folder: Path, seed: int = 1) -> Path:
    """A LoRA adapter of the tiny model that changes its answers."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    name = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    pairs = {(layer, half): (RANK, HIDDEN) if half == "A" else (HIDDEN, RANK) for layer in range(LAYERS) for half in "AB"}
    tensors = {name.format(*key): draw.normal(0.0, 0.5, shape).astype(np.float32) for key, shape in pairs.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj"],
        "base_model_name_or_path": "models/tiny",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def merged(base: Path, adapters: Sequence[Trained], folder: Path) -> Path:
    """Base and adapters as one folder, by the formula W + weight * B A."""
    shutil.copytree(base, folder)
    weights = load_file(base / "model.safetensors")
    for one in adapters:
        halves = load_file(one.folder / "adapter_model.safetensors")
        for layer in range(LAYERS):
            name = f"model.layers.{layer}.self_attn.q_proj"
            a, b = (halves[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB")
            weights[f"{name}.weight"] = weights[f"{name}.weight"] + one.weight * (b @ a)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def let_it_end(base: Path) -> None:
    """Make the end of turn so likely that the tiny model ends some of its answers."""
    weights = load_file(base / "model.safetensors")
    weights["model.embed_tokens.weight"][2] *= 3
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})


@dataclass
class Bench:
    """An export run as far as it is made, in a workspace of its own."""

    workspace: Workspace
    trained: list[Trained]
    run: Run
    spec: ExportSpec

    @property
    def desk(self) -> Desk:
        return Desk(self.run, EventLog(self.run.events), False)

    @property
    def source(self) -> Source:
        opening = prepare(self.spec.model, self.desk)
        return Source(opening, self.trained, "taken-home")

    def merged(self) -> Path:
        folder = self.workspace.models / "taken-home"
        return merged(self.workspace.models / "tiny", self.trained, folder)

    def prove(self, folder: Path, made: Made = MERGED) -> Proof:
        return prove(self.spec, self.source, made, folder, self.desk)


@pytest.fixture
def lay(workspace: Workspace) -> Callable[..., Bench]:
    let_it_end(workspace.models / "tiny")

    def laid(weights: Sequence[float] = (1.0,), **more: Any) -> Bench:
        trained = [Trained(lay_adapter(workspace.saves / f"one{at}", at + 1), weight) for at, weight in enumerate(weights)]
        values = {
            "model_name_or_path": "models/tiny", "export_format": "adapter", "proof_prompts": PROMPTS, "proof_tokens": 12,
            "adapter_name_or_path": [f"saves/{one.folder.name}" for one in trained], **more,
        }  # fmt: skip
        spec = read_flat(ExportSpec, values).unwrap()
        return Bench(workspace, trained, runs.create(workspace, spec), spec)

    return laid


@pytest.fixture
def bench(lay: Callable[..., Bench]) -> Bench:
    return lay()


# --- a faithful export -----------------------------------------------------------------------------------------------


def test_an_exact_merge_proves_itself(bench: Bench) -> None:
    proof = bench.prove(bench.merged())
    assert proof.proved and proof.reasons == []
    assert [one.prompt for one in proof.compared] == PROMPTS
    assert all(one.here == one.there and one.same_prompt for one in proof.compared)
    assert {"same"} <= {one.ending for one in proof.compared} <= {"same", "none"}, "some answers must end for it to say anything"
    assert proof.share == 1 and proof.divergence < 1e-6 and proof.tokens > 15
    phases = [one.event for one in tail(bench.run.events, 0)[0] if isinstance(one.event, Phase) and one.event.name == "proving"]
    assert (phases[-1].done, phases[-1].total) == (6, 6)


def test_the_base_itself_and_what_was_trained_whole_prove_themselves(lay: Callable[..., Bench]) -> None:
    alone = lay(())
    folder = alone.merged()
    assert alone.prove(folder).proved
    whole = replace(alone, trained=[Trained(alone.workspace.models / "whole")])
    merged(alone.workspace.models / "tiny", [Trained(lay_adapter(alone.workspace.saves / "x"))], whole.trained[0].folder)
    (alone.run.folder / ANSWERS).unlink()
    assert not whole.prove(folder).proved and whole.prove(whole.trained[0].folder).proved


def test_adapters_count_as_strongly_as_they_were_told(lay: Callable[..., Bench]) -> None:
    bench = lay((0.5, -2.0))
    folder = bench.merged()
    assert bench.prove(folder).proved
    shutil.rmtree(folder)
    merged(bench.workspace.models / "tiny", [replace(one, weight=1.0) for one in bench.trained], folder)
    assert not bench.prove(folder).proved


def test_an_adapter_is_proved_over_its_base(bench: Bench) -> None:
    folder = bench.workspace.models / "home"
    shutil.copytree(bench.trained[0].folder, folder)
    bench.source.opening.tokenizer().save_pretrained(str(folder))
    made = Made("transformers", None, Path(), EXACT)
    assert bench.prove(folder, made).proved
    lay_adapter(bench.workspace.saves / "other", 9)
    shutil.copyfile(bench.workspace.saves / "other/adapter_model.safetensors", folder / "adapter_model.safetensors")
    assert "answer" in bench.prove(folder, made).reasons


def test_what_was_learned_over_four_bits_is_compared_with_what_was_exported(lay: Callable[..., Bench]) -> None:
    folder = lay(()).workspace.saves / "tiny/lora/mine"
    workspace = Workspace(folder.parents[3])
    train_run(workspace, quantization_bit="4", quantization_type="nf4")
    bench = lay((), adapter_name_or_path=[str(folder)], output_dir="few")
    bench = replace(bench, trained=[Trained(folder)])
    home = bench.merged()
    assert [str(note.message) for note in bench.run.view().notes] == []
    over_original = bench.prove(home, replace(MERGED, original=True))
    assert over_original.proved and over_original.original
    assert "the base's own weights" in str(remarks(over_original)[0])
    (bench.run.folder / ANSWERS).unlink()
    over_bits = bench.prove(home)
    assert not over_bits.proved and not over_bits.original and over_bits.divergence > 1e-3


@pytest.mark.parametrize("kind", ["ia3", "dora", "whole modules"])
def test_half_an_adapter_of_any_kind_is_proved(kind: str, lay: Callable[..., Bench]) -> None:
    bench = lay(())
    configs: Mapping[str, Any] = {
        "ia3": lambda: IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "dora": lambda: LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], use_dora=True),
        "whole modules": lambda: LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], modules_to_save=["norm"]),
    }
    from peft import IA3Config, LoraConfig

    adapter = make_adapter(bench.workspace.models / "tiny", bench.workspace.saves / "other", configs[kind]())
    bench = replace(bench, trained=[Trained(adapter, 0.5)])
    folder = bench.workspace.models / "taken-home"
    folder.mkdir()
    merge.export(merge.Spec(), bench.source, folder)
    proof = bench.prove(folder)
    assert proof.proved and proof.apart is not None and proof.apart > 1e-3


# --- one that was tampered with --------------------------------------------------------------------------------------


def other_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"] *= 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def other_template(folder: Path) -> None:
    file = folder / "chat_template.jinja"
    file.write_text(file.read_text("utf-8").replace("assistant\\n", "assistant"), "utf-8")


def other_tokenizer(folder: Path) -> None:
    file = folder / "tokenizer.json"
    held = json.loads(file.read_text("utf-8"))
    held["model"]["merges"] = held["model"]["merges"][:10]
    file.write_text(json.dumps(held), "utf-8")


def no_end(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": SPECIAL.index(UNKNOWN)}), "utf-8")


@pytest.mark.parametrize(
    ("tamper", "reason", "words"),
    [
        (other_weights, "answer", "answers differ"),
        (other_template, "prompt", "3 of 3 prompts become other tokens"),
        (other_tokenizer, "prompt", "other tokens"),
        (no_end, "end", "do not stop where they stopped here"),
    ],
)
def test_what_was_tampered_with_fails_for_its_reason(bench: Bench, tamper: Callable[[Path], None], reason: str, words: str) -> None:
    folder = bench.merged()
    tamper(folder)
    proof = bench.prove(folder)
    assert not proof.proved and proof.reasons[0] == reason
    assert words in str(verdict(proof, "it")) and "NOT proved" in str(verdict(proof, "it"))
    here, there = (str(one) for one in evidence(proof))
    assert here.startswith("Here: ") and there.startswith("There: ")


def test_the_export_says_by_itself_what_was_chosen_beside_the_template(lay: Callable[..., Bench]) -> None:
    bench = lay(default_system="Be kind.")
    folder = bench.merged()
    lost = bench.prove(folder)
    assert lost.reasons[0] == "prompt" and not any(one.same_prompt for one in lost.compared)
    write_tokenizer(bench.source, folder)
    assert bench.prove(folder).proved


def test_an_export_that_lacks_the_training_is_told_within_any_bounds(lay: Callable[..., Bench]) -> None:
    bench = lay((0.1,))
    folder, loose = bench.merged(), replace(MERGED, bounds=Bounds(0.0, 0.5))
    kept = bench.prove(folder, loose)
    assert kept.proved and kept.apart is not None and 0.05 < kept.apart < 0.5, "the bound alone would let the base pass"
    tight = replace(kept, bounds=Bounds(0.5, 0.0))
    assert tight.reasons == ["divergence"] and "rounds the weights" in str(remarks(tight)[0])
    nearly = replace(kept, bounds=Bounds(0.95, 1.0), compared=[replace(kept.compared[0], tokens=100, same=99)])
    assert nearly.proved and "rounds the weights" in str(remarks(nearly)[0])
    for other in (0.75, 0.99):  # of a coarse format everybody knows, and the finest round nothing
        assert remarks(replace(nearly, bounds=Bounds(other, 1.0))) == remarks(nearly)[1:]
    shutil.rmtree(folder)
    shutil.copytree(bench.workspace.models / "tiny", folder)
    left_out = bench.prove(folder, loose)
    assert left_out.reasons == ["training"] and left_out.from_base == pytest.approx(0, abs=1e-6)
    assert "what was trained is not in it" in str(verdict(left_out, "it")) and len(evidence(left_out)) == 2
    assert Proof.from_json(json.loads(json.dumps(left_out.to_json()))) == left_out
    wider = bench.prove(folder, replace(MERGED, bounds=Bounds(0.0, 100.0)))
    assert wider.proved and "can't be told" in str(remarks(wider)[0]), "what a format rounds may hide so small a training"


@pytest.mark.parametrize("weights", [(1.0,), (0.5, 1.0)])
def test_the_model_before_the_training_is_heard_without_it(weights: Sequence[float], lay: Callable[..., Bench]) -> None:
    """Of one adapter in the same engine, of several in one of its own: either way as the base answers alone."""
    bench = lay(weights)
    trained = bench.prove(bench.merged())
    base = bench.workspace.models / "tiny"
    shutil.rmtree(bench.workspace.models / "taken-home")
    shutil.copytree(base, bench.workspace.models / "taken-home")
    bare = bench.prove(bench.workspace.models / "taken-home")
    assert trained.proved and trained.apart == pytest.approx(bare.divergence, rel=1e-4) and bare.divergence > 0.05


def test_an_export_that_does_not_open_is_told(bench: Bench) -> None:
    folder = bench.merged()
    (folder / "model.safetensors").write_bytes(b"\x10")
    proof = bench.prove(folder)
    assert proof.reasons == ["trouble"] and "It does not open" in str(verdict(proof, "it"))
    assert evidence(proof) == []


def test_looser_bounds_forgive_words_and_not_the_end_of_turn(bench: Bench) -> None:
    folder, loose = bench.merged(), replace(MERGED, bounds=Bounds(0.0, 100.0))
    other_weights(folder)
    assert "answer" not in bench.prove(folder, loose).reasons
    folder = bench.workspace.models / "other"
    merged(bench.workspace.models / "tiny", bench.trained, folder)
    no_end(folder)
    proof = bench.prove(folder, loose)
    assert proof.reasons == ["end"] and proof.share == 1



def test_figures_beyond_the_bounds_are_told_with_both(bench: Bench) -> None:
    folder = bench.merged()
    other_weights(folder)
    few = bench.prove(folder, replace(MERGED, bounds=Bounds(0.99, 100.0)))
    assert few.reasons == ["tokens"] and "at least 99.00 %" in str(verdict(few, "it")) and len(evidence(few)) == 2
    far = replace(few, bounds=Bounds(0.0, 0.001))
    assert far.reasons == ["divergence"] and "up to 0.0010" in str(verdict(far, "it"))


# --- how it is made --------------------------------------------------------------------------------------------------


def test_who_goes_on_does_not_ask_the_training_side_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bench.merged()
    first = bench.prove(folder)
    lines = (bench.run.folder / ANSWERS).read_bytes().splitlines(keepends=True)
    (bench.run.folder / ANSWERS).write_bytes(b"".join(lines[:2]) + lines[2][:30])
    loaded: list[str] = []
    source = bench.source

    def model(precision: Any) -> Any:
        loaded.append("base")
        return source.opening.model(precision)

    counted = replace(source, opening=replace(source.opening, model=model))
    assert prove(bench.spec, counted, MERGED, folder, bench.desk) == first and loaded == ["base"]
    assert prove(bench.spec, counted, MERGED, folder, bench.desk) == first and loaded == ["base"]
    assert (bench.run.folder / ANSWERS).read_bytes() == b"".join(lines)


def test_the_two_models_are_never_in_memory_at_once(bench: Bench) -> None:
    import peft  # noqa: F401 - a warning of its first import keeps whoever imported it in pytest's log

    folder, source = bench.merged(), bench.source
    loaded: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def watched(load: Callable[..., Any]) -> Callable[..., Any]:
        def loading(*given: Any) -> Any:
            alive.append(sum(one() is not None for one in loaded))
            model = load(*given)
            loaded.append(weakref.ref(model))
            return model

        return loading

    opening = replace(source.opening, model=watched(source.opening.model), whole=watched(source.opening.whole))
    assert prove(bench.spec, replace(source, opening=opening), MERGED, folder, bench.desk).proved
    assert alive == [0, 0]


def test_a_stop_is_heeded_between_two_prompts(bench: Bench) -> None:
    folder, desk = bench.merged(), bench.desk
    asked: list[int] = []
    say = desk.say

    def stopping(event: Any) -> None:
        say(event)
        if isinstance(event, Phase) and event.total:
            asked.append(event.done)
            bench.run.stop_file.touch()

    desk.say = stopping  # type: ignore[method-assign]
    with pytest.raises(StopAsked):
        prove(bench.spec, bench.source, MERGED, folder, desk)
    assert asked == [0]


def test_where_no_answer_ends_some_get_more_tokens(lay: Callable[..., Bench]) -> None:
    bench = lay(proof_tokens=4, proof_prompts=["Hello", "What is 2?", "Who?"])
    folder = bench.merged()
    short = bench.prove(folder)
    assert [one.ending for one in short.compared].count("same") == 1 and short.proved
    (longer,) = (one for one in short.compared if one.tokens > 4)
    assert longer.here.finish == longer.there.finish == "stop" and longer.tokens <= 257
    held = (bench.run.folder / ANSWERS).read_bytes()
    assert bench.prove(folder) == short and (bench.run.folder / ANSWERS).read_bytes() == held, "nobody asks twice"
    no_end(folder)
    assert bench.prove(folder).reasons[0] == "end"


def test_where_none_ends_it_is_said_and_not_tried_again(lay: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.proving.LONGER", 6)
    bench = lay(proof_tokens=4)
    write_model(bench.workspace.models / "tiny")
    folder = bench.merged()
    proof = bench.prove(folder)
    assert proof.proved and {one.ending for one in proof.compared} == {"none"} and proof.tokens == 12
    assert "No answer ended" in str(remarks(proof)[-1])
    monkeypatch.setattr("workbench.proving.tell", None)
    assert bench.prove(folder) == proof


def test_without_room_for_fp32_both_sides_are_rounded_alike_and_it_is_said(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bench.merged()
    needed = (folder / "model.safetensors").stat().st_size
    monkeypatch.setattr(room, "free_bytes", lambda: needed)
    proof = bench.prove(folder)
    assert proof.precision == "bf16" and proof.bounds == Bounds(0.9, 0.05)
    assert any("bf16" in str(one) for one in remarks(proof))
    monkeypatch.setattr(room, "free_bytes", lambda: 100)
    assert "of memory" in str(verdict(bench.prove(folder), "it"))


def train_run(workspace: Workspace, **more: Any) -> Path:
    values = {"model_name_or_path": "models/tiny", "dataset": ["plain"], "output_dir": "mine", "val_size": 0.2, **more}
    run = runs.create(workspace, read_flat(TrainSpec, values).unwrap())
    shutil.copytree(lay_adapter(workspace.root / "laid"), run.folder, dirs_exist_ok=True)
    return run.folder


@pytest.mark.parametrize(
    ("values", "kinds", "note"),
    [
        ({}, {"held": 4, "learned": 6}, ""),
        ({"val_size": 0.6}, {"held": 10}, ""),
        ({"tokenized_path": "gone"}, {"everyday": 10}, "streamed"),
        ({"dataset": ["missing"]}, {"everyday": 10}, "No dataset named"),
    ],
)
def test_the_runs_own_rows_are_asked(workspace: Workspace, values: Mapping[str, Any], kinds: Mapping[str, int], note: str) -> None:
    trained = train_run(workspace, **values)
    spec = read_flat(ExportSpec, {"model_name_or_path": "models/tiny", "adapter_name_or_path": [str(trained)]}).unwrap()
    desk = Desk(runs.create(workspace, spec), None, False)
    notes: list[str] = []
    desk.note = lambda message, level="info": notes.append(str(message))  # type: ignore[method-assign]
    asked = questions(spec, Source(prepare(spec.model, desk), [Trained(trained)], "x"), desk)
    assert {kind: sum(one.set == kind for one in asked) for kind in {one.set for one in asked}} == kinds
    assert len({one.place for one in asked}) == 10
    if "held" in kinds:
        assert {one.messages[-1]["content"] for one in asked} <= {row["instruction"] for row in PLAIN}
    assert any(note in one for one in notes) or not note


def test_prompts_that_have_no_room_are_not_asked(workspace: Workspace) -> None:
    long = [{"instruction": f"{at} " + "word " * 2000, "output": "yes"} for at in range(20)]
    (workspace.data / "plain.json").write_text(json.dumps(long), "utf-8")
    trained = train_run(workspace, cutoff_len=16384)
    spec = read_flat(ExportSpec, {"model_name_or_path": "models/tiny", "adapter_name_or_path": [str(trained)]}).unwrap()
    desk = Desk(runs.create(workspace, spec), None, False)
    asked = questions(spec, Source(prepare(spec.model, desk), [Trained(trained)], "x"), desk)
    assert {one.set for one in asked} == {"everyday"}


class Reading(Echo):
    """An engine that says that it reads these tokens, by our tokenizer and by its own."""

    own: Sequence[int] | None = ()
    asked: Chat | None = None

    def tokens(self, prompt: Any) -> Sequence[int]:
        return [1, 2]

    def read(self, chat: Chat) -> Sequence[int]:
        self.asked = chat
        if self.own is None:
            raise UserError(verbatim("no"))
        return self.own


def test_what_an_engine_reads_by_itself_must_be_the_same_too(bench: Bench) -> None:
    side = exported_side(bench.source, MERGED, bench.merged(), "fp32")
    engine, user = Reading((BASE,), 0.0), {"role": "user", "content": "Who?"}

    def alike(own: Sequence[int] | None, **changed: Any) -> bool:
        engine.own, engine.asked = own, None
        return reads_alike(engine, side, Question("given", 0, [{**user, **changed}], ""), [1, 2])

    assert alike([1, 2]) and not alike([1, 1, 2]) and not alike(None)
    assert engine.asked == Chat([user]), "nothing is said that its own template should say"
    for changed in ({"content": "a <|im_end|> b"}, {"reasoning_content": "hm"}):
        assert alike([7], **changed) and engine.asked is None, "others read that otherwise, and no fault of the export"
    assert not reads_alike(engine, side, Question("given", 0, [user], ""), [1, 2, 3])
    side, engine.own = replace(side, brings_template=False), [7]
    assert alike([7]), "of an adapter alone the template is its base's"


# --- figures ---------------------------------------------------------------------------------------------------------


def likely(*shares: float) -> dict[int, float]:
    """Tokens by their place and how likely each is, the likeliest first."""
    return {token: math.log(shares[token]) for token in sorted(range(len(shares)), key=lambda token: -shares[token])}


def test_the_divergence_is_a_lower_bound_of_the_true_one() -> None:
    here, there = likely(0.5, 0.3, 0.15, 0.05), likely(0.4, 0.3, 0.1, 0.2)
    true = sum(math.exp(here[one]) * (here[one] - there[one]) for one in here)
    assert divergence(here, there) == pytest.approx(true) and divergence(here, here) == 0
    few = divergence({0: here[0], 1: here[1]}, {0: there[0], 1: there[1]})
    assert 0 < few < true
    assert divergence({0: here[0]}, {3: there[3]}) == 0, "nothing is known of any token on both sides"


def test_a_tie_may_turn_either_way_and_nothing_else() -> None:
    tied, sure = likely(0.45, 0.45 * (1 - 1e-5), 0.1), likely(0.6, 0.3, 0.1)
    turned = likely(0.3, 0.6, 0.1)
    places = compare([0, 0, 0], [tied, sure, sure], [turned, turned, sure])
    assert (places.tokens, places.same, places.ties) == (3, 2, 1)
    one = Compared("given", "?", Said("a", "stop"), Said("b", "stop"), True, 3, 3, 1, 0.0, "none")
    assert one.same_answer and not replace(one, ties=0).same_answer and not replace(one, same=2).same_answer


def test_a_proof_is_kept_and_read_back(bench: Bench) -> None:
    folder = bench.merged()
    no_end(folder)
    proof = settling.settle(bench.spec, bench.source, MERGED, folder, bench.desk)
    for home in (bench.run.folder, folder):
        assert read_proof(home) == proof
        held = json.loads((home / PROOF).read_text("utf-8"))
        assert held["proved"] is False and held["reasons"][0] == "end"
    notes = bench.run.view().notes
    assert [note.level for note in notes if "NOT proved" in str(note.message)] == ["warning"]
    assert any(str(note.message).startswith("Here: ") for note in notes)
    assert settling.figures(proof)["proved"] == 0
    (folder / PROOF).write_text('{"compared": 1}', "utf-8")
    assert read_proof(folder) is None and read_proof(folder / "none") is None


def test_a_proof_with_trouble_is_kept_in_every_language(tmp_path: Path) -> None:
    proof = Proof("llamacpp", EXACT, 64, trouble=room.Say.no_room(needed="2 GB", free="1 GB"))
    (tmp_path / PROOF).write_text(json.dumps(proof.to_json()), "utf-8")
    assert read_proof(tmp_path) == proof
    for locale in (ENGLISH, load_locales(source_folder() / "locales")["zh"]):
        assert "2 GB" in locale(verdict(proof, "it"))


# --- the job ---------------------------------------------------------------------------------------------------------


def test_the_job_proves_what_it_made_and_says_so(bench: Bench) -> None:
    numbers = export.run(bench.spec, bench.desk)
    folder = bench.workspace.models / "one0-adapter"
    assert numbers["proved"] == 1 and numbers["divergence"] < 1e-6 and read_proof(folder) == read_proof(bench.run.folder)
    again = export.run(bench.spec, bench.desk)
    assert again == numbers, "an export that stands whole is only proved"
    assert any("only proved" in str(note.message) for note in bench.run.view().notes)


def test_the_job_warns_of_an_adapter_that_another_belongs_under(bench: Bench) -> None:
    told = "adapter_name_or_path: [saves/first]\ncreate_new_adapter: true\n"
    (bench.trained[0].folder / "spec.yaml").write_text(told, "utf-8")
    export.run(bench.spec, bench.desk)
    (note,) = (note for note in bench.run.view().notes if "learned over a base" in str(note.message))
    assert note.level == "warning" and "'first'" in str(note.message)


# --- GGUF ------------------------------------------------------------------------------------------------------------


def swap(file: Path, before: bytes, after: bytes) -> None:
    """Change bytes of a file where they stand once."""
    held = file.read_bytes()
    assert held.count(before) == 1 and len(before) == len(after)
    file.write_bytes(held.replace(before, after))


@pytest.mark.slow
def test_a_gguf_is_proved_by_llama_cpp_with_its_own_tokenizer_and_template(lay: Callable[..., Bench]) -> None:
    chinese = "你好，你是谁？"
    bench = lay(proof_prompts=[*PROMPTS, chinese], export_format="gguf", gguf_kind="f32", export_dir="home")
    numbers = export.run(bench.spec, bench.desk)
    folder = bench.workspace.models / "home"
    proof = read_proof(folder)
    assert proof is not None and proof.proved and proof.share == 1 and numbers["divergence"] < 1e-4
    assert proof.likeliest == 256 and "same" in {one.ending for one in proof.compared}
    made = export.read_made(folder)
    assert made.model is not None
    file = folder / made.model
    whole = file.read_bytes()
    swap(file, b"<|im_end|>\\n' }}", b"<|im_end|>  ' }}")
    assert bench.prove(folder, made).reasons[0] == "prompt"
    file.write_bytes(whole[:-2000])
    assert bench.prove(folder, made).reasons == ["trouble"]
