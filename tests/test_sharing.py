"""Several processes: how rows are dealt out, what does not go together, which cards are shown, what is left for each."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from workbench import preconditions
from workbench.checking import check_train
from workbench.deepspeed_file import own_file
from workbench.estimates.model_facts import ModelFacts
from workbench.estimates.needs import PARTS, Ground, Setting
from workbench.estimates.sharing import shared_parts
from workbench.jobs.train import team
from workbench.jobs.train.dealing import Dealt, dealing_trainer, dealt
from workbench.jobs.train.ranks import VISIBLE, Others, choose_cards, environment, together
from workbench.jobs.train.sharing import deepspeed_settings
from workbench.plans import rows_a_step, total_steps
from workbench.preconditions import unmet
from workbench.problems import UserError
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace


def spec_of(**more: Any) -> TrainSpec:
    return read_flat(TrainSpec, more).unwrap()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine the tests run on, it is not Apple's."""
    monkeypatch.setattr(preconditions, "on_apple", lambda: False)


def problems(**more: Any) -> dict[str | None, str]:
    return {problem.key: str(problem.message) for problem in unmet(spec_of(**more))}


class Batches:
    """What torch's BatchSampler is to accelerate."""

    sampler, drop_last = None, False

    def __init__(self, rows: int, batch_size: int) -> None:
        self.batch_size = batch_size
        self._batches = [list(range(at, min(at + batch_size, rows))) for at in range(0, rows, batch_size)]

    def __iter__(self) -> Any:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)


@pytest.mark.parametrize("processes", [2, 3, 8])
@pytest.mark.parametrize("rows", [8, 16, 17, 18, 23, 24, 31])
def test_every_row_is_dealt_to_one_process_and_all_have_as_many_batches(rows: int, processes: int) -> None:
    hands = [list(Dealt(Batches(rows, 4), place, processes)) for place in range(processes)]
    together = Batches(rows, 4 * processes)
    assert {len(hand) for hand in hands} == {len(together)} == {len(Dealt(Batches(rows, 4), 0, processes))}
    for step, batch in enumerate(together):
        parts = [hand[step] for hand in hands]
        assert all(0 < len(part) <= 4 for part in parts)
        if len(batch) >= processes:
            assert [row for part in parts for row in part] == batch, "as one process with so much larger batches"
        else:
            assert {row for part in parts for row in part} == set(batch), "none is left out"


def test_where_rows_do_not_do_for_all_some_come_twice() -> None:
    assert [dealt([7, 8], place, 3) for place in range(3)] == [[7], [8], [7]]


def test_a_step_sees_the_rows_of_all_processes() -> None:
    spec = spec_of(num_processes=3, per_device_train_batch_size=4, gradient_accumulation_steps=2, num_train_epochs=2)
    assert rows_a_step(spec) == 24
    assert total_steps(spec, 100) == 2 * 5, "nine batches of three times four rows an epoch, two a step"
    assert spec_of(devices="0, 1").sharing.processes == 2
    assert spec_of(devices=[0, 1], num_processes=1).sharing.way == ""


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"devices": "0, one"}, "devices", "Accepted: different whole numbers"),
        ({"devices": "1, 1"}, "devices", "Accepted: different whole numbers"),
        ({"devices": "0", "num_processes": 2}, "num_processes", "at most one process for each"),
        ({"num_processes": 2, "stage": "ppo"}, "num_processes", "learns in one process"),
        ({"num_processes": 2, "stage": "grpo", "distributed": "fsdp2"}, "distributed", "Accepted: ddp."),
        ({"num_processes": 2, "distributed": "fsdp2", "optim": "muon"}, "optim", "does not go with fsdp2"),
        ({"num_processes": 2, "distributed": "fsdp2", "quantization_bit": 4}, "quantization_bit", "does not go with"),
        ({"num_processes": 2, "distributed": "fsdp2", "finetuning_type": "prompt"}, "distributed", "can't be divided"),
        (
            {"num_processes": 2, "distributed": "fsdp2", "stage": "dpo", "finetuning_type": "full"},
            "distributed",
            "The reference needs all weights",
        ),
        ({"num_processes": 2, "optim": "badam", "finetuning_type": "full"}, "optim", "moves one layer at a time"),
        ({"num_processes": 2, "auto_find_batch_size": True}, "auto_find_batch_size", "batches of one size"),
        ({"num_processes": 2, "distributed": "zero3"}, "distributed", "needs the package deepspeed"),
        ({"distributed": "zero2", "offload": True}, "distributed", "needs the package deepspeed"),
    ],
)
def test_what_does_not_go_together_is_said_beside_its_field(given: dict[str, Any], key: str, words: str) -> None:
    assert words in problems(**given)[key]


