"""The model card, README.md: what the export was made from and with, its licence, its scores, its proof, how to load it.

Everything that a person wrote is escaped: a card is read as YAML and as Markdown by hubs. Knows no run and no engine.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench.exporting.origins import Base, Origin
from workbench.exporting.proof import Proof, remarks, verdict
from workbench.fields import plain
from workbench.models import model_name
from workbench.reporting import LIGHTS, TITLES
from workbench.reporting.card import longest_run, parts_of
from workbench.text import Locale, Text

CARD = "README.md"
SETTINGS = (
    "stage", "finetuning_type", "lora_rank", "lora_alpha", "lora_target", "quantization_bit", "learning_rate",
    "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "cutoff_len", "template",
    "pref_beta", "pref_loss", "precision", "seed",
)  # fmt: skip
"""Those that somebody who trains it again must know."""
LIBRARY: Mapping[str, str] = {"adapter": "peft", "gguf": "gguf"}


class Say:
    made = Text("{what} of {base}, made with the workbench's export ({format}).")
    tuned = Text("A fine-tuned version")
    copy = Text("A copy")
    adapter_of = Text("A fine-tuned adapter")
    data = Text("Data")
    learned_from = Text("Trained on {sets}: {rows} rows.")
    learned_from_some = Text("Trained on {sets}.")
    settings = Text("Settings")
    setting = Text("Setting")
    value = Text("Value")
    scores = Text("Report")
    proof = Text("Proof")
    unproved = Text("Whether it answers as the model did in training has not been tried yet.")
    use = Text("Use")
    licence = Text("Licence")
    licence_named = Text("That of the base model: {licence}. Its text lies beside this file where the base brought one.")
    licence_unknown = Text("The base model names none. Ask its makers before you pass the files on.")
    no_run = Text("How it was trained is not known here.")
    weight = Text("Weights of the adapters: {weights}.")
    by_folder = Text("FOLDER stands for the folder of this file.")


@dataclass(frozen=True)
class Facts:
    """What a card tells."""

    name: str
    export_format: str
    base: Base
    origins: Sequence[Origin] = ()
    weights: Sequence[float] = ()
    """Of the adapters; empty: each fully."""
    trained: bool = True
    """Whether anything was trained, or the base alone is exported."""
    files: Sequence[str] = ()
    """The names of the export's files."""


def card(facts: Facts, proof: Proof | None, locale: Locale) -> str:
    """The whole file."""
    front = yaml.safe_dump(front_values(facts), allow_unicode=True, sort_keys=False)
    return f"---\n{front}---\n\n" + "\n".join(_lines(facts, proof, locale)) + "\n"


def front_values(facts: Facts) -> dict[str, Any]:
    """What hubs read."""
    values: dict[str, Any] = {}
    if facts.base.id:
        values["base_model"] = facts.base.id
    values |= facts.base.licence
    if facts.base.languages:
        values["language"] = list(facts.base.languages)
    values["library_name"] = LIBRARY.get(facts.export_format, "transformers")
    values["pipeline_tag"] = "text-generation"
    kinds = [str(one.spec.tuning.finetuning_type) for one in facts.origins]
    stages = [str(one.spec.stage.stage) for one in facts.origins]
    values["tags"] = list(dict.fromkeys([*kinds, *stages, *([facts.export_format] if facts.export_format == "gguf" else [])]))
    return values


def escaped(text: str) -> str:
    """A text in one line that Markdown shows as it stands."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]#|~$" else sign for sign in line)


def _lines(facts: Facts, proof: Proof | None, locale: Locale) -> Iterator[str]:
    yield f"# {escaped(facts.name)}"
    yield ""
    what = Say.copy if not facts.trained else Say.adapter_of if facts.export_format == "adapter" else Say.tuned
    base = escaped(facts.base.id or model_name(facts.base.given))
    yield locale(Say.made(what=what(), base=base, format=facts.export_format))
    if facts.trained:
        yield from _training(facts, locale)
    yield from _scores(facts, locale)
    yield from _section(locale(Say.proof()))
    if proof is None:
        yield locale(Say.unproved())
    else:
        yield escaped(locale(verdict(proof, facts.name)))
        yield from ("\n" + escaped(locale(one)) for one in remarks(proof))
    yield from _section(locale(Say.use()))
    yield locale(Say.by_folder())
    for kind, code in _code(facts):
        yield from ("", *_fenced(kind, code))
    yield from _section(locale(Say.licence()))
    named = str(facts.base.licence.get("license_name") or facts.base.licence.get("license") or "")
    yield locale(Say.licence_named(licence=escaped(named)) if named else Say.licence_unknown())


def _section(title: str) -> Iterator[str]:
    yield from ("", f"## {title}", "")


def _training(facts: Facts, locale: Locale) -> Iterator[str]:
    yield from _section(locale(Say.data()))
    if not facts.origins:
        yield locale(Say.no_run())
    for one in facts.origins:
        sets = ", ".join(escaped(name) for name in one.spec.data.dataset)
        yield locale(Say.learned_from(sets=sets, rows=one.rows) if one.rows else Say.learned_from_some(sets=sets))
    for one in facts.origins:
        yield from _section(locale(Say.settings()))
        yield f"| {locale(Say.setting())} | {locale(Say.value())} |"
        yield "| --- | --- |"
        flat = one.spec.flat()
        for key in SETTINGS:
            if flat.get(key) not in (None, "", [], {}):
                yield f"| {escaped(key)} | {escaped(plain(flat[key]))} |"
    if facts.weights:
        yield ""
        yield locale(Say.weight(weights=escaped(", ".join(f"{weight:g}" for weight in facts.weights))))


def _scores(facts: Facts, locale: Locale) -> Iterator[str]:
    """The report card's lights and sentences."""
    for one in facts.origins:
        if one.report is not None:
            yield from _section(locale(Say.scores()))
            for part in parts_of(one.report):
                said = f"{locale(LIGHTS[part.light]())}. {escaped(locale(part.verdict))}"
                yield f"- **{locale(TITLES[part.name]())}**: {said}"


def _code(facts: Facts) -> Iterator[tuple[str, str]]:
    """How to load it, as code; no word of it is a person's but names of files, which are quoted."""
    whole = [name for name in facts.files if name.endswith(".gguf") and not name.endswith(".lora.gguf")]
    loras = [name for name in facts.files if name.endswith(".lora.gguf")]
    if whole:
        yield "sh", f"llama-server -m {_quoted(whole[0])}"
    elif loras:
        yield "sh", f"llama-server -m BASE.gguf --lora {_quoted(loras[0])}"
    elif facts.export_format == "adapter":
        base = json.dumps(facts.base.id or "BASE", ensure_ascii=False)
        yield "python", (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f"tokenizer = AutoTokenizer.from_pretrained(\"FOLDER\")\n"
            f"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base}), \"FOLDER\")"
        )
    else:
        yield "python", (
            "from transformers import pipeline\n\n"
            'chat = pipeline("text-generation", model="FOLDER")\n'
            'print(chat([{"role": "user", "content": "..."}])[0]["generated_text"][-1]["content"])'
        )


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)


def _fenced(kind: str, code: str) -> Iterator[str]:
    fence = "`" * max(3, longest_run(code) + 1)
    yield from (f"{fence}{kind}", code, fence)


def facts_files(folder: Path) -> list[str]:
    """The files of an export, by their paths inside it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
