"""The samples of an evaluation as files to keep: a table for Excel and the lines as they stand. Knows no page."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.ui.evaluating.sheet import Sample, Sheet, change, score

BOM = "\ufeff"
"""Excel takes a file for UTF-8 only when it begins with this."""
ACTIVE = "=+-@\t\r＝＋－＠"
"""A cell that begins with one of these may be run as a formula."""
DIGITS = 6


def csv_text(sheet: Sheet) -> str:
    """One line a sample: question, reference, each model's answer and how it ended, every score and its change."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    heads = ["set", "row", "prompt", "reference"]
    heads += [name for model in sheet.models for name in (model, f"{model} finish")]
    heads += [f"{measure} {what}" for measure in sheet.measures for what in _columns(sheet)]
    writer.writerow([harmless(head) for head in heads])
    for row in sheet.rows:
        writer.writerow(_cells(sheet, row))
    return BOM + out.getvalue()


def _columns(sheet: Sheet) -> list[str]:
    return [*sheet.models, *(["change"] if sheet.both else [])]


def _cells(sheet: Sheet, row: Sample) -> list[str]:
    texts = [str(row.get("set") or ""), str(row.get("row", "")), prompt_text(row.get("prompt") or []), _text(row.get("reference"))]
    for model in sheet.models:
        held = row.get(model) or {}
        texts += [_text(held.get("answer")), str(held.get("finish") or "")]
    numbers = []
    for measure in sheet.measures:
        numbers += [_number(score(row, model, measure)) for model in sheet.models]
        numbers += [_number(change(row, measure))] if sheet.both else []
    return [*(harmless(text) for text in texts), *numbers]


def prompt_text(messages: Sequence[Any]) -> str:
    """One question as it is; a conversation with the role before each message."""
    turns = [one for one in messages if isinstance(one, Mapping)]
    if len(turns) == 1:
        return _text(turns[0].get("content"))
    return "\n".join(f"{turn.get('role', '')}: {_text(turn.get('content'))}" for turn in turns)


def harmless(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] and text[0] in ACTIVE else text


def jsonl_text(sheet: Sheet) -> str:
    """The samples as they stand in the run's folder."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in sheet.rows)


def _text(given: Any) -> str:
    if given is None:
        return ""
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _number(value: float | None) -> str:
    return "" if value is None else f"{round(value, DIGITS):g}"


