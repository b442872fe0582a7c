"""Makes .venv and installs the pins into it, resuming what broke off. Standard library only; knows nothing of models.

``.venv/installed.json`` records what is whole: the build of torch, then the digest of requirements.txt. While it says
"done" nothing is asked of pip, the network or the machine.
"""

import hashlib
import json
import platform
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from workbench.setup.shell import Shell
from workbench.setup.terminal import say, words
from workbench.setup.torch_choice import (
    CPU,
    Card,
    Machine,
    Seen,
    TorchChoice,
    choose_torch,
    parse_card,
    unsupported,
    verdict,
)

PIP = "pip==26.3"
CARD_QUERY = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
SOURCES = ("index-url", "find-links", "no-index")
LOW_BYTES = 500_000_000
LOOK = """
import json, sys, torch
card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
works = False
if card:
    try:
        works = float(torch.ones(2, device="cuda").sum()) == 2.0
    except RuntimeError as problem:
        print(problem, file=sys.stderr)
print(json.dumps({"version": torch.__version__, "card": card, "works": works,
                  "metal": torch.backends.mps.is_available()}))
"""


class InstallError(Exception):
    """The install cannot go on; the text says what was found, what is needed and what to do."""


class Install:
    """The packages of one folder: whether they are whole, and how to make them so."""

    def __init__(self, root: Path, shell: Shell | None = None) -> None:
        self.root = root
        self.shell = shell or Shell(root)
        self.venv = root / ".venv"
        self.python = self.venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        self.stamp = self.venv / "installed.json"

    def is_done(self, asked: str | None) -> bool:
        """Whether nothing is to be done: same pins as recorded, and the torch that was asked for, if any was."""
        record = self.recorded()
        torch_fits = asked is None or record.get("torch") == f"{torch_pin(self.root)} {asked}"
        return torch_fits and record.get("requirements.txt") == self.digest("requirements.txt") and self.python.exists()

    def run(self, asked: str | None) -> None:
        """Bring .venv to the pins; InstallError with what to do when that fails."""
        self.make_venv()
        card = self.find_card()
        choice = self.choose(card, asked)
        say(words(f"torch: {choice.reason}", f"torch：{choice.reason}"))
        self.check_space(choice.needed_bytes)
        self.install_torch(choice)
        say(words("Installing the other packages.", "正在安装其他软件包。"))
        self.pip("install", "-r", "requirements.txt")
        say(words("Checking torch.", "正在检查 torch。"))
        say(verdict(card, self.look()))
        self.record("requirements.txt", self.digest("requirements.txt"))

    def run_more(self, name: str) -> None:
        """Install the pins of a further file, such as requirements-dev.txt, unless they are recorded as whole."""
        if self.recorded().get(name) != self.digest(name):
            self.pip("install", "-r", name)
            self.record(name, self.digest(name))

    # The record

    def recorded(self) -> dict[str, str]:
        """What is known to be whole; nothing while there is no readable record."""
        try:
            return dict(json.loads(self.stamp.read_text("utf-8")))
        except (OSError, ValueError):
            return {}

    def record(self, name: str, value: str) -> None:
        """Note that a part is whole, in one rename."""
        beside = self.stamp.with_suffix(".part")
        beside.write_text(json.dumps({**self.recorded(), name: value}, indent=2) + "\n", "utf-8")
        beside.replace(self.stamp)

    def digest(self, name: str) -> str:
        """The sha256 of the pins in a requirements file, whatever its line ends and comments."""
        return hashlib.sha256("\n".join(pins(self.root / name)).encode()).hexdigest()

    # The steps

    def make_venv(self) -> None:
        """A .venv with a working Python and pip: kept if it works, made again if not."""
        if self.venv.exists():
            works = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
            if self.python.exists() and self.shell.ask([self.python, "-c", works], quiet=True)[0] == 0:
                say(words(".venv is there; completing it.", "已有 .venv，继续完成安装。"))
                drop_half_installed(self.venv)
                return
            say(
                words(
                    ".venv has no working Python or pip; making it again.",
                    ".venv 中的 Python 或 pip 无法使用，重新创建。",
                )
            )
            shutil.rmtree(self.venv)
        say(words("Making .venv.", "正在创建 .venv。"))
        if self.shell.run([sys.executable, "-m", "venv", self.venv]):
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise InstallError(
                words(
                    f"Python {version} could not make a virtual environment (its words are above). It needs the modules "
                    f"venv and ensurepip. On Debian and Ubuntu: sudo apt install python{version}-venv, then start again.",
                    f"Python {version} 无法创建虚拟环境（原因见上）。需要 venv 和 ensurepip 模块。"
                    f"Debian 和 Ubuntu：sudo apt install python{version}-venv，然后重新启动。",
                )
            )
        if self.shell.run([self.python, "-P", "-m", "pip", "install", "--quiet", PIP]):
            say(
                words(
                    "pip stays at the version that came with Python; it cannot resume a broken download.",
                    "pip 保持 Python 自带的版本，下载中断后无法续传。",
                )
            )

    def find_card(self) -> Card | None:
        """The first NVIDIA card whose driver answers."""
        if not self.shell.find(CARD_QUERY[0]):
            return None
        code, answer = self.shell.ask(CARD_QUERY)
        card = parse_card(answer.partition("\n")[0]) if code == 0 else None
        if card is None:
            say(
                words(
                    "nvidia-smi is there but names no card: taken as none. If there is one, mend its driver first.",
                    "找到 nvidia-smi，但它未报告显卡，按无显卡处理。如有显卡，请先修复驱动。",
                )
            )
        return card

    def choose(self, card: Card | None, asked: str | None) -> TorchChoice:
        """The build of torch; one already recorded is kept, so that an update never swaps it by surprise."""
        pin, _, index = self.recorded().get("torch", "").partition(" ")
        if asked is None and pin == torch_pin(self.root):
            reason = words("the build that is installed stays.", "保留已安装的版本。")
            return TorchChoice(None if index == "pip" else index, reason, 0)
        machine = self.survey(card, probe=asked is None)
        problem = unsupported(machine, struct.calcsize("P") * 8, sys.version_info[:2])
        if problem:
            raise InstallError(problem)
        return choose_torch(machine, asked)

    def survey(self, card: Card | None, probe: bool) -> Machine:
        """The facts that the choice depends on; the network is probed only where it decides."""
        settings = self.shell.ask([self.python, "-P", "-m", "pip", "config", "list"])[1]
        own_source = any(name in line.partition("=")[0] for line in settings.splitlines() for name in SOURCES)
        system = platform.system()
        probe = probe and system == "Linux" and card is None and not own_source
        cpu_index = probe and self.shell.answers(f"{CPU}/torch/", torch_pin(self.root).replace("==", "-"))
        return Machine(system, platform.machine(), card, own_source, cpu_index)

    def install_torch(self, choice: TorchChoice) -> None:
        """torch alone, from its index; another build than the recorded one replaces it."""
        pin = torch_pin(self.root)
        value = f"{pin} {choice.index or 'pip'}"
        replace = [] if self.recorded().get("torch", value) == value else ["--force-reinstall", "--no-deps"]
        source = ["--index-url", choice.index] if choice.index else []
        say(words(f"Installing {pin}; this is the large one.", f"正在安装 {pin}，体积较大。"))
        self.pip("install", *replace, *source, pin)
        self.record("torch", value)

    def pip(self, *arguments: str) -> None:
        """Run pip in .venv before the person's eyes."""
        code = self.shell.run([self.python, "-P", "-m", "pip", *arguments])
        if code:
            raise InstallError(self.why_pip_failed(code))

    def why_pip_failed(self, code: int) -> str:
        """The likeliest reason and what to do; pip's own words are on the terminal above."""
        for place in (self.root, Path(tempfile.gettempdir())):
            free = self.shell.free_bytes(place)
            if free < LOW_BYTES:
                return words(
                    f"pip failed: only {free // 10**6} MB are left on the disk of {place}. Several GB are needed. "
                    f"Free some space and start again: it goes on from here.",
                    f"pip 失败：{place} 所在磁盘仅剩 {free // 10**6} MB，需要数 GB。请清理后重新启动，将从此处继续。",
                )
        return words(
            f"pip failed with code {code}; its reason is above. It needs a network, or a mirror (PIP_INDEX_URL, pip.conf; "
            f"for torch alone --torch-index). Mend that and start again: it goes on from here.",
            f"pip 失败，代码 {code}，原因见上。需要网络或镜像（PIP_INDEX_URL、pip.conf；仅 torch 用 --torch-index）。"
            f"请处理后重新启动，将从此处继续。",
        )

    def check_space(self, needed_bytes: int) -> None:
        """Refuse to begin when the packages cannot fit beside what is already there."""
        there = sum(path.lstat().st_size for path in self.venv.rglob("*")) if needed_bytes else 0
        missing, free = needed_bytes - there, self.shell.free_bytes(self.root)
        if free < missing:
            raise InstallError(
                words(
                    f"Free on the disk of {self.root}: {free / 1e9:.1f} GB. Needed: {missing / 1e9:.1f} GB more. "
                    f"Free some space, or move this folder to another disk, and start again.",
                    f"{self.root} 所在磁盘剩余 {free / 1e9:.1f} GB，还需要 {missing / 1e9:.1f} GB。"
                    f"请清理磁盘，或将此文件夹移至其他磁盘后重新启动。",
                )
            )

    def look(self) -> Seen:
        """What the installed torch sees of this machine."""
        code, answer = self.shell.ask([self.python, "-c", LOOK])
        if code:
            raise InstallError(
                words(
                    "torch is installed but does not start (its words are above). On Windows it needs the Microsoft Visual "
                    "C++ Redistributable (x64): install that. Else delete .venv and start again.",
                    "torch 已安装但无法启动（原因见上）。在 Windows 上需要 Microsoft Visual C++ Redistributable (x64)，"
                    "请安装。否则请删除 .venv 后重新启动。",
                )
            )
        return Seen(**json.loads(answer.splitlines()[-1]))


def pins(path: Path) -> list[str]:
    """The lines of a requirements file that ask for something."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def torch_pin(root: Path) -> str:
    """``torch==...`` out of requirements.txt, its one place."""
    return next(pin for pin in pins(root / "requirements.txt") if pin.startswith("torch=="))


def drop_half_installed(venv: Path) -> None:
    """Forget packages whose install was killed before pip wrote RECORD: pip would take them for whole."""
    for info in [*venv.glob("lib/python*/site-packages/*.dist-info"), *venv.glob("Lib/site-packages/*.dist-info")]:
        if not (info / "RECORD").is_file():
            say(words(f"{info.name} is half installed; installing it again.", f"{info.name} 未装完，重新安装。"))
            shutil.rmtree(info)
