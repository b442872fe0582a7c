"""A GGUF file where LM Studio looks for one: publisher/model/file.gguf. Knows no exporter by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from workbench.exporters import Made
from workbench.text import Message, Text

PUBLISHER = "workbench"


class Say:
    no_file = Text("Nothing was laid out for LM Studio: this export holds no GGUF file of a whole model. Export it as GGUF.")


def lay_out(part: Path, made: Made, name: str, note: Callable[[Message], None]) -> Made:
    """Move the file to its place inside the folder, so that it needs the disk only once; how it is loaded now."""
    if made.model is None or made.model.suffix != ".gguf":
        note(Say.no_file())
        return made
    place = Path(PUBLISHER, name, made.model.name)
    (part / place).parent.mkdir(parents=True)
    (part / made.model).rename(part / place)
    return replace(made, model=place)
