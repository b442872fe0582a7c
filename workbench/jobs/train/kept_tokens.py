"""Tokens in a folder of the person's choice: written once, taken by later runs. Knows no sets and no trainer.

Beside the tokens lies a small file that says whose they are. A folder without it, such as LLaMA-Factory writes, is taken
when its columns are those of the stage.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.chats.encoding import Encoder
from workbench.formats import Sample, Shape, Turn
from workbench.problems import UserError
from workbench.stages import Encoded
from workbench.text import Message, Text

FACTS = "workbench.json"
LABELS, WEIGHTS = "labels", "loss_weights"


class Say:
    other_folder = Text("'{given}' holds no tokens. Accepted: a new name, or a folder that a run has written. Rename it.")
    other_stage = Text(
        "The tokens in '{given}' are for the stage {found}, and this run is {stage}. Accepted: tokens of this stage, or a "
        "new name. Rename it."
    )
    other_tokenizer = Text(
        "The tokens in '{given}' were made by another tokenizer than this model's. Accepted: tokens of this tokenizer, or "
        "a new name. Rename it."
    )
    other_columns = Text(
        "The tokens in '{given}' have no {missing}, which the stage {stage} learns from. Accepted: tokens of this stage, "
        "or a new name. Rename it."
    )


@dataclass(frozen=True)
class Facts:
    """Whose tokens a folder holds."""

    stage: str
    columns: Sequence[str]
    tokenizer: str
    """A hash of its words and their numbers."""


def save(folder: Path, encoder: Encoder, train: Any, held: Any | None) -> None:
    """Keep the rows under the names that LLaMA-Factory gives them: train and validation."""
    from datasets import DatasetDict

    parts = {"train": train} | ({} if held is None else {"validation": held})
    unfinished = folder.with_name(f"{folder.name}.part")
    DatasetDict(parts).save_to_disk(str(unfinished))
    facts = Facts(encoder.spec.stage, train.column_names, tokenizer_hash(encoder.tokenizer))
    (unfinished / FACTS).write_text(json.dumps(asdict(facts)), "utf-8")
    unfinished.rename(folder)


def load(folder: Path, encoder: Encoder, given: str) -> tuple[Any, Any | None]:
    """The rows to learn from and those held out; UserError beside ``tokenized_path`` when they are not for this run."""
    from datasets import DatasetDict, load_from_disk

    try:
        parts = load_from_disk(str(folder))
    except (FileNotFoundError, ValueError, OSError):
        raise _refused(Say.other_folder(given=given)) from None
    if not isinstance(parts, DatasetDict):
        parts = {"train": parts}
    if "train" not in parts:
        raise _refused(Say.other_folder(given=given))
    _check_facts(folder, encoder, given)
    rows, held = parts["train"], parts.get("validation")
    wanted, needed = columns_of(encoder)
    if missing := [name for name in needed for one in (rows, held) if one is not None and name not in one.column_names]:
        said = Say.other_columns(given=given, missing=", ".join(dict.fromkeys(missing)), stage=encoder.spec.stage)
        raise _refused(said)
    return _only(rows, wanted), None if held is None else _only(held, wanted)


def _check_facts(folder: Path, encoder: Encoder, given: str) -> None:
    try:
        facts = Facts(**json.loads((folder / FACTS).read_text("utf-8")))
    except FileNotFoundError:
        return
    except (ValueError, TypeError):
        raise _refused(Say.other_folder(given=given)) from None
    if facts.stage != encoder.spec.stage:
        raise _refused(Say.other_stage(given=given, found=facts.stage, stage=encoder.spec.stage))
    if facts.tokenizer != tokenizer_hash(encoder.tokenizer):
        raise _refused(Say.other_tokenizer(given=given))


def _refused(said: Message) -> UserError:
    return UserError(said, key="tokenized_path")


def _only(rows: Any, wanted: Sequence[str]) -> Any:
    """The rows without what other programs keep beside them, such as masks."""
    return rows.select_columns([name for name in rows.column_names if name in wanted])


def columns_of(encoder: Encoder) -> tuple[Sequence[str], Sequence[str]]:
    """The columns of the stage's rows, and those that it can't do without: of running text every token is learned."""
    scripts = encoder.stage.scripts(encoder.spec, _sample(encoder.stage.SHAPES[0]))
    wanted = list(encoder.stage.columns(encoder.spec, [Encoded([0], [0]) for _ in scripts]))
    spare = {WEIGHTS, LABELS} if all(script.text is not None for script in scripts) else {WEIGHTS}
    return wanted, [name for name in wanted if name not in spare]


def _sample(shape: Shape) -> Sample:
    """The least sample of its shape."""
    asked, answered = Turn("user", "?"), Turn("assistant", ".")
    match shape:
        case "text":
            return Sample(text=".")
        case "preference":
            return Sample([asked], chosen=[answered], rejected=[answered])
        case "label":
            return Sample([asked, answered], label=True)
        case "dialogue":
            return Sample([asked, answered])


def tokenizer_hash(tokenizer: Any) -> str:
    """Alike for two tokenizers in which every number stands for the same word."""
    words = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda one: one[1]))
    return hashlib.sha256(words.encode()).hexdigest()
