"""Scripts that a double click runs, for sh and for Windows: they find the program from where they lie and call it.

All that a person named stands in a spec file, which is data; the scripts hold fixed words and names of plain letters.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from workbench.problems import UserError
from workbench.text import Text
from workbench.workspace import source_folder

LONGEST = 60
SAFE_PATH = re.compile(r"[\w./ -]*")
"""What a path to the program may hold inside a script, whatever reads it; \\w takes letters of all languages."""
HERE = "{here}"
"""In the words for the program: the folder of the script, whatever it is called when it runs. A file in it: HERE/name."""

SH = """#!/bin/sh
# {about}
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 1
{ask}cd -- "$here/{up}" || exit 1
sh ./start.sh {words}
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
rem {about}
setlocal
chcp 65001 >nul
{ask}cd /d "%~dp0{up}" || (pause & exit /b 1)
call start.bat {words}
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


def write_scripts(folder: Path, stem: str, about: str, words: Sequence[str], asks_key: bool = False) -> Sequence[Path]:
    """``stem``.sh and ``stem``.bat, which call the program with these words; of fixed or plain letters, but for ``HERE``.

    UserError where the way from the folder to the program is none that a script could hold.
    """
    assert not re.search(r"[^\w./ {}:,=-]", "".join([stem, about, *words])), "what people wrote stands in the spec file"
    up = _way_up(folder)
    unix = [_quoted(word, "$here") for word in words]
    # A backslash before a closing quote would take the quote for a sign, so a folder ends with a dot.
    windows = [_quoted(f"{HERE}." if word == HERE else word, "%~dp0").replace("%~dp0/", "%~dp0") for word in words]
    files = {
        f"{stem}.sh": SH.format(about=about, up=up, words=" ".join(unix), ask=SH_KEY if asks_key else ""),
        f"{stem}.bat": BAT.format(
            about=about, up=up.replace("/", "\\"), words=" ".join(windows), ask=BAT_KEY if asks_key else ""
        ).replace("\n", "\r\n"),
    }
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    script = folder / f"{stem}.sh"
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return [folder / name for name in files]


def _quoted(word: str, here: str) -> str:
    """The word as a script holds it, the folder of the script in its place."""
    return f'"{word.replace(HERE, here)}"' if HERE in word else word


def plain_name(given: str) -> str:
    """Letters, digits, - and _ of any language's alphabet become those of English: what every shell takes as it is."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", given.removesuffix(".gguf"))[:LONGEST].strip("_-") or "model"


def is_plain(name: str) -> bool:
    """Whether a file's name can stand in a script as it is."""
    return bool(re.fullmatch(r"[A-Za-z0-9_.-]+", name)) and not name.startswith("-")


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
