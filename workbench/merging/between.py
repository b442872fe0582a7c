"""The whole model as a folder for a while, for what makes something else of it. Knows no exporter."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workbench.exporters import Source
from workbench.merging import Plan
from workbench.merging.configs import write_beside

ONE_FILE_BYTES = 1 << 60
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
WORDS = ("tokenizer*", "*.model", "*.tiktoken", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json",
         "special_tokens_map.json", "chat_template*")  # fmt: skip
"""Files of a tokenizer."""


def between_bytes(planned: Plan) -> int:
    """What it takes on the disk while it is there."""
    return planned.num_bytes if planned.adapters else 0


@contextmanager
def whole_between(planned: Plan, source: Source, target: Path) -> Iterator[Path]:
    """The model in ``target`` for the block, with all that belongs to it: weights that adapters change are written, others
    linked to. What else lies in a run's folder, such as its log or an optimiser, stays there."""
    try:
        target.mkdir()
        parted = planned.write(target, ONE_FILE_BYTES, source) if planned.adapters else planned.parted() is not None
        write_beside(source, planned.folder, target, planned.kind, parted)
        for kind in WORDS if planned.adapters else (*WEIGHTS, *WORDS):
            for file in planned.folder.glob(kind):
                if file.is_file() and not (target / file.name).exists():
                    link(file.resolve(), target / file.name)
        yield target
    finally:
        shutil.rmtree(target, ignore_errors=True)


def link(file: Path, place: Path) -> None:
    """The file at another place, without a copy where that can be."""
    try:
        place.symlink_to(file)
    except OSError:  # not every system lets everybody make links
        shutil.copyfile(file, place)
