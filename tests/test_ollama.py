"""Modelfiles as Ollama reads them, and a model created in an Ollama: a stand-in that checks what it is sent."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fake_ollama import opened
from workbench.ollama.client import CHUNK, OLDEST, Ollama
from workbench.ollama.gotemplate import literal
from workbench.ollama.modelfile import About, carries, modelfile, parameters_of
from workbench.ollama.names import check_name
from workbench.ports import free_port
from workbench.problems import UserError

ABOUT = About(template="{{ .System }}|{{ range .Messages }}{{ .Content }}{{ end }}", stop=["<|im_end|>", "\nUser:"], system="S")


def commands(text: str) -> list[tuple[str, str]]:
    """A Modelfile as Ollama's parser reads it: a value ends with its line, unless quotes are open; unprintable characters go."""
    found, at = [], 0
    while at < len(text):
        if text[at] == "\n":
            at += 1
            continue
        name, _, rest = text[at:].partition(" ")
        if name == "PARAMETER":
            key, _, rest = rest.partition(" ")
            name = f"{name} {key}"
        for end in [place.start() for place in re.finditer("\n", rest)]:
            if (value := unquoted(rest[:end].strip())) is not None:
                break
        assert value is not None
        found.append((name, "".join(one for one in value if one.isprintable() or one in "\n\t")))
        at = len(text) - len(rest) + end
    return found


def unquoted(text: str) -> str | None:
    """The text between its quotes, None where they are still open."""
    for quotes in ('"""', '"'):
        if text.startswith(quotes):
            closed = len(text) >= 2 * len(quotes) and text.endswith(quotes)
            return text[len(quotes) : -len(quotes)] if closed else None
    return text


def test_a_modelfile_says_everything_and_is_read_back() -> None:
    about = About(
        template='{{ if .System }}a "quoted" word\n{{ .System }}{{ end }}\n ',
        stop=["<|im_end|>", "\nUser:", 'a "b"'],
        system='You are "Ada".\n\n# No comment\nFROM here 你好 🙂\tend.',
        parameters={"temperature": 0.7, "top_k": 20},
        licences=["Apache License\n\n   1. Words", "mit"],
    )
    text = modelfile("./my model.gguf", about, "./x.lora.gguf")
    assert commands(text) == [
        ("FROM", "./my model.gguf"),
        ("ADAPTER", "./x.lora.gguf"),
        ("TEMPLATE", about.template),
        *(("PARAMETER stop", word) for word in about.stop),
        ("PARAMETER temperature", "0.7"),
        ("PARAMETER top_k", "20"),
        ("SYSTEM", about.system),
        *(("LICENSE", licence) for licence in about.licences),
    ]


def test_what_a_modelfile_loses_is_written_otherwise() -> None:
    for text in ('say """\nit', '"so"', "wide\u3000space", "two\u200djoined", "line\r\nend"):
        assert not carries(text)
        template = f"x{literal(text)}x"
        assert commands(modelfile(".", About(template)))[1] == ("TEMPLATE", template)
    assert carries("你是一个助手。\n\t- 🙂 “quoted” \"so\" here")
    with pytest.raises(UserError, match="can't be named"):
        modelfile("a\nb.gguf", ABOUT)


def test_what_is_drawn_as_the_model_says() -> None:
    config = {"temperature": 0.6, "top_k": 20, "do_sample": True, "repetition_penalty": 1.05, "eos_token_id": 2, "top_p": None}
    assert parameters_of(config) == {"temperature": 0.6, "top_k": 20, "repeat_penalty": 1.05}
    assert parameters_of({"temperature": True}) == {"repeat_penalty": 1.0}


