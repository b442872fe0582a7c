"""Which build of torch suits this machine, and why. Decides only; installs nothing and asks no network.

Facts for torch 2.13: built for CUDA 12.6 (cards from Maxwell to Hopper) and 13.0 (from Turing on, driver 580 or newer).
The package index has the CUDA 13.0 build for Linux, a CPU build for Windows, and the Metal build for macOS.
"""

from dataclasses import dataclass

from workbench.setup.terminal import words

INDEX = "https://download.pytorch.org/whl"
CUDA_13, CUDA_12, CPU = f"{INDEX}/cu130", f"{INDEX}/cu126", f"{INDEX}/cpu"
CUDA_13_DRIVER = 580
NEWEST_PYTHON = (3, 14)
TURING, BLACKWELL = (7, 5), (10, 0)
CPU_BYTES, CUDA_BYTES = 3_000_000_000, 9_000_000_000


@dataclass(frozen=True)
class Card:
    """An NVIDIA card as its driver tells of it."""

    name: str
    capability: tuple[int, int]
    driver: int


@dataclass(frozen=True)
class Machine:
    """What the choice depends on. ``own_source``: pip's settings name an index, a mirror or a folder of packages.

    ``cpu_index``: whether PyTorch's index of small CPU builds answers; asked only where it matters.
    """

    system: str
    processor: str
    card: Card | None
    own_source: bool
    cpu_index: bool


@dataclass(frozen=True)
class TorchChoice:
    """``index``: the index to take torch from, or None for pip's own settings; ``needed_bytes``: disk for everything."""

    index: str | None
    reason: str
    needed_bytes: int


def parse_card(line: str) -> Card | None:
    """One line of ``nvidia-smi --query-gpu=name,compute_cap,driver_version``; None when it is not one."""
    name, _, numbers = line.strip().partition(",")
    capability, _, driver = numbers.partition(",")
    try:
        major, minor = capability.strip().split(".")
        return Card(name.strip(), (int(major), int(minor)), int(driver.strip().split(".")[0]))
    except ValueError:
        return None


def unsupported(machine: Machine, bits: int, python: tuple[int, int]) -> str | None:
    """Why no torch can be had here at all, or None."""
    if python > NEWEST_PYTHON:
        given, newest = (".".join(map(str, version)) for version in (python, NEWEST_PYTHON))
        return words(
            f"This is Python {given}. torch is built for 3.11 to {newest}. Install Python 3.13 beside it and start again.",
            f"当前 Python 为 {given}。torch 支持 3.11 至 {newest}。请另外安装 Python 3.13 后重新启动。",
        )
    if bits < 64:
        return words(
            "This Python is a 32-bit one. torch needs 64 bits. Install the 64-bit Python from python.org and start again.",
            "当前 Python 是 32 位。torch 需要 64 位。请从 python.org 安装 64 位 Python 后重新启动。",
        )
    if machine.system == "Darwin" and machine.processor == "x86_64":
        return words(
            "This Python is built for Intel Macs. torch exists for Apple silicon only. On an M-series Mac install the "
            "universal Python from python.org and start again; an Intel Mac cannot run this version.",
            "当前 Python 面向 Intel Mac。torch 只支持 Apple 芯片。M 系列 Mac 请从 python.org 安装通用版 Python "
            "后重新启动；Intel Mac 无法运行此版本。",
        )
    return None


def choose_torch(machine: Machine, asked: str | None) -> TorchChoice:
    """The build for this machine; an index that the person asked for always wins."""
    if asked:
        small = asked.rstrip("/").endswith("/cpu")
        reason = words(f"--torch-index asks for {asked}.", f"--torch-index 指定了 {asked}。")
        return TorchChoice(asked, reason, CPU_BYTES if small else CUDA_BYTES)
    if machine.system == "Darwin":
        reason = words("the usual build uses the Apple GPU (Metal).", "默认版本可使用 Apple GPU（Metal）。")
        return TorchChoice(None, reason, CPU_BYTES)
    if machine.card:
        return choose_cuda(machine.system, machine.card)
    return choose_without_card(machine)


