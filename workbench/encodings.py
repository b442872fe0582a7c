"""Which characters the bytes of a text file stand for, judged by its first bytes. Knows nothing of rows.

A byte that stands for none becomes a mark, one character that no text can hold, so that a reader can say which
row is damaged and go on.
"""

import codecs
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from workbench.problems import UserError
from workbench.text import Message, Text

HEAD_BYTES = 65_536
LOOK_AHEAD_BYTES = 67_108_864
"""How far to look for the first byte beyond ASCII before the file is taken for UTF-8."""
MARKED = "workbench-marked"
MARK = re.compile("[\ud800-\udfff]")
PLAUSIBLE = 0.7
DAMAGED = 0.1
BINARY = 0.05


class Say:
    is_other = Text("file '{file}' is not text: it is {found}. Accepted: text, best in UTF-8. {cure}")
    is_pointer = Text(
        "file '{file}' is a Git LFS pointer, not the data. Accepted: the data. Fetch it with git lfs pull."
    )
    is_page = Text("file '{file}' is a web page, not data. Accepted: the data. Download the file itself (raw).")
    unpack = Text("Unpack it and name the file inside.")
    rename = Text("Name it {suffix}.")
    export = Text("Save its rows as a .jsonl or .csv file.")
    damaged_copy = Text("Copy or save it again.")
    zip = Text("a zip archive")
    excel = Text("an Excel workbook")
    document = Text("a Word or PowerPoint document")
    office = Text("an old Office file")
    gzip = Text("a gzip archive")
    archive = Text("a packed archive")
    image = Text("a picture")
    pdf = Text("a PDF document")
    program = Text("a program")
    parquet = Text("a Parquet file")
    arrow = Text("an Arrow file")
    database = Text("an SQLite database")
    weights = Text("a file of model weights")
    binary = Text("binary data")
    read_as = Text("The file is read as {label}, as its bytes suggest. If characters look wrong, save it as UTF-8.")
    bad_byte = Text(
        "line {line}: byte {byte} stands for no character in {label}. Accepted: whole characters. Mend the text."
    )


MAGIC: Mapping[bytes, tuple[Text, Message]] = {
    b"\x1f\x8b": (Say.gzip, Say.unpack()),
    b"BZh": (Say.archive, Say.unpack()),
    b"\xfd7zXZ\x00": (Say.archive, Say.unpack()),
    b"7z\xbc\xaf\x27\x1c": (Say.archive, Say.unpack()),
    b"Rar!\x1a\x07": (Say.archive, Say.unpack()),
    b"\x28\xb5\x2f\xfd": (Say.archive, Say.unpack()),
    b"\x89PNG\r\n": (Say.image, Say.export()),
    b"\xff\xd8\xff": (Say.image, Say.export()),
    b"GIF8": (Say.image, Say.export()),
    b"%PDF-": (Say.pdf, Say.export()),
    b"\x7fELF": (Say.program, Say.export()),
    b"MZ\x90\x00": (Say.program, Say.export()),
    b"PAR1": (Say.parquet, Say.rename(suffix=".parquet")),
    b"ARROW1": (Say.arrow, Say.rename(suffix=".arrow")),
    b"SQLite format 3": (Say.database, Say.export()),
    b"\xd0\xcf\x11\xe0\xa1\xb1": (Say.office, Say.rename(suffix=".xls")),
    b"GGUF": (Say.weights, Say.export()),
    b"\x80\x02ctorch": (Say.weights, Say.export()),
}
"""What files begin with that are no text."""