@pytest.mark.parametrize("name", ["m", "my-model:q8_0", "me/my.model", "host.example:5000/me/model:v1.2", "_x", "a" * 80])
def test_names_that_ollama_takes(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", "my model", "-m", "模型", "m:", "a/b/c/d", "a.b/c", "m:x/y", "a" * 81, "m\n", "../m"])
def test_names_that_it_refuses(name: str) -> None:
    with pytest.raises(UserError, match="no name for a model of Ollama") as caught:
        check_name(name)
    assert caught.value.problems[0].key == "ollama_name"


def laid(folder: Path, **files: bytes) -> dict[str, Path]:
    paths = {f"{name}.gguf": folder / f"{name}.gguf" for name in files}
    for name, content in files.items():
        (folder / f"{name}.gguf").write_bytes(content)
    return paths


def test_a_model_is_created_and_answers_by_its_template(tmp_path: Path) -> None:
    files = laid(tmp_path, base=b"x" * (CHUNK + 7))
    adapters = laid(tmp_path, adapter=b"y" * 10)
    told: list[tuple[int, int]] = []
    with opened() as shop:
        ollama = Ollama(shop.url)
        assert ollama.version() == "0.14.2"
        ollama.create("me/m:q8", files, adapters, ABOUT, lambda done, total: told.append((done, total)))
        sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in [*files.values(), *adapters.values()]]
        assert list(shop.blobs) == [f"sha256:{one}" for one in sums]
        made = shop.models["me/m:q8"]
        assert made["parameters"] == {"stop": ["<|im_end|>", "\nUser:"]} and made["system"] == "S"
        assert list(made["files"]) == ["base.gguf"] and list(made["adapters"]) == ["adapter.gguf"]
        assert ollama.ask("me/m:q8", [{"role": "user", "content": "Hi"}]) == "S|SHi"
        assert shop.chats[0]["options"]["temperature"] == 0
        assert shop.asked.count(("POST", "/api/create")) == 1
    total = 2 * (CHUNK + 17)
    assert told[-1] == (total, total) and [done for done, _ in told] == sorted(done for done, _ in told) and len(told) >= 6


def test_a_file_that_it_has_is_not_sent_again(tmp_path: Path) -> None:
    files, told = laid(tmp_path, base=b"x" * 1000), list[tuple[int, int]]()
    with opened() as shop:
        for _ in range(2):
            Ollama(shop.url).create("m", files, {}, ABOUT, lambda done, total: told.append((done, total)))
        assert [path.split("/")[2] for method, path in shop.asked if method == "POST"] == ["blobs", "create", "create"]
    assert told[-1] == (2000, 2000)


class Stop(Exception):
    pass


def test_it_ends_where_somebody_asks_to_stop(tmp_path: Path) -> None:
    files = laid(tmp_path, base=b"x" * (3 * CHUNK))

    def told(done: int, total: int) -> None:
        if done > total / 2:
            raise Stop

    with opened() as shop:
        with pytest.raises(Stop):
            Ollama(shop.url).create("m", files, {}, ABOUT, told)
        assert not shop.models


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("full", ["no room left on its disk", "base.gguf", "Delete something"]),
        ("convert", ["unsupported architecture"]),
        ("cut", ["broke off", "try again"]),
    ],
)
def test_what_goes_wrong_there_is_said_in_words(tmp_path: Path, fault: str, words: Sequence[str]) -> None:
    with opened(fault=fault) as shop, pytest.raises(UserError) as caught:
        Ollama(shop.url).create("m", laid(tmp_path, base=b"x"), {}, ABOUT, lambda done, total: None)
    assert all(word in str(caught.value) for word in words)
    assert not shop.models


def test_a_template_that_it_can_not_read_is_told(tmp_path: Path) -> None:
    with opened() as shop, pytest.raises(UserError, match="template error"):
        Ollama(shop.url).create("m", laid(tmp_path, base=b"x"), {}, About("{{ if }}"), lambda done, total: None)


@pytest.mark.parametrize(("given", "good"), [("0.5.4", False), ("0.5.5", True), ("0.14.0-rc1", True), ("1.0", True), ("0.0.0", True)])
def test_its_version_is_looked_at(given: str, good: bool) -> None:
    with opened(version=given) as shop:
        if good:
            assert Ollama(shop.url).version() == given
        else:
            with pytest.raises(UserError, match=rf"has version {given}. Accepted: {'.'.join(map(str, OLDEST))}"):
                Ollama(shop.url).version()


def test_no_ollama_another_server_and_no_address() -> None:
    with pytest.raises(UserError, match="No Ollama answers at .* Start Ollama") as caught:
        Ollama(f"127.0.0.1:{free_port('127.0.0.1', 11435)[0]}").version()
    assert caught.value.problems[0].key == "ollama_url"
    with opened(version="x") as shop, pytest.raises(UserError, match="is not Ollama"):
        Ollama(f"{shop.url}/v1").version()
    for bad in ("", "ftp://x", "http://", "http://127.0.0.1:99999"):
        with pytest.raises(UserError, match="no address of Ollama"):
            Ollama(bad)
