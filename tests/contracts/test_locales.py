"""Words: English is generated from the code, every other language lies over it, and Chinese is always complete."""

import ast
import re
from functools import cache
from typing import Any

import pytest
import yaml

from tests.contracts.tree import ROOT, sources, syntax
from workbench import generate
from workbench.text import FAST, placeholders

FOLDER = ROOT / "locales"
COMPLETE = ("zh",)
OTHERS = sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "en")
CJK = re.compile(r"[\u4e00-\u9fff]")
TECHNICAL = {"LoRA", "alpha", "dropout", "Top", "p", "Transformers", "Workbench", "Python", "spec", "yaml", "ok", "s", "GB", "MB",
             "API", "v1", "fp16", "bf16", "LoHa", "LoKr", "OFT", "IA3", "VeRA", "DoRA", "PiSSA", "KTO", "P", "tuning", "Beta",
             "Epsilon", "1", "2", "llama", "cpp", "vLLM", "SGLang", "LM", "Studio", "GGUF", "Ollama"}  # fmt: skip
"""Words that Chinese keeps as they are; a Chinese sentence of other Latin words alone was forgotten."""
LEAST_WORDS = 500


@pytest.fixture(scope="module")
def english() -> dict[str, str]:
    return generate.words()


@cache
def table(name: str) -> dict[str, Any]:
    path = FOLDER / f"{name}.yaml"
    return yaml.load(path.read_text("utf-8"), FAST) or {} if path.is_file() else {}


def test_english_is_up_to_date(english: dict[str, str]) -> None:
    written = (FOLDER / "en.yaml").read_text("utf-8")
    assert written == generate.locale_page(), "run: python -m workbench.generate"
    assert len(english) >= LEAST_WORDS


def test_every_text_of_the_source_has_a_key() -> None:
    written = sum(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Text"
        for name in sources()
        for node in ast.walk(syntax(name))
    )
    found = [text for module in generate.modules() for text in generate.texts(module)]
    assert all(text.key for text in found)
    assert len({text.key for text in found}) == len(found), "two classes of a module hold a Text of the same name"
    assert len(found) == written, "a Text outside a class has no key: let a class Say of its module hold it"


SCRIPTS = ROOT / "workbench/ui/static"
KEYS = ROOT / "workbench/tutorials/keys.yaml"
"""A table that names reasons by their Text."""


def test_every_text_is_said_somewhere() -> None:
    """As Say.name in its own module, by another module that names it, or by a script that is handed all of Say."""
    programs = {name: path.read_text("utf-8") for name, path in sources().items()}
    named = {name: set(re.findall(r"\.(\w+)", text)) for name, text in programs.items()}
    whole = {name: set(re.findall(r"\w+", text)) for name, text in programs.items()}
    scripts = set(re.findall(r"\w+", "".join(path.read_text("utf-8") for path in SCRIPTS.glob("*.js"))))
    named_in_tables = {"workbench.tutorials": set(re.findall(r"\w+", KEYS.read_text("utf-8")))}
    dead = []
    for module in generate.modules():
        own, stem = module.__name__, module.__name__.rpartition(".")[2]
        others = [name for name in programs if name != own and stem in whole[name]]
        said = set(re.findall(r"Say\.(\w+)", programs[own])).union(*(named[name] for name in others))
        if "Say.__dict__" in programs[own]:
            said |= scripts
        said |= named_in_tables.get(own.rpartition(".")[0], set())
        dead += [text.key for text in generate.texts(module) if text.key.rpartition(".")[2] not in said]
    assert dead == []


def test_english_can_be_filled_in(english: dict[str, str]) -> None:
    for key, words in english.items():
        assert words.strip(), key
        words.format(**dict.fromkeys(placeholders(words), "x"))


@pytest.mark.parametrize("name", OTHERS)
def test_a_language_has_known_keys_and_the_same_placeholders(name: str, english: dict[str, str]) -> None:
    said = table(name)
    assert sorted(set(said) - set(english)) == [], "keys that are no longer said"
    assert said and all(isinstance(words, str) and words.strip() for words in said.values())
    other = {key: words for key, words in said.items() if placeholders(words) != placeholders(english[key])}
    assert other == {}, "other placeholders than in English"


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_language_lacks_nothing(name: str, english: dict[str, str]) -> None:
    missing = sorted(set(english) - set(table(name)))
    assert not missing, f"{len(missing)} keys are missing from locales/{name}.yaml"


def test_no_chinese_sentence_was_left_in_english() -> None:
    forgotten = {
        key: words
        for key, words in table("zh").items()
        if not CJK.search(words) and set(re.findall(r"[A-Za-z]\w*", re.sub(r"\{\w+\}", "", words))) - TECHNICAL
    }
    assert forgotten == {}