def test_what_goes_together_is_not_refused() -> None:
    assert problems(num_processes=2) == problems(devices="0, 3") == problems(distributed="zero3") == {}
    assert problems(num_processes=2, distributed="fsdp2", stage="dpo") == {}
    assert problems(num_processes=2, stage="dpo", finetuning_type="full") == {}


@pytest.mark.parametrize(
    ("shown", "given", "left"),
    [
        (None, {}, "0"),
        ("", {}, ""),
        ("-1", {}, "-1"),
        ("", {"num_processes": 2}, ""),
        (None, {"num_processes": 2}, None),
        ("GPU-a, GPU-b", {"devices": "1"}, "GPU-b"),
        ("2,5", {}, "2"),
        (None, {"devices": "1, 3"}, "1,3"),
        ("2,5", {"devices": "1"}, "5"),
        ("2,5", {"num_processes": 2}, "2,5"),
        (None, {"devices": "1, 3", "num_processes": 1}, "1"),
    ],
)
def test_cuda_is_shown_the_cards_of_the_run(
    shown: str | None, given: dict[str, Any], left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(shown, monkeypatch)
    choose_cards(spec_of(**given).sharing)
    assert os.environ.get(VISIBLE) == left


def show(shown: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the variable be so until the test ends, whatever is done to it."""
    monkeypatch.setenv(VISIBLE, shown or "")
    if shown is None:
        del os.environ[VISIBLE]


@pytest.mark.parametrize(
    ("shown", "given", "words"),
    [
        ("2,3", "5", "Card 5 is chosen, and CUDA_VISIBLE_DEVICES shows 2: '2,3'. Accepted: 0 to 1"),
        ("2,3", "0, 2", "Card 2 is chosen"),
        ("", "0", "is empty, which shows none"),
    ],
)
def test_a_card_that_is_not_shown_is_refused(
    shown: str, given: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(shown, monkeypatch)
    with pytest.raises(UserError) as raised:
        choose_cards(spec_of(devices=given).sharing)
    assert words in str(raised.value) and raised.value.problems[0].key == "devices"
    assert os.environ[VISIBLE] == shown


def test_processors_are_shared_before_torch_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show(None, monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    del os.environ["OMP_NUM_THREADS"]
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(team, "open_store", lambda count: pytest.fail(f"{count} {os.environ['OMP_NUM_THREADS']}"))
    desk: Any = FakeDesk(tmp_path)
    with pytest.raises(pytest.fail.Exception, match="3 4"), together(spec_of(num_processes=3), desk):
        pass


@pytest.mark.parametrize(("code", "how"), [(0, "ended with code 0"), (1, "ended with code 1"), (-9, "(signal 9)")])
def test_a_process_that_ends_before_the_first_one_is_noticed(code: int, how: str, tmp_path: Path) -> None:
    desk: Any = FakeDesk(tmp_path)
    desk.run.folder = tmp_path
    (tmp_path / "worker-2.log").write_text("Farewell.\n")
    others = Others(spec_of(num_processes=2), desk)
    others._processes = {1: type("Process", (), {"poll": lambda self: None, "returncode": code})()}
    assert others._fallen() is None
    others._processes = {1: type("Process", (), {"poll": lambda self: code, "returncode": code})()}
    fallen = others._fallen()
    assert fallen is not None and how in str(fallen) and "Farewell." in str(fallen)


def test_apple_s_chip_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preconditions, "on_apple", lambda: True)
    assert "Accepted: 1" in problems(num_processes=2)["num_processes"]
    assert "Accepted: 1" in problems(devices="0, 1")["devices"]
    assert problems() == problems(devices="0") == {}


def test_a_mean_counts_as_many_rows_as_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with the batches [1, 2] and [6]: what they learn on average is the mean of all three."""

    class Trainer:
        loss_is_scaled_for_ga: bool | None = False
        model = type("Model", (), {"training": True})()

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, count: Any = None) -> Any:
            mean = sum(inputs["input_ids"]) / len(inputs["input_ids"])
            return (mean, "said") if return_outputs else mean

    monkeypatch.setattr(team, "size", lambda: 2)
    monkeypatch.setattr(team, "summed", lambda numbers: [3])
    dealing = dealing_trainer(Trainer)
    hands = [{"input_ids": [1.0, 2.0]}, {"input_ids": [6.0]}]
    assert sum(dealing().compute_loss(None, hand) for hand in hands) / 2 == pytest.approx(3.0)
    assert dealing().compute_loss(None, hands[1], return_outputs=True) == (pytest.approx(4.0), "said")
    for name, value in (("loss_is_scaled_for_ga", None), ("model", type("Model", (), {"training": False})())):
        assert type("Other", (dealing,), {name: value})().compute_loss(None, hands[1]) == 6.0


def test_the_environment_is_that_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    given = environment(1, 4, 29_400)
    assert given["OMP_NUM_THREADS"] == "7", "the person's own word holds"
    wanted = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}
    assert wanted.items() <= given.items()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert int(environment(0, 10_000, 1)["OMP_NUM_THREADS"]) == 1


