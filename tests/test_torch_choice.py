"""The choice of torch for every kind of machine, and what is said of the result."""

import pytest

from workbench.setup.torch_choice import (
    CPU,
    CPU_BYTES,
    CUDA_12,
    CUDA_13,
    CUDA_BYTES,
    Card,
    Machine,
    Seen,
    choose_torch,
    parse_card,
    unsupported,
    verdict,
)

PASCAL = Card("GTX 1080", (6, 1), 580)
TURING_OLD = Card("RTX 2080", (7, 5), 551)
ADA = Card("RTX 4090", (8, 9), 591)
BLACKWELL_OLD = Card("RTX 5090", (12, 0), 572)


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def machine(
    system: str, card: Card | None = None, own: bool = False, cpu: bool = False, processor: str = "x86_64"
) -> Machine:
    return Machine(system, processor, card, own_source=own, cpu_index=cpu)


CASES = [
    (machine("Windows", ADA), CUDA_13, CUDA_BYTES, "CUDA 13.0"),
    (machine("Windows", ADA, own=True), CUDA_13, CUDA_BYTES, "CUDA 13.0"),
    (machine("Windows", TURING_OLD), CUDA_12, CUDA_BYTES, "needs driver 580"),
    (machine("Windows", PASCAL), CUDA_12, CUDA_BYTES, "this card needs"),
    (machine("Windows", BLACKWELL_OLD), CUDA_13, CUDA_BYTES, "update it"),
    (machine("Windows"), None, CPU_BYTES, "no NVIDIA card"),
    (machine("Linux", ADA), None, CUDA_BYTES, "CUDA 13.0"),
    (machine("Linux", TURING_OLD), CUDA_12, CUDA_BYTES, "needs driver 580"),
    (machine("Linux", PASCAL), CUDA_12, CUDA_BYTES, "this card needs"),
    (machine("Linux", own=True), None, CPU_BYTES, f"--torch-index {CPU}"),
    (machine("Linux", cpu=True), CPU, CPU_BYTES, "small CPU build"),
    (machine("Linux"), None, CUDA_BYTES, "several GB"),
    (machine("Darwin", processor="arm64"), None, CPU_BYTES, "Apple GPU"),
]


@pytest.mark.parametrize(("here", "index", "needed_bytes", "says"), CASES)
def test_each_machine_gets_its_build_and_a_reason(
    here: Machine, index: str | None, needed_bytes: int, says: str
) -> None:
    choice = choose_torch(here, asked=None)
    assert choice.index == index
    assert choice.needed_bytes == needed_bytes
    assert says in choice.reason


@pytest.mark.parametrize("here", [case[0] for case in CASES])
def test_an_index_that_was_asked_for_wins_on_every_machine(here: Machine) -> None:
    choice = choose_torch(here, asked="https://mirror.example/whl/rocm")
    assert choice.index == "https://mirror.example/whl/rocm"
    assert choice.index in choice.reason
    assert choose_torch(here, asked="https://mirror.example/whl/cpu/").needed_bytes == CPU_BYTES


def test_a_card_is_read_from_what_its_driver_prints() -> None:
    line = "NVIDIA GeForce RTX 4090, 8.9, 591.44"
    assert parse_card(line) == Card("NVIDIA GeForce RTX 4090", (8, 9), 591)
    for broken in ("", "No devices were found", "NVIDIA-SMI has failed, because it could not talk, to the driver", "a, b"):
        assert parse_card(broken) is None, broken


def test_machines_without_any_torch_are_told_why() -> None:
    linux, intel_mac = machine("Linux"), machine("Darwin")
    assert unsupported(linux, 64, (3, 11)) is None
    assert unsupported(linux, 64, (3, 14)) is None
    assert unsupported(machine("Darwin", processor="arm64"), 64, (3, 13)) is None
    assert "32-bit" in str(unsupported(linux, 32, (3, 13)))
    assert "Apple silicon" in str(unsupported(intel_mac, 64, (3, 13)))
    assert "3.15" in str(unsupported(linux, 64, (3, 15)))


@pytest.mark.parametrize(
    ("card", "seen", "says"),
    [
        (ADA, Seen("2.13.0+cu130", "RTX 4090", works=True, metal=False), "computes on RTX 4090"),
        (PASCAL, Seen("2.13.0+cu130", "GTX 1080", works=False, metal=False), CUDA_12),
        (ADA, Seen("2.13.0", "", works=False, metal=False), "Update the driver"),
        (None, Seen("2.13.0", "", works=False, metal=True), "Apple GPU"),
        (None, Seen("2.13.0+cpu", "", works=False, metal=False), "on the CPU"),
    ],
)
def test_the_verdict_names_what_computes_or_what_to_do(card: Card | None, seen: Seen, says: str) -> None:
    assert says in verdict(card, seen)
    assert seen.version in verdict(card, seen)


def test_chinese_systems_read_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert "显卡" in choose_torch(machine("Linux", cpu=True), asked=None).reason
