"""Installing with a shell that only writes down what it was asked: order, stamp, resume, failures."""

import json
import shutil
from pathlib import Path

import pytest

from workbench.setup.install import CARD_QUERY, Install, InstallError, drop_half_installed, pins, torch_pin
from workbench.setup.shell import Command, Shell, pip_environment
from workbench.setup.terminal import speaks_chinese, system_language, words
from workbench.setup.torch_choice import CPU, CUDA_12

ROOT = Path(__file__).resolve().parent.parent
SEEN = json.dumps({"version": "2.13.0", "card": "", "works": False, "metal": False})


class Notebook(Shell):
    """Runs nothing: notes each command, makes what venv would make, fails where it was told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.commands: list[str] = []
        self.fails = "nothing"
        self.python_works = True
        self.free = 10**11
        self.card = ""
        self.sources = ""
        self.pages: list[str] = []

    def run(self, command: Command) -> int:
        line = " ".join(map(str, command))
        self.commands.append(line)
        if self.fails in line:
            return 1
        if " -m venv " in line:
            python = Install(self.folder).python
            python.parent.mkdir(parents=True)
            python.touch()
        return 0

    def ask(self, command: Command, quiet: bool = False) -> tuple[int, str]:
        line = " ".join(map(str, command))
        if line == " ".join(CARD_QUERY):
            return 0, self.card
        if "config list" in line:
            return 0, self.sources
        if "import json, sys, torch" in line:
            return (1, "") if self.fails == "torch itself" else (0, f"a warning\n{SEEN}\n")
        return (0 if self.python_works else 1), ""

    def find(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if self.card else None

    def free_bytes(self, folder: Path) -> int:
        return self.free

    def answers(self, url: str, word: str) -> bool:
        self.pages.append(url)
        return True


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return Notebook(tmp_path)


def install(shell: Notebook) -> Install:
    return Install(shell.folder, shell)


def test_torch_comes_first_from_its_own_index_and_then_the_pins(shell: Notebook) -> None:
    install(shell).run(None)
    pips = [line for line in shell.commands if "pip install" in line and "--quiet" not in line]
    assert [line.partition(" -m ")[2] for line in pips] == [
        f"pip install --index-url {CPU} torch==2.13.0",
        "pip install -r requirements.txt",
    ]
    assert shell.pages == [f"{CPU}/torch/"]


def test_settings_of_pip_are_honoured_without_a_probe(shell: Notebook) -> None:
    shell.sources = "global.timeout='60'\n:env:.index-url='https://mirror.example/simple'"
    install(shell).run(None)
    assert shell.pages == []
    assert not any("--index-url" in line for line in shell.commands)


def test_a_card_with_an_old_driver_gets_the_older_cuda(shell: Notebook) -> None:
    shell.card = "RTX 3060, 8.6, 550.54.14\nRTX 3060, 8.6, 550.54.14\n"
    install(shell).run(None)
    assert any(f"--index-url {CUDA_12} torch==" in line for line in shell.commands)


def test_what_is_whole_is_never_asked_for_again(shell: Notebook) -> None:
    assert not install(shell).is_done(None)
    install(shell).run(None)
    assert install(shell).is_done(None)
    assert install(shell).is_done(CPU)
    assert not install(shell).is_done("https://mirror.example/whl/cu130")


def test_changed_pins_or_a_lost_python_end_the_quick_way(shell: Notebook) -> None:
    install(shell).run(None)
    requirements = shell.folder / "requirements.txt"
    requirements.write_text("# a new comment\r\n" + requirements.read_text("utf-8").replace("\n", "\r\n"), "utf-8")
    assert install(shell).is_done(None)
    requirements.write_text(requirements.read_text("utf-8") + "rich==15.0.0\n", "utf-8")
    assert not install(shell).is_done(None)
    install(shell).run(None)
    install(shell).python.unlink()
    assert not install(shell).is_done(None)


@pytest.mark.parametrize("fails", ["torch==2.13.0", "-r requirements.txt", "torch itself"])
def test_an_install_that_breaks_off_is_no_install_and_goes_on_later(shell: Notebook, fails: str) -> None:
    shell.fails = fails
    with pytest.raises(InstallError) as problem:
        install(shell).run(None)
    assert "start again" in str(problem.value)
    assert not install(shell).is_done(None)
    shell.fails = "nothing"
    shell.commands.clear()
    install(shell).run(None)
    assert install(shell).is_done(None)
    assert not any(" -m venv " in line for line in shell.commands)


def test_an_update_keeps_the_build_of_torch_and_a_wish_replaces_it(shell: Notebook) -> None:
    install(shell).run("https://mirror.example/whl/rocm")
    (shell.folder / "requirements.txt").write_text("torch==2.13.0\nrich==15.0.0\n", "utf-8")
    shell.commands.clear()
    install(shell).run(None)
    assert any("install --index-url https://mirror.example/whl/rocm torch==2.13.0" in line for line in shell.commands)
    assert not any("--force-reinstall" in line for line in shell.commands)
    install(shell).run(CPU)
    assert any(f"--force-reinstall --no-deps --index-url {CPU} torch==2.13.0" in line for line in shell.commands)


def test_a_broken_venv_is_made_again_and_said_so(shell: Notebook, capsys: pytest.CaptureFixture[str]) -> None:
    install(shell).run(None)
    install(shell).stamp.unlink()
    shell.python_works = False
    shell.commands.clear()
    install(shell).run(None)
    assert any(" -m venv " in line for line in shell.commands)
    assert "making it again" in capsys.readouterr().out


def test_missing_venv_module_names_the_package(shell: Notebook) -> None:
    shell.fails = " -m venv "
    with pytest.raises(InstallError, match="-venv"):
        install(shell).run(None)


def test_too_little_disk_is_told_before_anything_is_fetched(shell: Notebook) -> None:
    shell.free = 2_000_000_000
    with pytest.raises(InstallError, match=r"2\.0 GB\. Needed: 3\.0 GB"):
        install(shell).run(None)
    assert not any("torch==" in line for line in shell.commands)


def test_a_disk_that_filled_up_is_named_as_the_reason(shell: Notebook) -> None:
    shell.free = 100_000_000
    assert "only 100 MB are left" in install(shell).why_pip_failed(1)
    shell.free = 10**10
    assert "network" in install(shell).why_pip_failed(1)


def test_packages_without_record_are_forgotten(shell: Notebook) -> None:
    packages = shell.folder / ".venv/lib/python3.11/site-packages"
    for name, files in (("whole-1.0", ["METADATA", "RECORD"]), ("half-1.0", ["METADATA"])):
        (packages / f"{name}.dist-info").mkdir(parents=True)
        for file in files:
            (packages / f"{name}.dist-info" / file).touch()
    drop_half_installed(shell.folder / ".venv")
    assert [path.name for path in packages.iterdir()] == ["whole-1.0.dist-info"]


def test_further_pins_are_stamped_by_themselves(shell: Notebook) -> None:
    install(shell).run(None)
    shell.commands.clear()
    install(shell).run_more("requirements-dev.txt")
    install(shell).run_more("requirements-dev.txt")
    assert [line.partition(" -m ")[2] for line in shell.commands] == ["pip install -r requirements-dev.txt"]
    assert install(shell).is_done(None)


def test_every_pin_is_exact_and_torch_is_first() -> None:
    lines = pins(ROOT / "requirements.txt")
    assert lines[0] == torch_pin(ROOT)
    assert len(lines) >= 10
    for line in [*lines, *pins(ROOT / "requirements-dev.txt")]:
        pin, _, where = line.partition("; ")
        name, _, version = pin.partition("==")
        assert name and version and not set(pin) & set(" <>~!*;"), line
        assert not where or name == "xllamacpp", "which has no wheels for older Macs"


def test_pip_keeps_the_settings_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.setenv("PIP_USER", "1")
    environment = pip_environment()
    assert environment["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert environment["PIP_USER"] == "0"


def test_the_language_is_that_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system_language({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "linux") == "zh_CN.UTF-8"
    assert system_language({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "linux") == "C"
    assert system_language({}, "linux") == ""
    assert speaks_chinese("zh_TW") and not speaks_chinese("C.UTF-8")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert words("one", "一") == "一"