class FakeDesk:
    def __init__(self, root: Path) -> None:
        self.run = type("FakeRun", (), {"workspace": Workspace(root)})()


def test_deepspeed_is_told_the_stage_and_what_may_rest(tmp_path: Path) -> None:
    desk: Any = FakeDesk(tmp_path)
    zero = deepspeed_settings(spec_of(num_processes=2, distributed="zero3", offload=True), desk)["zero_optimization"]
    assert zero["stage"] == 3
    assert zero["offload_param"]["device"] == zero["offload_optimizer"]["device"] == "cpu"
    plain = deepspeed_settings(spec_of(num_processes=2, distributed="zero2"), desk)["zero_optimization"]
    assert plain["stage"] == 2 and not [name for name in plain if name.startswith("offload")]
    (tmp_path / "own.json").write_text('{"zero_optimization": {"stage": 1}}', "utf-8")
    own = spec_of(num_processes=2, distributed="zero2", deepspeed="own.json")
    assert deepspeed_settings(own, desk) == {"zero_optimization": {"stage": 1}}


OWN: dict[str, Any] = {"num_processes": 2, "distributed": "zero2", "deepspeed": "own.json"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "'own.json' can't be read as DeepSpeed's settings: there is no such file. Accepted: a JSON file"),
        ('{\n "zero_optimization": {"stage": 2},\n}', "line 3, column 1"),
        ("[1]", "holds no JSON object"),
        ('{"zero_optimization": 2}', "its zero_optimization is 2 and no object"),
        ('{"zero_optimization": {"stage": 4}}', "its zero_optimization.stage is 4, and there are 0, 1, 2, 3"),
        ('{"gradient_accumulation_steps": 3}', "says gradient_accumulation_steps: 3, and 'Accumulation' is 2"),
        ('{"optimizer": {"params": {"lr": 0.1}}}', "says optimizer.params.lr: 0.1, and 'Learning rate' is 3e-4"),
    ],
)
def test_a_broken_file_of_deepspeed_is_refused_by_name_before_anything_starts(
    text: str | None, words: str, workspace: Workspace
) -> None:
    if text is not None:
        (workspace.root / "own.json").write_text(text, "utf-8")
    told = {problem.key: str(problem.message) for problem in check_train(workspace, {**GOOD, **OWN}).problems}
    assert words in told["deepspeed"] and "own.json" in told["deepspeed"]
    alone = check_train(workspace, {**GOOD, **OWN, "num_processes": 1})
    assert alone.spec is not None, "what is not used is not read"
    with pytest.raises(UserError, match="Accepted: a name or a path inside it"):
        own_file(workspace, spec_of(**{**OWN, "deepspeed": "../own.json"}))


