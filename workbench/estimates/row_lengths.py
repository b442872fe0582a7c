"""How long the rows of a run are, guessed from some of them without loading a model. Knows tokenizer files, no torch.

Tokens are counted by the model's tokenizer.json where there is one, else guessed from characters; what a chat template
adds is a constant a turn.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from workbench import stages
from workbench.data.datasets import Entry
from workbench.data.samples import of_shape, read_set, signature
from workbench.estimates.needs import Batch
from workbench.models import local_folder
from workbench.plans import chosen_sets, unfetched
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.stages import Script
from workbench.workspace import Workspace

READ_ROWS = 2_000
COUNTED_ROWS = 200
LONGEST_ROWS = 8
TURN_TOKENS = 5
"""What a chat template writes around each turn."""
SYSTEM_TOKENS = 24
"""What a template adds that brings a system prompt of its own, and how that is recognised."""
OWN_SYSTEM = "You are"
WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
DRAWS = 200


@dataclass(frozen=True)
class RowLengths:
    """Tokens of rows that stand for all, each the longest text of its row, cut at the cutoff."""

    tokens: Sequence[int] = ()
    longest: int = 0
    texts: int = 1
    """How many texts one row becomes."""
    packed: bool = False
    """Rows are put together until they have the length of the cutoff."""

    @property
    def mean(self) -> float:
        return sum(self.tokens) / max(1, len(self.tokens))

    def usual(self, rows: int, grouped: bool) -> Batch:
        """A batch of so many rows as it mostly is: padded to the longest of rows that are drawn by lot, or of like ones."""
        if grouped or rows == 1 or self.packed or not self.tokens:
            return Batch(rows * self.texts, self.mean)
        lot = random.Random(42)  # noqa: S311
        widest = [max(lot.choices(self.tokens, k=rows)) for _ in range(DRAWS)]
        return Batch(rows * self.texts, sum(widest) / DRAWS)

    def widest(self, rows: int) -> Batch:
        """The batch that takes the most memory."""
        return Batch(rows * self.texts, self.longest)


def row_lengths(workspace: Workspace, spec: TrainSpec) -> RowLengths | None:
    """The lengths of the chosen sets' rows; None where they can't be known yet."""
    try:
        entries = chosen_sets(workspace, spec)[0]
    except UserError:
        return None
    if not entries or any(unfetched(entry) for entry in entries):
        return None
    folder = local_folder(workspace, spec.model.model_name_or_path)
    values, stage = tuple(sorted(spec.data.dataset_values.items())), spec.stage.model_dump_json()
    tokenizer = _tokenizer_file(folder) if folder else None
    found = [
        _lengths(entry, values, spec.data.max_samples, spec.stage.stage, stage, tokenizer, signature(entry))
        for entry in entries
    ]
    tokens = [count for one in found for count in one[0]]
    if not tokens:
        return None
    whole, cutoff = any(one[2] for one in found), spec.data.cutoff_len
    flat = spec.stage.model_dump()
    if whole or flat.get("packing") or flat.get("neat_packing"):
        return RowLengths([cutoff], cutoff, 1, packed=True)
    cut = [min(cutoff, count) for count in tokens]
    return RowLengths(cut, max(cut), max(one[1] for one in found))


def mean_tokens(workspace: Workspace, spec: TrainSpec) -> float:
    """Tokens of a row before it is packed with others."""
    plain = spec.model_copy(update={"data": spec.data.model_copy(update={"cutoff_len": 1_048_576})})
    flat: dict[str, Any] = {key: False for key in ("packing", "neat_packing") if key in spec.stage.model_dump()}
    alone = row_lengths(workspace, plain.model_copy(update={"stage": spec.stage.model_copy(update=flat)}))
    return alone.mean if alone else float(spec.data.cutoff_len)


@lru_cache(maxsize=64)
def _lengths(
    entry: Entry,
    values: tuple[tuple[str, str], ...],
    max_samples: int | None,
    stage: str,
    stage_json: str,
    tokenizer: tuple[Path, int] | None,
    signed: Any,
) -> tuple[tuple[int, ...], int, bool]:
    """Tokens of some rows, the longest ones among them; texts a row; whether the stage cuts rows into blocks."""
    module = plugins(stages)[stage]
    spec = module.Spec.model_validate_json(stage_json)
    reads = of_shape(read_set(entry, dict(values), min(max_samples or READ_ROWS, READ_ROWS)), module.SHAPES)
    rows = [module.scripts(spec, read.sample) for read in islice(reads, READ_ROWS) if read.sample is not None]
    if not rows:
        return (), 1, False
    by_size = sorted(rows, key=lambda scripts: max(len(_text(one)) for one in scripts))
    drawn = random.Random(42).sample(rows, min(COUNTED_ROWS, len(rows)))  # noqa: S311
    counted = [*drawn, *by_size[-LONGEST_ROWS:]] if len(rows) > COUNTED_ROWS else rows
    tokens = tuple(max(sizes) for sizes in _count(counted, tokenizer))
    return tokens, max(len(scripts) for scripts in rows), any(one.whole for scripts in rows for one in scripts)


def _text(script: Script) -> str:
    return script.text if script.text is not None else "\n".join(turn.content for turn in script.turns)


def _count(rows: Sequence[Sequence[Script]], tokenizer: tuple[Path, int] | None) -> Iterator[list[int]]:
    """Tokens of each script of each row."""
    texts = [_text(script) for scripts in rows for script in scripts]
    if tokenizer is None:
        sizes, extra = iter([guessed_tokens(text) for text in texts]), 0
    else:
        loaded, extra = _open_tokenizer(*tokenizer)
        sizes = iter([len(one.ids) for one in loaded.encode_batch_fast(texts, add_special_tokens=False)])
    for scripts in rows:
        yield [next(sizes) + (1 if one.text is not None else extra + TURN_TOKENS * len(one.turns)) for one in scripts]


def guessed_tokens(text: str) -> int:
    """About how many tokens a text has: four letters of an alphabet make one, or one and a half wide characters."""
    wide = len(WIDE.findall(text))
    return round(wide / 1.5 + (len(text) - wide) / 4)


def _tokenizer_file(folder: Path) -> tuple[Path, int] | None:
    file = folder / "tokenizer.json"
    return (file, file.stat().st_mtime_ns) if file.is_file() else None


@lru_cache(maxsize=2)
def _open_tokenizer(file: Path, changed: int) -> tuple[Any, int]:
    """The tokenizer and what its model's template adds to every conversation, in tokens."""
    from tokenizers import Tokenizer

    own = [file.with_name(name) for name in ("chat_template.jinja", "tokenizer_config.json")]
    brings = any(one.is_file() and OWN_SYSTEM in one.read_text("utf-8", errors="replace") for one in own)
    return Tokenizer.from_file(str(file)), SYSTEM_TOKENS if brings else 0
