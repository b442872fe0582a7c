"""One entry of a JSON object put in, renamed or taken out of its text, and that every other byte stays."""

import random

import pytest

from workbench.data.datasets import COMMENT
from workbench.data.json_entries import Entries


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{}", '{\n  "n": {\n    "x": 1\n  }\n}'),
        ("{ // none yet\n}\n", '{ // none yet\n  "n": {\n    "x": 1\n  }\n}\n'),
        ('{"a": 1}', '{"a": 1, "n": {"x": 1}}'),
        ('{"a": 1 /* one */ }', '{"a": 1, /* one */ "n": {"x": 1}}'),
        ('{"a": 1 // one\n}', '{"a": 1, // one\n  "n": {"x": 1}\n}'),
        ('\ufeff{\r\n\t"a": 1\r\n}\r\n', '\ufeff{\r\n\t"a": 1,\r\n\t"n": {\r\n\t\t"x": 1\r\n\t}\r\n}\r\n'),
        (
            '{\n "a": "// no, {comment}",\n "b": {}\n }',
            '{\n "a": "// no, {comment}",\n "b": {},\n "n": {\n  "x": 1\n }\n }',
        ),
        ('{\n"a": 1\n}', '{\n"a": 1,\n"n": {\n  "x": 1\n}\n}'),
    ],
)
def test_an_entry_is_written_as_its_neighbours(before: str, after: str) -> None:
    written = Entries(before).put("n", {"x": 1})
    assert written == after
    assert Entries(written).data == {**Entries(before).data, "n": {"x": 1}}
    assert Entries(Entries(written).drop("n")).data == Entries(before).data


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        ('{"a": 1, "b": 2, "c": 3}', "a", '{"b": 2, "c": 3}'),
        ('{"a": 1, "b": 2, "c": 3}', "b", '{"a": 1, "c": 3}'),
        ('{"a": 1, "b": 2, "c": 3}', "c", '{"a": 1, "b": 2 }'),
        ('{\n  "a": 1,\n  "b": 2\n}\n', "a", '{\n  "b": 2\n}\n'),
        ('{\n  "a": 1,\n  "b": 2\n}\n', "b", '{\n  "a": 1\n}\n'),
        ('{\n  "a": 1, // one\n  "b": 2 // two\n}', "b", '{\n  "a": 1 // one\n   // two\n}'),
        ('{\n  "a": 1, // one\n  "b": 2}', "b", '{\n  "a": 1 // one\n  }'),
        ('{"a": 1}', "a", "{}"),
        ('{"a": 1 /* x */ , /* y */ "b": 2}', "a", '{/* x */  /* y */ "b": 2}'),
    ],
)
def test_an_entry_is_taken_out(before: str, name: str, after: str) -> None:
    written = Entries(before).drop(name)
    assert written == after
    assert Entries(written).data == {key: value for key, value in Entries(before).data.items() if key != name}


def test_comments_survive_every_change() -> None:
    """Texts with comments wherever JSON takes white space; those within an entry that is taken out go with it."""
    dice = random.Random(3)
    spaces = ["", " ", "\n", "\r\n", '// c " { , }\n', '/* x\n, " } */']
    values = ['"a // b"', '"/* no */"', '{"a": {"b": "q,}"}}', '{"a": /* in */ 1}', "[1]", "null", "{}"]

    def comments(words: str) -> list[str]:
        return [part.rstrip() for part in COMMENT.findall(words) if part[0] != '"']

    for _ in range(300):
        space = iter(lambda: "".join(dice.choices(spaces, k=2)), None)
        listed = [f'{next(space)}"k{n}"{next(space)}:{next(space)}{dice.choice(values)}{next(space)}' for n in range(3)]
        info = Entries(f"{next(space)}{{{','.join(listed)}}}{next(space)}")
        name = f"k{dice.randrange(3)}"
        for changed in (info.put(name, {"y": {"z": 1}}), info.put("new", {"y": 1}), info.rename(name, "new")):
            assert sorted(comments(changed)) == sorted(comments(info.text))
        gone = next(member for member in info.members if member.name == name)
        left = comments(info.text[: gone.at]) + comments(info.text[gone.end :])
        assert comments(info.drop(name)) == left


def test_halves_of_characters_can_be_written() -> None:
    written = Entries("{}").put("n", {"x": "\ud800 好"})
    assert "\\ud800 好" in written
    assert written.encode()


def test_the_comments_of_a_changed_entry_move_to_its_head() -> None:
    before = '{\r\n  "a": {\r\n    "x": 1, // one\r\n    "y": 2 /* two */\r\n  }\r\n}'
    after = '{\r\n  "a": {\r\n    // one\r\n    /* two */\r\n    "x": 3\r\n  }\r\n}'
    assert Entries(before).put("a", {"x": 3}) == after
