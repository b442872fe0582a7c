"""Our own offline suite: everyday questions and general prose in English and Chinese, written for this project. Data in
the shape of lm-eval task files; knows no model and no metric.

Multiple choice is scored by the likelihood of an option's text, not of a letter: small models have not yet learned to
point at options by letter and would all stand at chance.
"""

import json
from pathlib import Path

LOCALES = ("en", "zh")
TASKS = tuple(f"everyday_{locale}" for locale in LOCALES)
"""The groups that lm-eval knows when ``folder()`` is its include_path."""
CATEGORIES = ("knowledge", "arithmetic", "reading", "following")
"""Each is a task of a group, named ``everyday_en_knowledge`` and so on; following is short answers, the others choices."""
MOST_SHOTS = 5
"""Examples that each category has to show before a question; following shows four unless told otherwise."""


def folder() -> Path:
    """Where the task files lie, for lm-eval's include_path."""
    return Path(__file__).parent


def general(locale: str) -> list[str]:
    """Short paragraphs of plain prose in the language, for the loss on general text."""
    text = (folder() / f"general_{locale}.txt").read_text("utf-8")
    return [paragraph.strip() for paragraph in text.split("\n\n") if paragraph.strip()]


def questions(locale: str) -> list[str]:
    """Everyday questions in the language that are answered in a few words, the easiest first."""
    lines = (folder() / f"everyday_{locale}.jsonl").read_text("utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if (row["category"], row["split"]) == ("following", "test")]
    return [str(row["question"]) for row in sorted(rows, key=lambda row: row["level"])]