LABELS: Mapping[str, str] = {
    "utf-8": "UTF-8",
    "utf-16-le": "UTF-16 LE",
    "utf-16-be": "UTF-16 BE",
    "utf-32-le": "UTF-32 LE",
    "utf-32-be": "UTF-32 BE",
    "gb18030": "GB18030 (GBK)",
    "big5hkscs": "Big5",
    "cp932": "Shift-JIS",
    "cp1252": "Windows-1252",
}
BOMS: Mapping[bytes, str] = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""UTF-32 stands before UTF-16, whose mark its own begins with."""

COMMON: Mapping[str, tuple[str, str, frozenset[int]]] = {
    "gb18030": ("gb2312", "的一是不了在有我人这，。：", frozenset({0xA1, 0xA3, *range(0xB0, 0xD8)})),
    "big5hkscs": ("big5", "的一是不了在有我人這，。：", frozenset({0xA1, 0xA2, *range(0xA4, 0xC7)})),
    "cp932": ("shift_jis", "のにはをたがでて、。", frozenset({0x81, 0x82, 0x83, *range(0x88, 0x98)})),
}
"""For each encoding of a CJK language: its core, most frequent characters, first bytes of the common ones in the core."""
LATIN = frozenset("€‚„…‘’“”•–—™ £©«®°±²³´µ·»¼½¾¿¡ÀÁÂÄÇÈÉÊËÍÎÑÓÔÖÚÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüœŒ§")
"""What is common beyond ASCII in the west of Europe."""


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Each byte that can't be decoded as a lone surrogate, which holds the byte."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(MARKED, _mark)


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a file are to be read."""

    name: str
    """For open()."""
    label: str
    """For people."""
    certain: bool
    """False where it was judged by plausibility."""
    bom: bool = False
    """Whether the file opens with a byte order mark, which belongs to no row."""

    @property
    def bom_bytes(self) -> int:
        """Length of the byte order mark."""
        return next(len(mark) for mark, name in BOMS.items() if name == self.name) if self.bom else 0

    def notes(self) -> list[Message]:
        """What a person should know of it: nothing where it is plain UTF-8 or says itself what it is."""
        return [] if self.certain or self.name == "utf-8" else [Say.read_as(label=self.label)]


def sniff(file: Path, markup: bool = False) -> Encoding:
    """The encoding of a text file; UserError when it is no text, or a web page where no ``markup`` is expected."""
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
        refuse_other(file, head, markup)
        for mark, name in BOMS.items():
            if head.startswith(mark):
                return _known(name, bom=True)
        if b"\x00" in head:
            return _with_zeros(file, head)
        if head.isascii():
            head = _first_foreign(opened)
    return _without_zeros(head)


