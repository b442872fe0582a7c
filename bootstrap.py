"""Gets everything ready inside this folder (.venv, packages, starter model), then hands over to app.py.

Standard library only. Knows nothing of pages and specs; a flag that it does not know belongs to app.py.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  an old Python may be all that a double click finds
    version = ".".join(map(str, sys.version_info[:2]))
    sys.exit(
        f"This is Python {version}. Needed: 3.11 or newer. Get one: python.org/downloads, apt install python3, "
        f"brew install python.\n当前 Python 为 {version}，需要 3.11 或更新版本。"
        f"获取方式：python.org/downloads、apt install python3、brew install python。"
    )

import argparse
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.locks import hold
from workbench.setup.install import Install, InstallError
from workbench.setup.starter import is_whole, starter_folder
from workbench.setup.terminal import say, words

ROOT = Path(__file__).resolve().parent
FOREVER_S = 24 * 3600.0


@dataclass(frozen=True)
class Wish:
    """The command line: what bootstrap itself obeys, and what it passes on."""

    torch_index: str | None
    prepare_only: bool
    starter: bool
    help: bool
    test: bool
    passed: tuple[str, ...]

    @property
    def program(self) -> tuple[str, ...]:
        """What runs in .venv once all is ready."""
        return ("-m", "tests.run") if self.test else (str(ROOT / "app.py"),)


def parse(arguments: Sequence[str]) -> Wish:
    """Read the flags of bootstrap; everything else is passed on in its order."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--torch-index")
    parser.add_argument("--prepare-only", action="store_true")
    parser.add_argument("--no-starter", action="store_true")
    known, passed = parser.parse_known_args(arguments)
    test = passed[:1] == ["test"]
    return Wish(
        torch_index=known.torch_index,
        prepare_only=known.prepare_only,
        starter=not known.no_starter,
        help=passed[:1] in (["-h"], ["--help"]),
        test=test,
        passed=tuple(passed[1:] if test else passed),
    )


HELP = """start [--torch-index URL] [--no-starter] [--prepare-only] [flags and commands of app.py]

  --torch-index URL   take torch from this index (a mirror, another CUDA, ROCm), whatever the machine is
  --no-starter        do not fetch the starter model
  --prepare-only      install and fetch, then stop
  test [PART]         install what tests need and run them

Passed on to app.py, for the window: --port N  --host NAME  --lang zh|en  --no-browser  --auth USER:PASSWORD
Its commands:                        data train eval report chat api export replay runs doctor, each with --help"""


def main(arguments: Sequence[str]) -> int:
    """Prepare and hand over; 0, or 1 after a message that says what to do."""
    wish = parse(arguments)
    if wish.help:
        say(HELP)
        return 0
    try:
        install = Install(ROOT)
        if not prepare(wish, install):
            return 1
    except InstallError as problem:
        say(str(problem))
        return 1
    except OSError as problem:
        say(
            words(
                f"{problem}. This folder must be writable and on a disk with free space. Mend that and start again.",
                f"{problem}。此文件夹须可写，且磁盘须有剩余空间。请处理后重新启动。",
            )
        )
        return 1
    except KeyboardInterrupt:
        say(words("\nInterrupted. Start again: it goes on from here.", "\n已中断。重新启动即可从此处继续。"))
        return 130
    if wish.test:
        os.chdir(ROOT)
    if not wish.prepare_only:
        hand_over(install.python, [*wish.program, *wish.passed])
    return 0


def prepare(wish: Wish, install: Install) -> bool:
    """Make what is missing, one start at a time; False when it must not go on."""
    models = ROOT / "models"
    wants_starter = wish.starter and not is_whole(starter_folder(models))
    if install.is_done(wish.torch_index) and not wants_starter and not wish.test:
        return True
    path = ROOT / ".setup.lock"
    lock = hold(path, patience_s=0.0)
    if lock is None:
        say(words("Another start is installing here. Waiting for it.", "另一个启动程序正在此处安装，等待其完成。"))
        lock = hold(path, patience_s=FOREVER_S)
    try:
        if not install.is_done(wish.torch_index):
            install.run(wish.torch_index)
        if wish.test:
            install.run_more("requirements-dev.txt")
        return not wish.starter or fetch_starter(install.python, models, must=wish.prepare_only or wish.test)
    finally:
        if lock:
            lock.release()


def fetch_starter(python: Path, models: Path, must: bool) -> bool:
    """Fetch the starter model; without it the window still opens, since other models may be there."""
    if is_whole(starter_folder(models)):
        return True
    if subprocess.run([python, "-m", "workbench.setup.starter", "--models", models], cwd=ROOT, check=False).returncode == 0:
        return True
    if not must:
        say(
            words(
                "Going on without the starter model. The next start tries again; --no-starter leaves it out.",
                "暂不使用入门模型，继续启动。下次启动会重试；--no-starter 可跳过。",
            )
        )
    return not must


def hand_over(python: Path, arguments: Sequence[str]) -> None:
    """Become the program in .venv; on Windows wait for it and end as it ends."""
    command = [str(python), *arguments]
    if sys.platform == "win32":
        try:
            raise SystemExit(subprocess.run(command, check=False).returncode)
        except KeyboardInterrupt:
            raise SystemExit(130) from None
    else:
        os.execv(python, command)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