def choose_cuda(system: str, card: Card) -> TorchChoice:
    """CUDA 13.0 where card and driver can; CUDA 12.6 for older ones."""
    seen = words(
        f"{card.name} with driver {card.driver}: ",
        f"{card.name}，驱动 {card.driver}：",
    )
    if card.capability < TURING:
        why = words("this card needs the CUDA 12.6 build.", "此显卡需要 CUDA 12.6 版本。")
        return TorchChoice(CUDA_12, seen + why, CUDA_BYTES)
    if card.driver < CUDA_13_DRIVER and card.capability < BLACKWELL:
        why = words(
            f"the CUDA 12.6 build; the one for CUDA 13.0 needs driver {CUDA_13_DRIVER} or newer.",
            f"选用 CUDA 12.6 版本；CUDA 13.0 版本需要驱动 {CUDA_13_DRIVER} 或更新。",
        )
        return TorchChoice(CUDA_12, seen + why, CUDA_BYTES)
    why = words("the CUDA 13.0 build.", "选用 CUDA 13.0 版本。")
    if card.driver < CUDA_13_DRIVER:
        why += words(
            f" Its driver must be {CUDA_13_DRIVER} or newer: update it, else the card stays unused.",
            f"驱动须为 {CUDA_13_DRIVER} 或更新：请更新，否则无法使用显卡。",
        )
    return TorchChoice(CUDA_13 if system == "Windows" else None, seen + why, CUDA_BYTES)


def choose_without_card(machine: Machine) -> TorchChoice:
    """On Linux the usual build brings several GB of CUDA: take the small one if it can be had."""
    none = words("no NVIDIA card answers; ", "没有检测到 NVIDIA 显卡；")
    if machine.system == "Windows":
        return TorchChoice(None, none + words("the usual build, for the CPU.", "选用默认的 CPU 版本。"), CPU_BYTES)
    if machine.own_source:
        why = words(
            f"pip's own settings name where packages come from. Should several GB of CUDA arrive: --torch-index {CPU}",
            f"按 pip 自身的设置获取。如果开始下载数 GB 的 CUDA，可改用 --torch-index {CPU}",
        )
        return TorchChoice(None, none + why, CPU_BYTES)
    if machine.cpu_index:
        return TorchChoice(CPU, none + words("the small CPU build.", "选用较小的 CPU 版本。"), CPU_BYTES)
    why = words(
        f"{CPU}, which has the small CPU build, does not answer, so the usual one comes with several GB of CUDA that "
        f"stay unused. With a mirror of that index: --torch-index URL",
        f"提供较小 CPU 版本的 {CPU} 无法访问，因此将下载带有数 GB CUDA 的默认版本。"
        f"如有该索引的镜像，请用 --torch-index URL",
    )
    return TorchChoice(None, none + why, CUDA_BYTES)


@dataclass(frozen=True)
class Seen:
    """What the installed torch says: its version, the name of the card it sees, whether the card computes, Metal."""

    version: str
    card: str
    works: bool
    metal: bool


def verdict(card: Card | None, seen: Seen) -> str:
    """One line on what will do the computing, and what to do when a card is there but idle."""
    if seen.card and seen.works:
        return words(f"torch {seen.version} computes on {seen.card}.", f"torch {seen.version} 将使用 {seen.card}。")
    if seen.card:
        return words(
            f"torch {seen.version} sees {seen.card} but has no code for it. Accepted: a build made for this card. "
            f"Try --torch-index {CUDA_12}",
            f"torch {seen.version} 检测到 {seen.card}，但不含其代码。需要适用于此显卡的版本。"
            f"请尝试 --torch-index {CUDA_12}",
        )
    if card:
        return words(
            f"torch {seen.version} does not see {card.name} (driver {card.driver}). Needed: a CUDA build and a driver "
            f"that fits. Update the driver, or try --torch-index {CUDA_13} (older cards: {CUDA_12}).",
            f"torch {seen.version} 未检测到 {card.name}（驱动 {card.driver}）。需要 CUDA 版本和匹配的驱动。"
            f"请更新驱动，或尝试 --torch-index {CUDA_13}（旧显卡：{CUDA_12}）。",
        )
    if seen.metal:
        return words(f"torch {seen.version} computes on the Apple GPU.", f"torch {seen.version} 将使用 Apple GPU。")
    return words(f"torch {seen.version} computes on the CPU.", f"torch {seen.version} 将使用 CPU。")