@pytest.mark.parametrize(
    ("settings", "more", "words"),
    [
        ({"zero_optimization": {"stage": 2}, "gradient_accumulation_steps": "auto", "gradient_clipping": 1}, {}, []),
        ({"zero_optimization": {"stage": 3}}, {}, ["has stage 3 of ZeRO, and that holds: 'Shared as' is zero2"]),
        ({"zero_optimization": {"stage": 2}}, {"offload": True}, ["'Rest in memory' is on and has no effect"]),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
            {},
            ["though 'Rest in memory' is off"],
        ),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}, {"offload": True}, []),
        ({"zero_optimization": {"stage": 2, "offload_param": {"device": "none"}}}, {}, []),
        (
            {"zero_optimization": {"stage": 2}, "optimizer": {"type": "AdamW"}, "scheduler": {"type": "WarmupLR"}},
            {},
            ["'Optimiser' has no effect", "'Scheduler' has no effect"],
        ),
    ],
)
def test_what_a_file_of_deepspeed_overrules_is_told(
    settings: dict[str, Any],
    more: dict[str, Any],
    words: list[str],
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preconditions, "find_spec", lambda name: name)
    (workspace.root / "own.json").write_text(json.dumps(settings), "utf-8")
    checked = check_train(workspace, {**GOOD, **OWN, **more})
    assert checked.problems == ()
    told = [str(one) for one in checked.warnings if "own.json" in str(one)]
    assert len(told) == len(words) and all(one in said for one, said in zip(words, told, strict=True))


@pytest.mark.parametrize(
    ("name", "way", "offload"),
    [
        ("examples/deepspeed/ds_z0_config.json", "ddp", False),
        ("examples/deepspeed/ds_z2_config.json", "zero2", False),
        ("examples/deepspeed/ds_z2_offload_config.json", "zero2", True),
        ("ds_z3_config.json", "zero3", False),
        ("examples/deepspeed/ds_z3_offload_config.json", "zero3", True),
        ("examples/deepspeed/ds_z3_fp8_config.json", "zero3", False),
    ],
)
def test_a_file_of_a_tutorial_says_by_its_name_how_a_model_is_divided(name: str, way: str, offload: bool) -> None:
    section = spec_of(deepspeed=name).sharing
    assert (section.distributed, section.offload, section.deepspeed) == (way, offload, "")


def test_other_words_of_tutorials_for_dividing() -> None:
    own = spec_of(deepspeed="mine/settings.json").sharing
    assert (own.distributed, own.deepspeed) == ("zero3", "mine/settings.json")
    inline = spec_of(deepspeed={"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}).sharing
    assert (inline.distributed, inline.offload) == ("zero2", True)
    reading = read_flat(TrainSpec, {"fsdp": "full_shard auto_wrap offload", "fsdp_config": {"fsdp_min_num_params": 5}})
    section = reading.unwrap().sharing
    assert (section.distributed, section.offload) == ("fsdp2", True)
    assert [str(warning) for warning in reading.warnings if "fsdp_min_num_params" in str(warning)]
    assert spec_of(fsdp_config={"fsdp_offload_params": True}, fsdp="full_shard").sharing.offload
    assert not spec_of(deepspeed=None, fsdp="", ddp_find_unused_parameters=None).sharing.way


def facts() -> ModelFacts:
    return ModelFacts("m", 8, 16, 1, 2, 2, 4, 32, True, {"w": (8, 8)}, 256)


@pytest.mark.parametrize(
    ("given", "device", "left"),
    [
        ({"num_processes": 2}, "cuda", {}),
        ({"num_processes": 2, "distributed": "fsdp2"}, "cuda", {"weights": 50, "gradients": 50, "optimiser": 50}),
        ({"num_processes": 4, "distributed": "zero2"}, "cuda", {"gradients": 25, "optimiser": 25}),
        ({"num_processes": 2, "distributed": "zero2", "offload": True}, "cuda", {"gradients": 50, "optimiser": 0}),
        ({"num_processes": 2}, "cpu", dict.fromkeys(PARTS, 200)),
    ],
)
def test_what_is_left_for_each_process(given: dict[str, Any], device: Any, left: dict[str, int]) -> None:
    setting = Setting(spec_of(**given), facts(), Ground(device))
    found = shared_parts(setting, dict.fromkeys(PARTS, 100))
    assert found == {**dict.fromkeys(PARTS, 100), **left}
