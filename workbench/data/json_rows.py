"""Rows as JSON in a file, whatever they hold. Knows no dataset and no format."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import IO, Any


def write_rows(file: IO[bytes], rows: Iterable[Mapping[str, Any]], as_list: bool) -> int:
    """Each row on a line of its own, or all as one list; how many there were."""
    count = 0
    for row in rows:
        if as_list:
            file.write(b",\n  " if count else b"[\n  ")
        file.write(json_line(row))
        if not as_list:
            file.write(b"\n")
        count += 1
    if as_list:
        file.write(b"\n]\n" if count else b"[]\n")
    return count


def json_line(row: Mapping[str, Any]) -> bytes:
    """The row as JSON in UTF-8; halves of characters as escapes, numbers that JSON lacks as null."""
    try:
        text = json.dumps(row, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(row), ensure_ascii=False, default=str)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(json.loads(text)).encode()


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return value
