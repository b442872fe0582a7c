"""Several processes: how rows are dealt out, what does not go together, which cards are shown, what is left for each."""

import os
from pathlib import Path
from typing import Any

import pytest

from workbench.estimates.model_facts import ModelFacts
from workbench.estimates.needs import PARTS, Ground, Setting
from workbench.estimates.sharing import shared_parts
from workbench.jobs.train.dealing import Dealt, dealt
from workbench.jobs.train.ranks import VISIBLE, choose_cards, environment
from workbench.jobs.train.sharing import deepspeed_settings
from workbench.plans import rows_a_step, total_steps
from workbench.preconditions import unmet
from workbench.specs import TrainSpec, read_flat


def spec_of(**more: Any) -> TrainSpec:
    return read_flat(TrainSpec, more).unwrap()


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
        ("2,5", {}, "2"),
        (None, {"devices": "1, 3"}, "1,3"),
        ("2,5", {"devices": "1"}, "5"),
        ("2,5", {"num_processes": 2}, "2,5"),
        (None, {"devices": "1, 3", "num_processes": 1}, "1"),
    ],
)
def test_cuda_is_shown_the_cards_of_the_run(
    shown: str | None, given: dict[str, Any], left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, shown or "")
    choose_cards(spec_of(**given).sharing)
    assert os.environ[VISIBLE] == left


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
        from workbench.workspace import Workspace

        self.run = type("FakeRun", (), {"workspace": Workspace(root)})()


def test_deepspeed_is_told_the_stage_and_what_may_rest(tmp_path: Path) -> None:
    from workbench.problems import UserError

    desk: Any = FakeDesk(tmp_path)
    zero = deepspeed_settings(spec_of(num_processes=2, distributed="zero3", offload=True), desk)["zero_optimization"]
    assert zero["stage"] == 3
    assert zero["offload_param"]["device"] == zero["offload_optimizer"]["device"] == "cpu"
    plain = deepspeed_settings(spec_of(num_processes=2, distributed="zero2"), desk)["zero_optimization"]
    assert plain["stage"] == 2 and not [name for name in plain if name.startswith("offload")]
    (tmp_path / "own.json").write_text('{"zero_optimization": {"stage": 1}}', "utf-8")
    own = spec_of(num_processes=2, distributed="zero2", deepspeed="own.json")
    assert deepspeed_settings(own, desk) == {"zero_optimization": {"stage": 1}}
    for wrong in ("none.json", "../own.json"):
        with pytest.raises(UserError) as raised:
            deepspeed_settings(spec_of(num_processes=2, distributed="zero2", deepspeed=wrong), desk)
        assert raised.value.problems[0].key == "deepspeed"


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
