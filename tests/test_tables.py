"""Files of rows as people have them: whole ones in every kind and encoding, and broken ones of which no other row is lost."""

import json
import random
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.workbooks import OLD_WORKBOOK, as_cells, write_ods, write_xlsx
from workbench.problems import UserError
from workbench.tables import Record, csv, suffixes, table_for
from workbench.text import Message

Rows = list[dict[str, Any]]


def read(file: Path) -> list[Record]:
    return list(table_for(file).records(file))


def said(message: Message | None) -> str:
    """The key of what is said at last, without the folder of the tables."""
    assert message is not None
    reason = message.args.get("reason")
    return said(reason) if isinstance(reason, Message) else message.key.removeprefix("tables.")


@dataclass(frozen=True)
class Odd:
    """A file and what is to be read from it: rows, and for each fault its key and the row that was meant."""

    name: str
    content: str | bytes
    rows: Rows
    faults: Sequence[tuple[str, dict[str, Any] | None]] = ()


A1, A2, A3 = {"a": 1}, {"a": 2}, {"a": 3}
TOL, FLT, STR = "json.tolerant", "json.faults", "json.stream"
ODD: Mapping[str, Odd] = {
    "empty": Odd("x.json", "", []),
    "empty lines": Odd("x.jsonl", "", []),
    "white space": Odd("x.json", " \r\n\t ", []),
    "empty list": Odd("x.json", "[]", []),
    "list of rows": Odd("x.json", '[{"a": 1}, {"a": 2}]', [A1, A2]),
    "byte order mark": Odd("x.json", b'\xef\xbb\xbf[{"a": 1}]', [A1]),
    "mark in lines": Odd("x.jsonl", b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}', [A1, A2]),
    "CRLF": Odd("x.jsonl", '{"a": 1}\r\n\r\n{"a": 2}\r\n', [A1, A2]),
    "CR alone": Odd("x.jsonl", '{"a": 1}\r{"a": 2}', [A1, A2]),
    "lines named .json": Odd("x.json", '{"a": 1}\n{"a": 2}\n', [A1, A2]),
    "list named .jsonl": Odd("x.jsonl", '[\n  {"a": 1},\n  {"a": 2}\n]\n', [A1, A2]),
    "object with data": Odd("x.json", '{"version": "1", "data": [{"a": 1}, {"a": 2}], "n": 2}', [A1, A2]),
    "one row alone": Odd("x.json", '{"a": 1}', [A1]),
    "one talk alone": Odd("x.json", '{"m": [{"role": "user"}]}', [{"m": [{"role": "user"}]}]),
    "tools are no rows": Odd("x.json", '{"tools": [{"a": 1}]}', [{"tools": [A1]}]),
    "objects over lines": Odd("x.jsonl", '{\n "a": 1\n}\n{\n "a": 2\n}\n', [A1, A2]),
    "object over lines amid": Odd("x.jsonl", '{"a": 1}\n{"a":\n2\n}\n{"a": 3}\n', [A1, A2, A3]),
    "two on a line": Odd("x.jsonl", '{"a": 1}{"a": 2}\n{"a": 3}\n', [A1, A2, A3]),
    "lines with commas": Odd("x.jsonl", '{"a": 1},\n{"a": 2},\n', [A1, A2]),
    "comma at the end": Odd("x.json", '[{"a": 1}, {"a": 2},]', [A1, A2]),
    "no comma between": Odd("x.json", '[{"a": 1} {"a": 2}]', [A1, A2]),
    "comments between": Odd("x.json", '// rows\n[{"a": 1}, /* and */ {"a": 2}]', [A1, A2]),
    "bracket too many": Odd("x.json", '[{"a": 1}, [{"a": 2}, {"a": 3}]', [A1, A2, A3]),
    "lists of messages": Odd("x.json", '[[{"role": "user"}]]', [], [(f"{FLT}.not_object", None)]),
    "two lists": Odd("x.json", '{"train": [{"a": 1}], "test": [{"a": 2}]}', [A1], [(f"{STR}.second_list", None)]),
    "whole but cut off": Odd("x.json", '[{"a": 1}, {"a": 2}', [A1, A2], [(f"{STR}.cut_off", None)]),
    "cut off amid": Odd("x.json", '[{"a": 1}, {"a": "tw', [A1], [(f"{TOL}.unclosed", {"a": "tw"})]),
    "comma in object": Odd("x.json", '[{"a": 1,}, {"a": 2}]', [A2], [(f"{TOL}.extra_comma", A1)]),
    "no comma in object": Odd(
        "x.json", '[{"a": 1\n"b": 2}, {"a": 2}]', [A2], [(f"{TOL}.missing_comma", {"a": 1, "b": 2})]
    ),
    "no brace": Odd("x.json", '[{"a": 1, {"a": 2}, {"a": 3}]', [A2, A3], [(f"{TOL}.missing_closer", A1)]),
    "no brace at the end": Odd("x.json", '[{"a": 1}, {"a": 2]', [A1], [(f"{TOL}.missing_closer", A2)]),
    "no quote": Odd("x.json", '[{"a": "x}, {"a": 2}, {"a": 3}]', [A2, A3], [(f"{TOL}.unclosed", {"a": "x"})]),
    "no quote over lines": Odd(
        "x.json", '[\n {\n  "a": "x,\n  "b": 1\n },\n {\n  "a": 2\n }\n]', [A2], [(f"{TOL}.control", None)]
    ),
    "other quotes": Odd("x.json", "[{'a': 'it\\'s', 'b': 1}, {\"a\": 2}]", [A2], [(f"{TOL}.quotes", {"a": "it's", "b": 1})]),
    "Python words": Odd(
        "x.jsonl", '{"a": None, "b": True}\n{"a": 2}', [A2], [(f"{TOL}.python_word", {"a": None, "b": True})]
    ),
    "written by Python": Odd("x.jsonl", "{'a': 1}\n{'a': None}\n", [], [(f"{TOL}.quotes", A1), (f"{TOL}.quotes", {"a": None})]),
    "bare name": Odd("x.json", '[{a: 1}, {"a": 2}]', [A2], [(f"{TOL}.bare_key", A1)]),
    "Chinese signs": Odd("x.json", '[{“a”：“是”，“b”：1}, {"a": 2}]', [A2], [(f"{TOL}.quotes", {"a": "是", "b": 1})]),
    "Chinese comma": Odd("x.jsonl", '{"a": 1，"b"：2}\n{"a": 2}', [A2], [(f"{TOL}.full_width", {"a": 1, "b": 2})]),
    "quote in text": Odd(
        "x.jsonl", '{"a": "say "hi", now", "b": 1}', [], [(f"{TOL}.inner_quote", {"a": 'say "hi", now', "b": 1})]
    ),
    "quote that swallows a name": Odd("x.jsonl", '{"a": "x, "b": "y"}', [], [(f"{FLT}.comma", None)]),
    "raw tab": Odd("x.json", '[{"a": "x\ty"}, {"a": 2}]', [A2], [(f"{TOL}.control", {"a": "x\ty"})]),
    "stray control": Odd("x.jsonl", '{"a": "x\x01y"}\n{"a": 2}', [A2], [(f"{TOL}.control", {"a": "xy"})]),
    "raw line break": Odd("x.jsonl", '{"a": "x\ny"}\n{"a": 2}', [A2], [(f"{TOL}.control", {"a": "x\ny"})]),
    "raw zero": Odd("x.jsonl", '{"a": "x\x00y", "b": "some words more"}\n{"a": 2}', [A2],
                    [(f"{TOL}.control", {"a": "xy", "b": "some words more"})]),
    "backslash": Odd("x.jsonl", r'{"a": "C:\dir"}', [], [(f"{TOL}.bad_escape", {"a": "C:\\dir"})]),
    "half a character": Odd("x.json", r'[{"a": "\ud83d."}, {"a": 2}]', [A2], [(f"{FLT}.half", {"a": "\ufffd."})]),
    "half in a line": Odd("x.jsonl", '{"a": "\\ud83d."}\n{"a": 2}', [A2], [(f"{FLT}.half", {"a": "\ufffd."})]),
    "two halves": Odd("x.json", r'[{"a": "\ud83d\ude00"}]', [{"a": "😀"}]),
    "NaN": Odd("x.json", '[{"a": NaN}, {"a": 2}]', [A2], [(f"{TOL}.not_finite", {"a": None})]),
    "Infinity in a line": Odd("x.jsonl", '{"a": -Infinity}\n{"a": 2}', [A2], [(f"{TOL}.not_finite", {"a": None})]),
    "number too large": Odd("x.json", '[{"a": 1e999}, {"a": 2}]', [A2], [(f"{FLT}.not_finite", {"a": None})]),
    "number too large in a line": Odd("x.jsonl", '{"a": 1e999}\n{"a": 2}', [A2], [(f"{FLT}.not_finite", {"a": None})]),
    "no objects": Odd("x.json", '[5, "x", null, [1], {"a": 2}]', [A2], [(f"{FLT}.not_object", None)] * 4),
    "no object in a line": Odd("x.jsonl", '{"a": 1}\n[1]\nnull\n', [A1], [(f"{FLT}.not_object", None)] * 2),
    "row inside a text": Odd("x.jsonl", '{"a": 1}\n"{\\"a\\": 2}"\n', [A1], [(f"{FLT}.not_object", A2)]),
    "no JSON in a line": Odd("x.jsonl", '{"a": 1}\nhello\n{"a": 2}\n', [A1, A2], [(f"{FLT}.value", None)]),
    "code before the list": Odd("x.json", 'rows = [{"a": 1}, {"a": 2}]', [A1, A2], [(f"{FLT}.value", None)]),
    "code round an object": Odd("x.json", 'x = {"data": [{"a": 1}, {"a": 2}]};', [A1, A2], [(f"{FLT}.value", None)]),
    "brace too many": Odd("x.json", '[{"a": 1}}, {"a": 2}]', [A1, A2]),
    "damaged name of the list": Odd("x.json", '{"data: [{"a": 1}, {"a": 2}]}', [A1, A2]),
    "damaged list of messages": Odd("x.json", '{"m: [{"role": "user"}]}', [], [(f"{FLT}.colon", None)]),
    "two lists in a row": Odd("x.json", '[{"a": 1}]\n[{"a": 2}]', [A1, A2]),
    "comment behind": Odd("x.jsonl", '{"a": 1} // one\n{"a": 2}', [A2], [(f"{TOL}.comment", A1)]),
    "too deep": Odd("x.jsonl", '{"a": ' + "[" * 100_000 + '\n{"a": 2}', [A2], [(f"{FLT}.deep", None)]),
    "bad byte": Odd("x.jsonl", b'{"a": "\xe4\xbd\xa0"}\n{"a": "x\xffy"}\n{"a": 2}', [{"a": "你"}, A2],
                    [("encodings.bad_byte", {"a": "x\ufffdy"})]),
    "bad byte in a list": Odd("x.json", '[{"a": "你好吗"}, {"a": "'.encode() + b'\xff"}, {"a": 2}]', [{"a": "你好吗"}, A2],
                              [("encodings.bad_byte", {"a": "\ufffd"})]),
    "header alone": Odd("x.csv", "a,b\n", []),
    "empty table": Odd("x.csv", "", []),
    "semicolons": Odd("x.csv", 'a;b\n1,5;"x;y"\n', [{"a": "1,5", "b": "x;y"}]),
    "bars": Odd("x.csv", "a|b\n1|2,3,4\n", [{"a": "1", "b": "2,3,4"}]),
    "tabs": Odd("x.tsv", "a\tb\n1\t2,3\n", [{"a": "1", "b": "2,3"}]),
    "tabs named .csv": Odd("x.csv", "a\tb\n1\t2,3\n", [{"a": "1", "b": "2,3"}]),
    "spreadsheet says so": Odd("x.csv", "sep=;\r\na;b\r\n1;2\r\n", [{"a": "1", "b": "2"}]),
    "spaces after commas": Odd("x.csv", 'a, b\n"x", "y, z"\n', [{"a": "x", "b": "y, z"}]),
    "line break in a cell": Odd("x.csv", 'a,b\n"x\r\ny",""\n\n"say ""hi""",2\n', [{"a": "x\r\ny", "b": ""}, {"a": 'say "hi"', "b": "2"}]),
    "one column": Odd("x.csv", 'a\nx\n"y, z"\n', [{"a": "x"}, {"a": "y, z"}]),
    "empty cells at the end": Odd("x.csv", "a,b,,\n1,2,,\n,,,\n3,4,,\n", [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]),
    "column without a name": Odd("x.csv", ",a\n0,x\n", [{"column_1": "0", "a": "x"}]),
    "too few cells": Odd("x.csv", "a,b\n1\n2,3\n", [{"a": "2", "b": "3"}], [("too_few", {"a": "1", "b": ""})]),
    "too many cells": Odd("x.csv", "a,b\n1,2, and 3\n4,5\n", [{"a": "4", "b": "5"}], [("too_many", {"a": "1", "b": "2, and 3"})]),
    "quote in a cell": Odd("x.csv", 'a,b\n"so "hi" it",2\n3,4\n', [{"a": "3", "b": "4"}], [("csv.inner", {"a": 'so "hi" it', "b": "2"})]),
    "cell not closed": Odd("x.csv", 'a,b\n"x,1\n"y",2\n3,4\n', [{"a": "y", "b": "2"}, {"a": "3", "b": "4"}],
                           [("csv.unclosed", {"a": "x", "b": "1"})]),
    "quotes without a system": Odd("x.tsv", 'a\tb\n1\t"x" and y\n2\tz "q"\n', [{"a": "2", "b": 'z "q"'}],
                                   [("csv.inner", {"a": "1", "b": '"x" and y'})]),
    "space before quotes": Odd("x.csv", 'a,b\n"x", "y"\n', [{"a": "x", "b": "y"}]),
    "last cell not closed": Odd("x.csv", 'a,b\n1,2\n3,"x\n5,6\n', [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}],
                                [("csv.unclosed", {"a": "3", "b": "x"})]),
    "bad byte in a cell": Odd("x.csv", "a,b\n你,好\n".encode() + b"x,\xff\n", [{"a": "你", "b": "好"}],
                              [("encodings.bad_byte", {"a": "x", "b": "\ufffd"})]),
    "text": Odd("x.txt", " one\r\n\r\n\u2028two\n", [{"text": " one"}, {"text": "\u2028two"}]),
    "web page as text": Odd("x.md", "<html>\n", [{"text": "<html>"}]),
    "bad byte in text": Odd("x.txt", "你好\n".encode() + b"x\xff\n", [{"text": "你好"}], [("encodings.bad_byte", {"text": "x\ufffd"})]),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_gives_its_rows_and_says_the_rest(name: str, tmp_path: Path) -> None:
    odd = ODD[name]
    file = tmp_path / odd.name
    file.write_bytes(odd.content.encode() if isinstance(odd.content, str) else odd.content)
    found = read(file)
    assert [record.row for record in found if record.row is not None] == odd.rows
    faults = [record for record in found if record.row is None]
    assert [(said(record.fault), record.mend) for record in faults] == list(odd.faults)
    assert all(len(record.text) <= 2_000 for record in faults)
    assert not any(record.fault for record in found if record.row is not None)
    assert [record.number for record in found] == sorted(record.number for record in found)


