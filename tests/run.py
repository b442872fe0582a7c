"""Runs what CI runs, part by part, and says which part failed. ``./test.sh`` starts it in .venv.

``python -m tests.run``: everything that CI runs. ``... PART``: lint, types, fast, slow or browser alone; what follows goes to
pytest. ``... proofs``: what takes too long for every change, such as that each stage really learns, with its figures.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chromium import provide

ROOT = Path(__file__).resolve().parent.parent
PARTS: dict[str, tuple[str, ...]] = {
    "lint": ("ruff", "check", "."),
    "types": ("mypy",),
    "fast": ("pytest", "-n", "2", "-p", "no:logging", "--ignore", "tests/slow", "--ignore", "tests/browser"),
    "slow": ("pytest", "-m", "slow and not browser and not proof"),
    "browser": ("pytest", "-m", "browser and not proof"),
    # Files in the order of their names: those with a browser, which take longest, come first, and nothing long is left for the end.
    "slow or browser": (
        *("pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "30"),
        *("-m", "(slow or browser) and not proof"),
    ),
    "browser proofs": ("pytest", "-m", "proof", "-s"),
}
THREADS: dict[str, dict[str, str]] = {"fast": {"OMP_NUM_THREADS": "1"}}
"""Tiny models side by side are done sooner with a thread each."""
ALIASES = {"proofs": "browser proofs"}
EVERYTHING = ("lint", "types", "fast", "slow or browser")


def choose(arguments: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The parts to run and what is added to their command; SystemExit names the parts when there is no such one."""
    if not arguments:
        return EVERYTHING, []
    name, *extra = arguments
    name = ALIASES.get(name, name)
    if name not in PARTS:
        raise SystemExit(f"No part named '{name}'. Known: {', '.join(PARTS)}. Without a name everything runs.")
    return (name,), extra


def run(name: str, extra: Sequence[str]) -> bool:
    """Run one part before the person's eyes; whether it passed."""
    print(f"== {name}", flush=True)
    if "browser" in name and not provide():
        return False
    start = time.monotonic()
    environment = {**THREADS.get(name, {}), **os.environ}
    code = subprocess.run([sys.executable, "-m", *PARTS[name], *extra], cwd=ROOT, env=environment, check=False).returncode
    print(f"== {name}: {'passed' if code == 0 else f'failed with code {code}'}, {time.monotonic() - start:.0f} s\n", flush=True)
    return code == 0


def main(arguments: Sequence[str]) -> int:
    """0 when every part passed, else 1."""
    names, extra = choose(arguments)
    failed = [name for name in names if not run(name, extra)]
    print(f"Failed: {', '.join(failed)}" if failed else f"Passed: {', '.join(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
