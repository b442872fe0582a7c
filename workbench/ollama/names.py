"""Names that Ollama accepts for a model: [host/][namespace/]model[:tag]. Knows no server."""

import re

from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Text

PART = r"\w[\w.-]{0,79}"
NAME = re.compile(rf"(?:(?:\w[\w.:-]{{0,349}}/)?\w[\w-]{{0,79}}/)?{PART}(?::{PART})?", re.ASCII)


class Say:
    bad = Text(
        "'{given}' is no name for a model of Ollama. Accepted: letters, digits, '_', '-' and '.', with a tag behind a colon if you "
        "like, such as my-model:q8. Choose such a name."
    )


def check_name(given: str) -> None:
    """UserError beside ``ollama_name`` when Ollama would refuse the name."""
    if not NAME.fullmatch(given):
        raise UserError(Say.bad(given=plain(given)), key="ollama_name")
