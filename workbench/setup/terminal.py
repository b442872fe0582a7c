"""What is said on a terminal before there is a page: English, or Chinese where the system speaks it.

Standard library only, since it also runs before anything is installed. Knows nothing of locales/ and of pages.
"""

import locale
import os
import sys
from collections.abc import Mapping


def words(english: str, chinese: str) -> str:
    """The sentence in the language of the system."""
    return chinese if speaks_chinese(system_language(os.environ, sys.platform)) else english


def speaks_chinese(language: str) -> bool:
    """Whether a language name such as zh_CN.UTF-8 or zh-Hans stands for Chinese."""
    return language.lower().startswith("zh")


def system_language(environ: Mapping[str, str], platform: str) -> str:
    """The language of messages, as POSIX orders its variables; on Windows, where none is set, that of its menus."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return environ[name]
    return windows_language() if platform == "win32" else ""


def windows_language() -> str:
    """The language of Windows' own menus, such as zh_CN."""
    if sys.platform == "win32":
        import ctypes

        return locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")
    return ""


def say(line: str) -> None:
    """Print one line at once; a character that the terminal cannot show becomes a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "replace").decode(encoding), flush=True)
