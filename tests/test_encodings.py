"""Which encoding a file is taken for, and what becomes of bytes that stand for nothing."""

from pathlib import Path

import pytest

from workbench.encodings import bad_byte, is_marked, open_bytes, open_text, sniff, unmarked
from workbench.problems import UserError

SIMPLIFIED = "今天的天气很好，我们去公园里散步。他问我这是不是一个好主意，我说是的。"
TRADITIONAL = "今天的天氣很好，我們去公園裡散步。他問我這是不是一個好主意，我說是的。"
JAPANESE = "今日は天気がいいので、公園を散歩しました。これはとても良い考えだと思います。"
FRENCH = "Le café est fermé, mais le thé « glacé » coûte déjà 3 €."
GERMAN = "Schöne Grüße aus Köln: für Übergrößen zahlen wir nichts."
ENGLISH = "The weather is fine today.\n"

CASES = [
    (ENGLISH, "ascii", "utf-8", True),
    (SIMPLIFIED, "utf-8", "utf-8", True),
    (SIMPLIFIED, "utf-8-sig", "utf-8", True),
    (SIMPLIFIED, "utf-16", "utf-16-le", True),
    (SIMPLIFIED, "utf-32", "utf-32-le", True),
    (ENGLISH + SIMPLIFIED, "utf-16-le", "utf-16-le", False),
    (ENGLISH + SIMPLIFIED, "utf-16-be", "utf-16-be", False),
    (SIMPLIFIED, "gbk", "gb18030", False),
    (ENGLISH * 5 + SIMPLIFIED, "gbk", "gb18030", False),
    ('{"问题": "你好吗", "答案": "我很好"}', "gbk", "gb18030", False),
    ("问题,答案\r\n", "gbk", "gb18030", False),
    (SIMPLIFIED + "㐀😀", "gb18030", "gb18030", False),
    (TRADITIONAL, "big5", "big5hkscs", False),
    ('{"問題": "你好嗎", "答案": "我很好"}', "big5", "big5hkscs", False),
    (JAPANESE, "cp932", "cp932", False),
    ('{"質問": "お元気ですか", "答え": "はい、元気です"}', "shift_jis", "cp932", False),
    (FRENCH, "cp1252", "cp1252", False),
    (GERMAN, "cp1252", "cp1252", False),
    (GERMAN, "utf-8", "utf-8", True),
    (JAPANESE, "utf-8", "utf-8", True),
]


@pytest.mark.parametrize(("text", "written", "name", "certain"), CASES)
def test_an_encoding_is_recognised(text: str, written: str, name: str, certain: bool, tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    for content in (text, text.replace("\n", "\r\n"), text * 3):
        file.write_bytes(content.encode(written))
        found = sniff(file)
        assert (found.name, found.certain) == (name, certain)
        with open_text(file, found) as opened:
            assert opened.read() == content
        with open_bytes(file, found) as raw:
            assert raw.read().decode(found.name) == content
        assert [note.args["label"] for note in found.notes()] == ([] if certain else [found.label])


@pytest.mark.parametrize("encoding", ["gbk", "big5", "utf-8"])
def test_the_first_foreign_byte_may_come_late(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    text = ENGLISH * 100_000 + (TRADITIONAL if encoding == "big5" else SIMPLIFIED) + "\n" + ENGLISH
    file.write_bytes(text.encode(encoding))
    with open_text(file, sniff(file)) as opened:
        assert opened.read() == text


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_character_cut_by_the_end_of_the_look_is_whole(cut: int, tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"x" * cut + ("好" * 30_000).encode())
    assert sniff(file).certain


def test_damage_is_no_other_encoding(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    for damaged in (SIMPLIFIED.encode() + b"\xff\n" + ENGLISH.encode(), ENGLISH.encode() + b"\xff", b"\xff\xfa\xfb"):
        file.write_bytes(damaged)
        found = sniff(file)
        assert found.name == "utf-8" and not found.notes()
        with open_text(file, found) as opened:
            text = opened.read()
        assert is_marked(text) and not is_marked(unmarked(text)) and "\ufffd" in unmarked(text)
    file.write_bytes((SIMPLIFIED * 20).encode("gbk") + b"\xff" + (SIMPLIFIED * 20).encode("gbk"))
    assert sniff(file).name == "gb18030"


def test_a_bad_byte_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes("一\r\n二\r\n".encode() + b"three \x9d.")
    encoding = sniff(file)
    with open_text(file, encoding) as opened:
        said = bad_byte(opened.read(), 5, encoding)
    assert said.args == {"line": 7, "byte": "0x9D", "label": "UTF-8"}
    file.write_bytes(b"\xff\xfea\x00\n\x00\x00\xd8b\x00c")
    with open_text(file, sniff(file)) as opened:
        text = opened.read()
    assert unmarked(text) == "a\n\ufffdb\ufffd"


def test_a_stray_zero_makes_no_binary_file(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(ENGLISH.encode() + b"\x00" + ENGLISH.encode())
    assert sniff(file).name == "utf-8"
    file.write_bytes(b"\x00\x01\x02\x03" * 20)
    with pytest.raises(UserError, match="binary data"):
        sniff(file)


def test_an_empty_file_is_utf8(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_bytes(b"")
    assert sniff(file).certain and not sniff(file).bom


@pytest.mark.parametrize(
    ("folder", "words"), [("xl", "Excel"), ("word", "Word"), ("data", "zip archive"), ("", "zip archive")]
)
def test_a_zip_archive_is_told_by_its_folders(folder: str, words: str, tmp_path: Path) -> None:
    import zipfile

    file = tmp_path / "x.json"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{folder}/a.txt".lstrip("/"), "a")
    with pytest.raises(UserError, match=words):
        sniff(file)
