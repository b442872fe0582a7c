"""Scripts that open a model's API by a double click, beside the run that it came from. Knows no key and no server.

All that a person named stands in a spec file, which is data; the scripts hold fixed words and a name of plain letters.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path, PurePath

from workbench.models import gguf_file, local_folder
from workbench.ports import is_loopback
from workbench.problems import UserError
from workbench.specs import ServeSpec
from workbench.text import Text
from workbench.workspace import Workspace, source_folder

PORT = 8000
LONGEST = 60
SAFE_PATH = re.compile(r"[\w./ -]*")
"""What a path to the program may hold inside a script, whatever reads it; \\w takes letters of all languages."""

SH = """#!/bin/sh
# Opens the API of {name} until Ctrl-C or the window is closed. What it serves stands in the file beside it.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 1
{ask}cd -- "$here/{up}" || exit 1
sh ./start.sh api "$here/{spec}"
echo
printf 'Enter closes this window. '
read -r _
"""
SH_KEY = """if [ -z "$API_KEY" ]; then
    printf 'API key: '
    stty -echo; read -r API_KEY; stty echo; echo
    export API_KEY
fi
"""
BAT = """@echo off
rem Opens the API of {name} until Ctrl-C or the window is closed. What it serves stands in the file beside it.
setlocal
chcp 65001 >nul
{ask}cd /d "%~dp0{up}" || (pause & exit /b 1)
call start.bat api "%~dp0{spec}"
pause
"""
BAT_KEY = """if not defined API_KEY set /p "API_KEY=API key: "
"""


class Say:
    odd_path = Text(
        "The path from '{folder}' to the program holds signs that a script could misread. Accepted: letters, digits, spaces, "
        "- _ and dots. Move the workspace, or start it with 'api' in a terminal."
    )
    other_drive = Text("'{folder}' lies on another drive than the program. Accepted: the same drive. Move the workspace.")


def write_launchers(workspace: Workspace, spec: ServeSpec, run: str) -> Sequence[Path]:
    """A spec file and the scripts for sh and for Windows, beside the run or the model, else in saves/; the three paths."""
    folder = _home(workspace, spec, run)
    name = plain_name(PurePath(run or spec.model.model_name_or_path or "model").name)
    up = _way_up(folder)
    asks = not is_loopback(spec.serving.api_host) and not spec.serving.api_key_file
    laid = spec.model_copy(update={"serving": spec.serving.model_copy(update={"api_port": spec.serving.api_port or PORT})})
    stem = f"start_api_{name}"
    holes = {"name": name, "spec": f"{stem}.yaml"}
    files = {
        f"{stem}.yaml": laid.to_yaml(),
        f"{stem}.sh": SH.format(**holes, up=up, ask=SH_KEY if asks else ""),
        f"{stem}.bat": BAT.format(**holes, up=up.replace("/", "\\"), ask=BAT_KEY if asks else "").replace("\n", "\r\n"),
    }
    for file, text in files.items():
        (folder / file).write_bytes(text.encode())
    script = folder / f"{stem}.sh"
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return [folder / file for file in files]


def plain_name(given: str) -> str:
    """Letters, digits, - and _ of any language's alphabet become those of English: what every shell takes as it is."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", given.removesuffix(".gguf"))[:LONGEST].strip("_-") or "model"


def _home(workspace: Workspace, spec: ServeSpec, run: str) -> Path:
    """Where it is looked for: in the run's folder, beside a model of this workspace, else in saves/."""
    given = spec.model.model_name_or_path
    if run:
        return workspace.inside(workspace.saves, run)
    found = gguf_file(workspace, given) or local_folder(workspace, given) if given else None
    home = found.parent if found and found.is_file() else found
    inside = home is not None and Path(os.path.abspath(home)).is_relative_to(os.path.abspath(workspace.root))
    if home is not None and inside:
        return home
    workspace.saves.mkdir(parents=True, exist_ok=True)
    return workspace.saves


def _way_up(folder: Path) -> str:
    """The program's folder as seen from there, so that both may be moved together."""
    try:
        way = os.path.relpath(source_folder(), os.path.realpath(folder))
    except ValueError as error:
        raise UserError(Say.other_drive(folder=folder.name)) from error
    shown = way.replace("\\", "/")
    if not SAFE_PATH.fullmatch(shown):
        raise UserError(Say.odd_path(folder=folder.name))
    return shown
