"""Sets as tokens on disk, so that a second run of the same rows starts at once. Knows no trainer.

A folder of the cache is named by a key of all that decides the tokens: the files' content, how they are read, the
template, the tokenizer, the stage and the cutoff. It is written beside its name and renamed, so it is whole or not there.
"""

import hashlib
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.chats.encoding import Encoder, Row, Tally
from workbench.data.datasets import Entry
from workbench.data.samples import Read
from workbench.formats import Sample
from workbench.text import Message, Text

VERSION = 3
"""Part of every key: raise it when the same input gives other tokens."""
BATCH = 1024
UNUSED_DAYS = 30
TOLD_ROWS = 10
SAID = "said.jsonl"


class Say:
    untrained = Text("within {cutoff} tokens nothing of its answer is left. Raise 'Cutoff length'.")


@dataclass
class Said:
    """What was said of the rows of a set: a line of a file for each, since every row of a large set may have one."""

    file: Path
    count: int = 0
    first: list[Message] = field(default_factory=list)
    """The first ten."""

    def messages(self) -> Iterator[Message]:
        """All of them, read as they are asked for."""
        with self.file.open(encoding="utf-8") as lines:
            yield from (Message.from_json(json.loads(line)) for line in lines)


def cache_key(entry: Entry, encoder: Encoder, values: Mapping[str, str], max_samples: int | None) -> str:
    """The name under which the tokens of this set are kept."""
    tokenizer = encoder.tokenizer
    parts = {
        "version": VERSION,
        "files": [file_hash(file) for file in entry.files()],
        "read": [entry.format, asdict(entry.layout), entry.num_samples, max_samples, sorted(values.items())],
        "template": [tokenizer.chat_template, asdict(encoder.options), tokenizer.special_tokens_map],
        "tokenizer": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "stage": encoder.spec.model_dump(),
        "cutoff_len": encoder.cutoff_len,
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_hash(file: Path) -> str:
    """The SHA-256 of a file's content."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def kept(folder: Path) -> tuple[Any, Tally, Said] | None:
    """The rows of a folder of the cache (memory-mapped), their tally and what was said of them; None when it is not there."""
    from datasets import Dataset

    try:
        facts = json.loads((folder / "facts.json").read_text("utf-8"))
        if any((folder / name).stat().st_size != size for name, size in facts["bytes"].items()):
            return None
        said = Said(folder / SAID, facts["said"])
        said.first = list(islice(said.messages(), TOLD_ROWS))
        rows = Dataset.from_file(str(folder / "rows.arrow"))
        os.utime(folder)
        return rows, Tally(**facts["tally"]), said
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write(
    folder: Path, reads: Iterator[Read], encoder: Encoder, say: Callable[[Read], Message], told: Callable[[int], None]
) -> None:
    """Encode the rows into a new folder of the cache, a batch at a time. ``told`` hears the number of rows read."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    count = 0
    try:
        with (unfinished / SAID).open("w", encoding="utf-8") as file:

            def note(read: Read) -> None:
                nonlocal count
                count += 1
                file.write(json.dumps(say(read).to_json(), ensure_ascii=False) + "\n")

            _write_rows(unfinished / "rows.arrow", said_rows(reads, encoder, note, told))
        sizes = {name: (unfinished / name).stat().st_size for name in ("rows.arrow", SAID)}
        facts = {"tally": vars(encoder.tally), "said": count, "bytes": sizes}
        (unfinished / "facts.json").write_text(json.dumps(facts, ensure_ascii=False), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def said_rows(
    reads: Iterator[Read], encoder: Encoder, say: Callable[[Read], None], told: Callable[[int], None] = lambda done: None
) -> Iterator[Row]:
    """The rows of tokens of what was read; ``say`` hears of every row that was left out or put right."""
    waiting: deque[Read] = deque()

    def samples() -> Iterator[Sample]:
        for done, read in enumerate(reads, 1):
            if done % BATCH == 0:
                told(done)
            if read.reasons:
                say(read)
            if read.sample is not None:
                waiting.append(read)
                yield read.sample

    for row in encoder.rows(samples()):
        read = waiting.popleft()
        if row is None:
            row = Say.untrained(cutoff=f"{encoder.cutoff_len:,}")
        if isinstance(row, Message):
            say(Read(read.number, read.row, None, [row]))
        else:
            yield row


def _write_rows(file: Path, rows: Iterator[Row]) -> None:
    import pyarrow

    writer, batch = None, list[Row]()

    def flush() -> None:
        nonlocal writer
        names = list(batch[0])
        arrays = [pyarrow.array([row.get(name) for row in batch], _arrow_type(name)) for name in names]
        table = pyarrow.RecordBatch.from_arrays(arrays, names)
        if writer is None:
            writer = pyarrow.ipc.new_stream(file, table.schema)
        writer.write_batch(table)
        batch.clear()

    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    if writer is None:
        writer = pyarrow.ipc.new_stream(file, pyarrow.schema([("input_ids", _arrow_type("input_ids"))]))
    writer.close()


def _arrow_type(name: str) -> Any:
    import pyarrow

    return pyarrow.list_(pyarrow.float32() if name == "loss_weights" else pyarrow.int32())


def forget_unused(cache: Path) -> Sequence[Path]:
    """Delete folders of the cache that no run has used for 30 days, and half-written ones of that age."""
    old = time.time() - UNUSED_DAYS * 86_400
    gone = [folder for folder in cache.glob("*") if folder.is_dir() and folder.stat().st_mtime < old]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return gone
