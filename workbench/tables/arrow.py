"""Columns in binary files: Parquet, Feather and Arrow, the latter as file or stream. Knows no format of rows."""

import datetime
import decimal
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from workbench.problems import UserError
from workbench.tables import Record, column_names
from workbench.text import Message, Text

SUFFIXES = (".parquet", ".arrow", ".feather")
ROWS_AT_ONCE = 1_000
FILE_KEYS = {"bytes", "path"}
"""What a picture or a sound consists of; its bytes need not be text."""


class Say:
    unreadable = Text(
        "file '{file}' can't be read: {reason}. Accepted: a whole Parquet, Feather or Arrow file. Save it again."
    )
    binary = Text(
        "row {row}: '{column}' holds {count} bytes that are no text. Accepted: UTF-8 text. Save the column as text."
    )
    breaks_off = Text("from row {row} on the file can't be read: {reason}. Accepted: a whole file. Save it again.")


def records(file: Path) -> Iterator[Record]:
    """The rows, some thousand at a time; times and dates as ISO text, missing numbers as None."""
    import pyarrow as pa

    with ExitStack() as stack:
        try:
            schema, batches = _opened(file, stack)
        except (pa.ArrowException, OSError) as error:
            raise UserError(Say.unreadable(file=file.name, reason=_first_line(error))) from None
        column_names(schema.names)
        foreign = not all(_is_plain(kind) for kind in schema.types)
        number = 0
        while True:
            try:
                batch = next(batches, None)
                rows = batch.to_pylist() if batch is not None else None
            except (pa.ArrowException, OSError, ValueError) as error:
                yield Record(number + 1, None, Say.breaks_off(row=number + 1, reason=_first_line(error)))
                return
            if rows is None:
                return
            for row in rows:
                number += 1
                yield _record(number, row) if foreign else Record(number, row)


def count(file: Path) -> int | None:
    """How many rows the file says it has; None where only reading tells."""
    if file.suffix.lower() != ".parquet":
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except (pa.ArrowException, OSError):
        return None


def _record(number: int, row: Mapping[str, Any]) -> Record:
    """The row as JSON knows it; none where bytes stand for a text and are none."""
    plain = dict[str, Any]()
    for name, value in row.items():
        try:
            plain[name] = _plain(value)
        except UnicodeDecodeError as error:
            return Record(number, None, Say.binary(row=number, column=name, count=len(error.object)))
    return Record(number, plain)


def notes(file: Path) -> list[Message]:
    """Nothing: such a file says itself what it holds."""
    return []


def _opened(file: Path, stack: ExitStack) -> tuple[Any, Iterator[Any]]:
    """The schema and the batches of rows."""
    import pyarrow as pa

    if file.suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        opened = stack.enter_context(pq.ParquetFile(file))
        return opened.schema_arrow, opened.iter_batches(ROWS_AT_ONCE)
    source = stack.enter_context(pa.memory_map(str(file)))
    with file.open("rb") as start:
        whole = start.read(6) == b"ARROW1"
    if whole:
        reader = stack.enter_context(pa.ipc.open_file(source))
        found = (reader.get_batch(at) for at in range(reader.num_record_batches))
    else:
        reader = stack.enter_context(pa.ipc.open_stream(source))
        found = iter(reader)
    return reader.schema, (part for batch in found for part in _parts(batch))


def _parts(batch: Any) -> Iterator[Any]:
    """A batch in pieces that are small enough to become Python objects."""
    return (batch.slice(at, ROWS_AT_ONCE) for at in range(0, batch.num_rows, ROWS_AT_ONCE))


def _is_plain(kind: Any) -> bool:
    """Whether values of the type are already what JSON knows."""
    import pyarrow as pa

    inner: Sequence[Any] = [kind.field(at) for at in range(kind.num_fields)]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_struct(kind):
        return all(_is_plain(field.type) for field in inner)
    return any(
        test(kind)
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_integer,
            pa.types.is_boolean,
            pa.types.is_null,
        )
    )


def _plain(value: Any) -> Any:
    """The value as JSON knows it; UnicodeDecodeError for bytes that are no text."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case {"bytes": bytes(content)} if value.keys() <= FILE_KEYS:
            return {**value, "bytes": f"<{len(content)} bytes>"}
        case dict():
            return {str(name): _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime.timedelta():
            return str(value)
        case bytes():
            return value.decode("utf-8")
    return value


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