def refuse_other(file: Path, head: bytes, markup: bool = False) -> None:
    """UserError that says what the file is, when its first bytes say that it is no text of rows."""
    for magic, (found, cure) in MAGIC.items():
        if head.startswith(magic):
            raise UserError(Say.is_other(file=file.name, found=found(), cure=cure))
    if head.startswith(b"PK\x03\x04"):
        found, cure = _zipped(file)
        raise UserError(Say.is_other(file=file.name, found=found(), cure=cure))
    start = head[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        raise UserError(Say.is_pointer(file=file.name))
    if not markup and start.startswith((b"<!doctype html", b"<html")):
        raise UserError(Say.is_page(file=file.name))


def open_text(file: Path, encoding: Encoding) -> TextIO:
    """The characters of the file, line ends as they stand; a byte that stands for none is a mark."""
    opened = file.open(encoding=encoding.name, errors=MARKED, newline="")
    if encoding.bom:
        opened.read(1)
    return opened


def open_bytes(file: Path, encoding: Encoding) -> BinaryIO:
    """The bytes of the file after its byte order mark."""
    opened = file.open("rb")
    opened.seek(encoding.bom_bytes)
    return opened


def is_marked(text: str) -> bool:
    """Whether the text holds a mark or half a character."""
    return not text.isascii() and MARK.search(text) is not None


def unmarked(text: str) -> str:
    """The text with the sign of replacement for every run of marks."""
    return re.sub("[\ud800-\udfff]+", "\ufffd", text)


def bad_byte(text: str, line: int, encoding: Encoding) -> Message:
    """What is said of a text with a mark that begins on ``line``."""
    found = MARK.search(text)
    assert found is not None
    at = line + len(re.findall(r"\r\n|\r|\n", text[: found.start()]))
    return Say.bad_byte(line=at, byte=f"0x{ord(found[0]) & 0xFF:02X}", label=encoding.label)


def _known(name: str, certain: bool = True, bom: bool = False) -> Encoding:
    return Encoding(name, LABELS[name], certain, bom)


def _zipped(file: Path) -> tuple[Text, Message]:
    """What a zip archive is: several kinds of documents are one."""
    try:
        with zipfile.ZipFile(file) as archive:
            folders = {name.partition("/")[0] for name in archive.namelist()}
    except zipfile.BadZipFile:
        return Say.zip, Say.damaged_copy()
    if "xl" in folders:
        return Say.excel, Say.rename(suffix=".xlsx")
    return (Say.document, Say.export()) if folders & {"word", "ppt"} else (Say.zip, Say.unpack())


def _first_foreign(opened: BinaryIO) -> bytes:
    """The first stretch with a byte beyond ASCII, as far as one looks; nothing when all is ASCII."""
    for _ in range(0, LOOK_AHEAD_BYTES, 1 << 20):
        block = opened.read(1 << 20)
        if not block:
            break
        if not block.isascii():
            at = next(found.start() for found in re.finditer(rb"[\x80-\xff]", block))
            rest = block[at : at + HEAD_BYTES]
            return rest if len(rest) == HEAD_BYTES else rest + opened.read(HEAD_BYTES - len(rest))
    return b""


def _decoded(head: bytes, name: str) -> str:
    """The head as text with marks; a character that its end cuts in two is left out."""
    return codecs.getincrementaldecoder(name)(MARKED).decode(head, final=False)


def _with_zeros(file: Path, head: bytes) -> Encoding:
    """Text with a stray zero, UTF-16 or UTF-32 that don't say so, or no text at all."""
    text = _decoded(head, "utf-8")
    odd = sum(times for char, times in Counter(text).items() if char < " " and char not in "\t\r\n\f\x1b")
    if odd <= BINARY * len(text) and not MARK.search(text):
        return _known("utf-8")
    best, share = "", 0.9
    for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        text = _decoded(head, name)
        likely = sum(times for char, times in Counter(text).items() if _is_likely(char))
        from_ascii = sum("\0" < char < "\x7f" for char in text) if name.startswith("utf-16") else len(text)
        if likely > share * max(1, len(text)) and from_ascii >= head.count(0) / 2:
            best, share = name, likely / len(text)
    if not best:
        raise UserError(Say.is_other(file=file.name, found=Say.binary(), cure=Say.export()))
    return _known(best, certain=False)


def _is_likely(char: str) -> bool:
    """Whether text is likely to hold the character: ASCII, Latin, Cyrillic, CJK and its punctuation."""
    return " " <= char <= "~" or char in "\t\r\n" or "\xa0" <= char <= "\u04ff" or (
        "\u2000" <= char <= "\u206f" or "\u3000" <= char <= "\u30ff" or "\u4e00" <= char <= "\u9fff"
        or "\uff00" <= char <= "\uffef" or "\uac00" <= char <= "\ud7a3"
    )  # fmt: skip


def _without_zeros(head: bytes) -> Encoding:
    """UTF-8 where that fits, else what is most plausible; UTF-8 with damage when nothing is."""
    text = _decoded(head, "utf-8")
    marks = len(MARK.findall(text))
    if not marks:
        return _known("utf-8")
    if marks <= DAMAGED * sum(1 for char in text if char > "\x7f"):
        return _known("utf-8")
    scores = {name: _plausibility(head, name) for name in COMMON}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] >= PLAUSIBLE:
        return _known(best, certain=False)
    west = [char for char in _decoded(head, "cp1252") if char > "\x7f"]
    if sum(char in LATIN for char in west) >= 0.9 * len(west):
        return _known("cp1252", certain=False)
    return _known(best if scores[best] > PLAUSIBLE / 2 else "utf-8", certain=False)


def _plausibility(head: bytes, name: str) -> float:
    """How much the head looks like a text of that CJK language: about 0 to 1, more with its most frequent characters."""
    core, frequent, firsts = COMMON[name]
    chars = Counter(char for char in _decoded(head, name) if char > "\x7f")
    common = 0
    for char, times in chars.items():
        try:
            code = char.encode(core)
        except UnicodeEncodeError:
            continue
        common += times * (len(code) == 2 and code[0] in firsts)
    total = max(1, chars.total())
    return common / total + sum(chars[char] for char in frequent) / total
