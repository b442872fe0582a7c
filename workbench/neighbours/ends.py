"""Which tokens end an answer of the model that another server holds. Knows no server."""

import json
from typing import Any

from workbench.engines import Opening

FILES = ("generation_config.json", "config.json")
"""Where a model says its own, the first that does."""


def end_ids(opening: Opening, tokenizer: Any) -> list[int]:
    """The template's ends of turn, and the model's own."""
    found = list(opening.stop_ids(tokenizer))
    for name in FILES:
        file = opening.folder() / name
        own = json.loads(file.read_text("utf-8")).get("eos_token_id") if file.is_file() else None
        if own is not None:
            return list(dict.fromkeys([*found, *(own if isinstance(own, list) else [own])]))
    return found
