"""What an install asks of the system: commands, disk, network. A seam: tests give another of the same shape.

Standard library only; knows nothing of what is installed.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

PATIENCE_S = 300.0

Command = Sequence[str | Path]


class Shell:
    """The real thing, working in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: Command) -> int:
        """Run before the person's eyes; the exit code."""
        return subprocess.run(command, check=False, env=pip_environment(), cwd=self.folder).returncode

    def ask(self, command: Command, quiet: bool = False) -> tuple[int, str]:
        """The exit code of a command and what it printed; ``quiet`` hides its complaints. One that hangs has failed."""
        complaints = subprocess.DEVNULL if quiet else None
        try:
            done = subprocess.run(
                command,
                check=False,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=pip_environment(),
                cwd=self.folder,
                timeout=PATIENCE_S,
                text=True,
                errors="replace",
            )
        except (subprocess.TimeoutExpired, OSError) as problem:
            return 1, str(problem)
        return done.returncode, done.stdout

    def find(self, program: str) -> str | None:
        """Where a program is, if it is installed."""
        return shutil.which(program)

    def free_bytes(self, folder: Path) -> int:
        """Free space on the disk of a folder."""
        return shutil.disk_usage(folder).free

    def answers(self, url: str, word: str) -> bool:
        """Whether a page can be had within seconds, through the system's proxy, and holds the word."""
        import http.client
        import urllib.request

        try:
            with urllib.request.urlopen(url, timeout=5) as page:  # noqa: S310  an https address of ours
                return word.encode() in page.read()
        except (OSError, http.client.HTTPException, ValueError):
            return False


def pip_environment() -> dict[str, str]:
    """The person's own environment with their pip settings, less what would install beside .venv."""
    return {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