def test_enough_odd_files_are_tried() -> None:
    assert len(ODD) >= 60 and sum(bool(odd.faults) for odd in ODD.values()) >= 35


REFUSED: Mapping[str, tuple[str, bytes, str]] = {
    "zip": ("x.json", b"PK\x03\x04" + b"\x00" * 50, "encodings.zip"),
    "gzip": ("x.jsonl", b"\x1f\x8b\x08\x00abc", "encodings.gzip"),
    "picture": ("x.csv", b"\x89PNG\r\n\x1a\n\x00", "encodings.image"),
    "PDF": ("x.txt", b"%PDF-1.7\n%\xe2\xe3", "encodings.pdf"),
    "program": ("x.json", b"MZ\x90\x00\x03", "encodings.program"),
    "Parquet as JSON": ("x.json", b"PAR1\x15\x04", "encodings.parquet"),
    "bytes": ("x.csv", bytes(range(256)) * 8, "encodings.binary"),
    "pointer": ("x.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "encodings.is_pointer"),
    "web page": ("x.json", b"\n<!DOCTYPE html><html>", "encodings.is_page"),
    "name twice": ("x.csv", b"a,b,a\n1,2,3\n", "tables.twice"),
    "no workbook": ("x.xlsx", b"a,b\n1,2\n", "tables.sheets.unreadable"),
    "cut workbook": ("x.xlsx", b"PK\x03\x04 and no more", "tables.sheets.unreadable"),
    "no Parquet": ("x.parquet", b'[{"a": 1}] and so on', "tables.arrow.unreadable"),
    "no Arrow": ("x.arrow", b'[{"a": 1}] and so on', "tables.arrow.unreadable"),
    "packed": ("x.jsonl.gz", b"", "tables.packed"),
    "other ending": ("x.docx", b"", "tables.suffix"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_named(name: str, tmp_path: Path) -> None:
    file_name, content, key = REFUSED[name]
    file = tmp_path / file_name
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(file)
    (problem,) = caught.value.problems
    found = problem.message.args.get("found")
    assert (found.key if isinstance(found, Message) else problem.message.key) == key
    assert problem.key is None


def test_faults_name_line_and_column_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('[\n  {"a": 1},\n  {"a": 1, "b": tru}\n]')
    (fault,) = [record.fault for record in read(file) if record.fault]
    assert (fault.args["line"], fault.args["column"]) == (3, 17)
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"a": 1}\n\n  {"a": 1, "b": tru}\n')
    (fault,) = [record.fault for record in read(lines) if record.fault]
    assert (fault.args["line"], fault.args["column"]) == (3, 17)


def test_a_place_in_a_long_file_is_right_after_much_was_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    row = json.dumps({"a": "x" * 1_000})
    for between in ("\n", " "):
        rows = [row] * 2_500
        rows[2_000], rows[-1] = '{"a": 1,}', '{"a": 2,}'
        file.write_text("[" + f",{between}".join(rows) + "]")
        found = read(file)
        broken, last = [record for record in found if record.fault]
        assert last.text == rows[-1] and last.mend == {"a": 2}
        assert len(found) == 2_500 and broken.number == 2_001 and broken.fault
        before = len("[" + f",{between}".join(rows[:2_000]) + f",{between}")
        column = 9 if between == "\n" else before + 9
        assert (broken.fault.args["line"], broken.fault.args["column"]) == (2_001 if between == "\n" else 1, column)


ROWS: Rows = [
    {"q": "你好，世界！今天我们的天气是不错的。", "a": "Grüße, \"quoted\" and\ttabbed", "c": " 'x'; | "},
    {"q": "line\nbreak, 这是在这里的一行文字", "a": "{\"json\": [1]}", "c": "z" * 70_000},
    {"q": "0012", "a": "true", "c": "的我人有不了"},
]  # fmt: skip


TEXTS: Mapping[str, Callable[[Rows], str]] = {
    "list.json": lambda rows: json.dumps(rows, ensure_ascii=False),
    "pretty.json": lambda rows: json.dumps({"data": rows}, ensure_ascii=False, indent=4),
    "escaped.json": json.dumps,
    "rows.jsonl": lambda rows: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows),
    "rows.csv": lambda rows: as_cells(rows, ","),
    "rows.tsv": lambda rows: as_cells(rows, "\t"),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", TEXTS)
def test_rows_are_the_same_whatever_text_holds_them(name: str, encoding: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(TEXTS[name](ROWS).encode(encoding))
    assert [record.row for record in read(file)] == ROWS
    guessed = encoding in ("utf-16-le", "utf-16-be", "gb18030") and name != "escaped.json"
    guessed = guessed or (name == "escaped.json" and encoding in ("utf-16-le", "utf-16-be"))
    assert bool(table_for(file).notes(file)) == guessed


def test_rows_are_the_same_in_binary_files(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    table = pa.Table.from_pylist(ROWS)
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    pyarrow.feather.write_feather(table, str(tmp_path / "x.feather"))
    with pa.ipc.new_file(tmp_path / "file.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    cells = [[cell[:30_000] for cell in row.values()] for row in ROWS]
    write_xlsx(tmp_path / "x.xlsx", {"S": [list(ROWS[0]), *cells]})
    for file in sorted(tmp_path.iterdir()):
        rows = [{name: text[:30_000] for name, text in row.items()} for row in ROWS] if file.suffix == ".xlsx" else ROWS
        assert [record.row for record in read(file)] == rows, file.name
        assert table_for(file).notes(file) == []


def test_binary_columns_become_what_json_knows(tmp_path: Path) -> None:
    import datetime
    import decimal

    import pyarrow as pa
    import pyarrow.parquet

    row = {"f": float("nan"), "t": datetime.datetime(2026, 1, 2, 3, 4), "d": decimal.Decimal("1.50"), "b": b"x",
           "i": {"bytes": b"\xff\xd8", "path": None},
           "n": None, "m": [{"role": "user", "content": "你"}], "k": 2**60, "y": True}  # fmt: skip
    file = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist([row]), file)
    (record,) = read(file)
    assert record.row == {
        "f": None, "t": "2026-01-02T03:04:00", "d": 1.5, "b": "x", "i": {"bytes": "<2 bytes>", "path": None}, "n": None,
        "m": [{"role": "user", "content": "你"}], "k": 2**60, "y": True,
    }  # fmt: skip
    json.dumps(record.row, allow_nan=False)


def test_bytes_that_are_no_text_are_no_row(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    file = tmp_path / "x.parquet"
    rows: list[dict[str, Any]] = [{"a": "Q", "b": [b"yes"]}, {"a": "Q", "b": [b"\xc4\xe3\xff"]}, {"a": "Q", "b": None}]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), file)
    first, broken, last = read(file)
    assert (first.row, last.row) == ({"a": "Q", "b": ["yes"]}, {"a": "Q", "b": None})
    assert (broken.number, broken.row, said(broken.fault)) == (2, None, "arrow.binary")
    assert "row 2: 'b' holds 3 bytes that are no text" in str(broken.fault)


def test_a_binary_file_that_breaks_off_keeps_the_rows_before(tmp_path: Path) -> None:
    import pyarrow as pa

    file = tmp_path / "x.arrow"
    table = pa.Table.from_pylist([{"a": f"{n}" * 50} for n in range(4_000)])
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1_000)
    file.write_bytes(file.read_bytes()[:-100_000])
    found = read(file)
    assert 1_000 <= sum(record.row is not None for record in found) < 4_000
    assert said(found[-1].fault) == "arrow.breaks_off"


def test_the_first_sheet_with_rows_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.xlsx"
    rows = [[], ["q", "a", None, "n"], ["x", 1, None, True], [None], ["y", 1.5, None, None, None, "beyond"]]
    write_xlsx(file, {"empty": [], "Q": rows, "more": [["x"]]})
    one, two = read(file)
    assert (one.number, one.row) == (3, {"q": "x", "a": 1, "column_3": None, "n": True})
    assert two.number == 5 and two.row is None and said(two.fault) == "beyond"
    assert two.mend == {"q": "y", "a": 1.5, "column_3": None, "n": None}
    assert [note.key for note in table_for(file).notes(file)] == ["tables.sheets.others", "tables.unnamed"]


def test_a_workbook_without_rows_has_none(tmp_path: Path) -> None:
    file = tmp_path / "x.xlsx"
    write_xlsx(file, {"S": []})
    assert read(file) == [] and table_for(file).notes(file) == []
    write_xlsx(file, {"S": [["q", "a"]]})
    assert read(file) == []


def test_other_workbooks_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.xls").write_bytes(OLD_WORKBOOK)
    assert [record.row for record in read(tmp_path / "x.xls")] == [{"q": "你好", "a": 1}]
    write_ods(tmp_path / "x.ods", [["q", "a"], ["你好", "1"]])
    assert [record.row for record in read(tmp_path / "x.ods")] == [{"q": "你好", "a": "1"}]
    write_xlsx(tmp_path / "x.csv", {"S": [["q"]]})
    with pytest.raises(UserError, match=r"Excel workbook.*\.xlsx"):
        read(tmp_path / "x.csv")


SIMPLE: Rows = [
    {"q": f'say {n}, "hi" {{x}}', "a": f"line\nof {n}" if n % 3 == 0 else f"x{n}", "n": f"{n}"} for n in range(12)
]
TALKS: Rows = [{"q": row["q"], "m": [{"role": "user", "content": "it's [ok]"}], "n": row["n"]} for row in SIMPLE]
STYLES: Mapping[str, tuple[str, Rows, str]] = {
    "pretty": ("x.json", TALKS, json.dumps(TALKS, indent=2)),
    "compact": ("x.json", TALKS, json.dumps(TALKS)),
    "row a line": ("x.json", TALKS, "[\n" + ",\n".join(map(json.dumps, TALKS)) + "\n]"),
    "wrapped": ("x.json", TALKS, json.dumps({"data": TALKS}, indent=1)),
    "lines": ("x.jsonl", TALKS, "\n".join(map(json.dumps, TALKS)) + "\n"),
    "cells": ("x.csv", SIMPLE, as_cells(SIMPLE, ",")),
}


@pytest.mark.parametrize("style", STYLES)
def test_one_wrong_character_costs_one_row(style: str, tmp_path: Path) -> None:
    """Any character of the rows taken away, put in or changed: every other row is read as it was, and none is made up."""
    name, rows, text = STYLES[style]
    file, lot = tmp_path / name, random.Random(5)
    before, whole = text.index("say") - 2, [json.dumps(row) for row in rows]
    for _ in range(60):
        at, new = lot.randrange(before, len(text) - 1), lot.choice("\"{}[],\nx\\'")
        damaged = text[:at] + lot.choice(["", new, new + text[at]]) + text[at + 1 :]
        file.write_bytes(damaged.encode())
        found = [json.dumps(record.row) for record in read(file) if record.row is not None]
        assert sum(row not in found for row in whole) <= 1, damaged[max(0, at - 40) : at + 40]
        assert len(found) <= len(rows), damaged[max(0, at - 40) : at + 40]


def test_a_long_row_is_a_row(tmp_path: Path) -> None:
    row = {"q": "长" * 200_000, "a": "x" * 1_500_000}
    for name in ("list.json", "rows.jsonl", "rows.csv"):
        (tmp_path / name).write_text(TEXTS[name]([row, row]), "utf-8", newline="")
        assert [record.row for record in read(tmp_path / name)] == [row, row]


def test_a_quote_left_open_does_not_swallow_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text('a,b\n"x,1\n' + "".join(f"{n},2\n" for n in range(3_000)))
    found = read(file)
    assert sum(record.row is not None for record in found) == 3_000 and len(found) == 3_001


@pytest.mark.parametrize("count", [1_001, 40_000])
def test_a_quoted_cell_of_many_lines_is_one_cell(count: int, tmp_path: Path) -> None:
    file, cell = tmp_path / "x.csv", "".join(f"{n},2\n" for n in range(count))
    file.write_text(f'a,b\n1,2\n"{cell}",3\n4,5\n')
    assert [record.row for record in read(file)] == [{"a": "1", "b": "2"}, {"a": cell, "b": "3"}, {"a": "4", "b": "5"}]


@pytest.mark.parametrize("end", ['7,2\n"",""\n8",9\n4,5\n', ""])
def test_no_line_of_an_endless_cell_is_a_row(end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "CELL_CHARS", 1_000)
    file = tmp_path / "x.csv"
    file.write_text('a,b\n1,2\n"x,1\n' + "".join(f"{n},2\n" for n in range(3_000)) + end)
    first, endless, *others = read(file)
    assert (first.row, endless.row, said(endless.fault), endless.text) == ({"a": "1", "b": "2"}, None, "csv.endless", '"x,1')
    assert f"lines 3 to {3_006 if end else 3_003}: " in str(endless.fault)
    assert [record.row for record in others] == ([{"a": "4", "b": "5"}] if end else [])


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_a_name_that_stands_twice_is_told_wherever_it_stands(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    fine = {"a": [{"a": 1}, {"a": 2}], "b": '"a":"a":', "c\\": {"c\\": '\\":'}}
    rows = [
        '{"a": 1, "b": 2, "a": 3}',
        '{"m": [{"role": "user"}, {"x": {"role" : "a", "role" : "b"}}], "n": 1}',
        '{"m":{"a":1,"\\u0061":2}}',
        json.dumps(fine),
        "{" + '"a": {' * 600 + '"b": 1, "b": 2' + "}" * 601,
    ]
    file.write_text("\n".join(rows) if name.endswith("l") else f"[{', '.join(rows)}]")
    found = read(file)
    assert [(one.row, one.fault and str(one.fault).split(" ")[0]) for one in found[:4]] == [
        ({"a": 3, "b": 2}, "'a'"),
        ({"m": [{"role": "user"}, {"x": {"role": "b"}}], "n": 1}, "'m[2].x.role'"),
        ({"m": {"a": 2}}, "'m.a'"),
        (fine, None),
    ]
    assert (said(found[0].fault), len(found)) == ("json.doubles.twice", 5)
    assert type(found[1].row["m"][1]["x"]) is dict


@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_whole_numbers_keep_every_digit(name: str, tmp_path: Path) -> None:
    numbers = [2**64, -(2**63) - 1, 10**40 + 7, 2**63, 1_234_567_890_123_456_789]
    rows = [{"a": number, "b": "12345678901234567890é"} for number in numbers]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    for encoding in ("utf-8", "utf-16"):
        file = tmp_path / name
        file.write_text(text if name.endswith("l") else f"[{text.replace(chr(10), ',')}]", encoding)
        assert [record.row for record in read(file)] == rows
    file.write_text('{"a": ' + "7" * 5_000 + '}\n{"a": 1}\n', "utf-8")
    assert read(file)[-1].row == {"a": 1}


def test_every_kind_of_file_is_known() -> None:
    assert set(suffixes()) == {
        ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".xlsx", ".xls", ".ods", ".parquet", ".arrow", ".feather", ".txt", ".md",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["list.json", "rows.jsonl", "rows.csv"])
def test_a_file_is_never_in_memory_as_a_whole(name: str, tmp_path: Path) -> None:
    file, rows = tmp_path / name, [{"a": "x" * 10_000}] * 2_000
    file.write_text(TEXTS[name](rows))
    tracemalloc.start()
    num_rows = sum(record.row is not None for record in table_for(file).records(file))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert num_rows == 2_000 and file.stat().st_size > 20_000_000 and peak_bytes < 10_000_000
