"""llama.cpp's own conversion, from a checkout that the person points to: run as processes apart. Knows no run and no engine.

What is run is code of that folder. It gets no secrets: of the environment it sees what a program needs to start.
"""

import math
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.gguf import Kind, Progress
from workbench.gguf.mixtures import PLAIN, USUAL
from workbench.gguf.weights import weights
from workbench.neighbours.process import watched
from workbench.problems import UserError
from workbench.text import Text, verbatim

SCRIPT = "convert_hf_to_gguf.py"
QUANTISER = "llama-quantize"
PLACES = ("build/bin", "build/bin/Release", "bin", "")
"""Where a build of llama.cpp leaves its programs."""
ENVIRONMENT = ("PATH", "HOME", "USERPROFILE", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
KEY = "llama_cpp_dir"
LOOK_S = 0.2
LINES, WIDTH = 6, 300


class Say:
    no_folder = Text("'{given}' is no folder. Accepted: a checkout of llama.cpp, or nothing. Give its folder, or leave it empty.")
    no_script = Text("The folder '{given}' holds no {script}. Accepted: a checkout of llama.cpp. Give another, or leave it empty.")
    no_quantiser = Text(
        "The type {kind} is made by {program}, which is not in '{given}'. Accepted without it: {known}. Build llama.cpp there, "
        "choose one of these, or leave the folder empty."
    )
    failed = Text("llama.cpp's {program} ended with the exit code {code}. Its last words: {words}")
    nothing = Text("llama.cpp's {program} wrote no file. Its last words: {words}")


def check_checkout(given: str, kind: Kind) -> None:
    """UserError when the folder can't make such a file."""
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise UserError(Say.no_folder(given=given), key=KEY)
    if not (folder / SCRIPT).is_file():
        raise UserError(Say.no_script(given=given, script=SCRIPT), key=KEY)
    if kind not in PLAIN and _quantiser(folder) is None:
        said = Say.no_quantiser(kind=kind, program=QUANTISER, given=given, known=", ".join(PLAIN))
        raise UserError(said, key=KEY)


def rough_bytes(folder: Path, kind: Kind) -> int:
    """About the size of the file, and of the one between that llama-quantize reads."""
    import gguf

    numbers = sum(math.prod(one.shape) for one in weights(folder).values())
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[PLAIN.get(kind) or USUAL[kind]]]
    return numbers * size // block + (0 if kind in PLAIN else 2 * numbers)


@dataclass(frozen=True)
class Conversion:
    """What is to be made by which checkout."""

    given: str
    kind: Kind
    expected: int
    """About so many bytes."""

    def convert(self, model: Path, target: Path, name: str, progress: Progress) -> None:
        """The model's folder as the file ``target``. ``progress`` may raise to end it."""
        folder = Path(self.given).expanduser().resolve()
        first = self.kind if self.kind in PLAIN else "f16"
        plain = target if first == self.kind else target.with_name(f".{target.stem}.f16")
        told = ["--outfile", str(plain), "--outtype", first, "--model-name", name]
        try:
            self._run(SCRIPT, [sys.executable, str(folder / SCRIPT), str(model), *told], plain, progress)
            if first != self.kind:
                quantiser = _quantiser(folder)
                assert quantiser, "check_checkout was asked before"
                self._run(QUANTISER, [str(quantiser), str(plain), str(target), self.kind.upper()], target, progress)
        finally:
            if plain != target:
                plain.unlink(missing_ok=True)

    def _run(self, program: str, command: Sequence[str], made: Path, progress: Progress) -> None:
        """One program to its end; UserError with its last words when it fails."""
        words: deque[str] = deque(maxlen=LINES)
        process = _started(command, made.parent)
        listening = threading.Thread(target=_listen, args=(process, words), daemon=True)
        listening.start()
        try:
            while process.poll() is None:
                done = made.stat().st_size if made.exists() else 0
                progress(min(done, self.expected), self.expected)
                time.sleep(LOOK_S)
        finally:
            _end(process, listening)
        last = verbatim("\n".join(words) or "-")
        if process.returncode:
            raise UserError(Say.failed(program=program, code=process.returncode, words=last), key=KEY)
        if not made.is_file():
            raise UserError(Say.nothing(program=program, words=last), key=KEY)


def _started(command: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    given = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return subprocess.Popen(
        watched(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**given, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _listen(process: subprocess.Popen[str], words: deque[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            words.append(line.rstrip()[:WIDTH])
            print(line.rstrip(), file=sys.stderr)


def _end(process: subprocess.Popen[str], listening: threading.Thread) -> None:
    """End it, with all that it started, if it has not ended by itself."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    process.wait()
    listening.join()
    process.stdout.close()


def _quantiser(folder: Path) -> Path | None:
    found = (folder / place / f"{QUANTISER}{end}" for place in PLACES for end in ("", ".exe"))
    return next((file for file in found if file.is_file()), None)
