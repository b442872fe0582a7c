"""The catalogue of models: names are unique, ids look like ids, every entry says what it must."""

import re
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parent.parent / "workbench" / "catalogue.yaml"
FAMILIES: dict[str, list[dict[str, Any]]] = {
    family["family"]: family["models"] for family in yaml.safe_load(FILE.read_text("utf-8"))
}
MODELS = [model for models in FAMILIES.values() for model in models]
ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def test_it_is_large_enough_and_every_family_has_models() -> None:
    assert len(MODELS) >= 80
    assert len(FAMILIES) >= 12
    assert all(FAMILIES.values())


def test_names_and_ids_are_unique() -> None:
    for key in ("name", "hf", "ms"):
        values = [model[key] for model in MODELS]
        assert sorted(set(values)) == sorted(values), key


def test_every_entry_says_what_it_must_and_nothing_else() -> None:
    for model in MODELS:
        assert set(model) >= {"name", "hf", "ms", "template", "base"}, model
        assert set(model) <= {"name", "hf", "ms", "template", "base", "gated", "remote_code"}, model
        assert re.fullmatch(r"[A-Za-z0-9][\w.-]*", model["name"]), model
        assert ID.fullmatch(model["hf"]), model
        assert ID.fullmatch(model["ms"]), model
        assert all(model[key] in (True, False) for key in ("base", "gated", "remote_code") if key in model), model


def test_the_same_repository_is_meant_on_both_hubs() -> None:
    """The last parts of both ids agree but for letter case and a 'Meta-' that only one hub writes."""
    for model in MODELS:
        last = [model[key].split("/")[1].lower().removeprefix("meta-") for key in ("hf", "ms")]
        assert last[0] == last[1], model


def test_a_chat_model_is_not_called_base() -> None:
    for model in MODELS:
        said = re.search(r"(instruct|-chat|-it$|thinking)", model["hf"], re.IGNORECASE)
        assert not (said and model["base"]), model


def test_families_behind_a_licence_or_with_their_own_code_are_marked() -> None:
    for family, models in FAMILIES.items():
        for model in models:
            assert bool(model.get("gated")) == (family.split()[0] in ("Llama", "Gemma", "Mistral")), model
    marked = {family for family, models in FAMILIES.items() if all(model.get("remote_code") for model in models)}
    assert marked == {"Baichuan2", "ChatGLM3", "InternLM2", "InternLM2.5"}
