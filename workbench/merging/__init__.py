"""A base and its adapters become one model, tensor by tensor. Knows no exporter, no run and no page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from workbench import quantising
from workbench.exporters import Source, Trained
from workbench.merging.adapters import CONFIG, KEY, Adapter, changes_of, read_adapter, unknown_modules
from workbench.merging.adapters import Say as AdapterSay
from workbench.merging.changes import Change, Rounded, RowsReplaced
from workbench.merging.history import History, history
from workbench.merging.names import Names, Outline
from workbench.merging.parts import FLOATS, Part
from workbench.merging.shards import divided, write_shards
from workbench.merging.stored import Stored, folder_tensors
from workbench.problems import UserError
from workbench.text import Message, Text

Dtype = Literal["auto", "fp32", "bf16", "fp16"]
Onto = Literal["original", "dequantised"]
KINDS: Mapping[str, str] = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}
MODEL_KEY = "model_name_or_path"


class Say:
    gguf = Text("'{name}' is a GGUF file, whose weights are not merged. Accepted: a model's folder. Choose the model it was made from.")
    bad_config = Text("'{name}' is damaged: its config.json is no JSON object. Get that file anew.")
    few_bits = Text(
        "The weights of '{name}' are quantised by {way}, and nothing can be laid into them. Accepted: weights of 16 or 32 bits. "
        "Choose the original model."
    )
    whole_alone = Text(
        "'{name}' is a whole model, and {given} are chosen. Accepted: a whole model alone, with weight 1. Choose it alone."
    )
    onto_original = Text(
        "The adapters learned over a base held in {bits}, and are laid into its original weights: answers may differ a little "
        "from those over {bits}."
    )
    onto_dequantised = Text("The adapters are laid into the base's weights as they learned over them: held in {bits}, and brought back.")
    nothing_dequantised = Text("No adapter learned over few bits, so there is nothing to dequantise: the original weights are used.")
    differing_bits = Text(
        "The adapters learned over bases held in different ways. Accepted: adapters that learned over the same, or the original "
        "weights. Choose 'original' under 'Merge onto'."
    )
    lacks_earlier = Text(
        "Adapter '{name}' learned over a base into which '{before}' had been merged, and that is not among the adapters here: "
        "answers are not those of its run. Choose both, '{before}' first, and export them merged."
    )
    in_memory = Text("Adapter '{name}' ({kind}) is merged with the whole model in memory, about {size}; other kinds need less.")
    unequal_head = Text("Embeddings and last layer are one by the base's config and differ in weights: both are written.")


@dataclass
class Plan:
    """What is merged into what, as far as the heads of the files tell: nothing is computed yet."""

    folder: Path
    """Where the weights come from: the base's folder, or a whole model's."""
    config: Mapping[str, Any]
    """The config.json there."""
    parts: list[Part]
    adapters: Sequence[tuple[Adapter, Trained]] = ()
    in_memory: bool = False
    """PEFT merges, since there is an adapter whose formula this package does not know."""
    ends: tuple[Part, Part] | None = None
    """Embeddings and last layer, which config.json calls one, where they may have parted."""
    notes: list[Message] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The number type of most weights, as safetensors names it."""
        sizes = dict[str, int]()
        for part in self.parts:
            sizes[part.kind] = sizes.get(part.kind, 0) + part.outline.num_bytes
        return max(sizes, key=lambda kind: sizes[kind])

    @property
    def exact(self) -> bool:
        """Whether hardly anything is rounded: what is new is in float32 or float16, the rest is as it was."""
        if self.in_memory:
            return self.kind in ("F32", "F16")
        return all(part.kind in ("F32", "F16") or (not part.steps and part.kind == part.base.kind) for part in self._all)

    @property
    def num_bytes(self) -> int:
        """What the files of weights will take at most."""
        return sum(part.outline.num_bytes for part in self._all)

    @property
    def _all(self) -> list[Part]:
        """Whatever may be written."""
        return list({part.name: part for part in (*self.parts, *(self.ends or ()))}.values())

    def parted(self) -> Part | None:
        """The last layer where it comes out as another than the embeddings, though config.json calls both one."""
        if self.ends is None:
            return None
        embedding, head = self.ends
        return None if head.same_as(embedding) else head

    def write(self, folder: Path, most_bytes: int, source: Source) -> bool:
        """Write the weights; whether embeddings and last layer, one by config.json, are two now."""
        if self.in_memory:
            from workbench.merging.in_memory import write_in_memory

            parted = write_in_memory(self, folder, most_bytes, source)
            if parted:
                source.opening.note(Say.unequal_head())
            return parted
        parts = {part.name: part for part in self.parts}
        if head := self.parted():
            parts[head.name] = head
            source.opening.note(Say.unequal_head())
        shards = divided([part.outline for part in parts.values()], most_bytes)
        written = _Written(source, sum(part.outline.num_bytes for part in parts.values()))
        write_shards(folder, shards, lambda name: parts[name].numbers(), written.add)
        return head is not None


@dataclass
class _Written:
    """Tells how far it is, which is also where it hears of a stop."""

    source: Source
    total: int
    done: int = 0
    told: int = 0

    def add(self, count: int) -> None:
        self.done += count
        if self.done == self.total or self.done - self.told >= self.total // 200:
            self.told = self.done
            self.source.opening.progress(self.done, self.total)


def plan(source: Source, dtype: Dtype, onto: Onto = "original") -> Plan:
    """What is to be done; UserError by name for what can't be merged, before any work."""
    whole = [one for one in source.trained if not (one.folder / CONFIG).is_file()]
    if whole and (len(source.trained) > 1 or whole[0].weight != 1):
        said = Say.whole_alone(name=whole[0].folder.name, given=len(source.trained))
        raise UserError(said, key=KEY)
    folder = whole[0].folder if whole else source.opening.folder()
    if folder.is_file():
        raise UserError(Say.gguf(name=folder.name), key=MODEL_KEY)
    config = _config(folder)
    base = folder_tensors(folder, KEY if whole else MODEL_KEY)
    adapters = [] if whole else [(read_adapter(one.folder), one) for one in source.trained]
    made = Plan(folder, config, [], adapters)
    names = _names(config, base)
    outline = Outline(folder, source.opening.trust_remote_code)
    changes = _changes(made, base, names, outline, _roundings(made, onto, names, outline))
    made.parts = [Part(name, stored, _kind(stored, dtype), changes.get(name, ())) for name, stored in base.items()]
    made.ends = _ends(made.parts, names, changes, config)
    return made


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UserError(Say.bad_config(name=folder.name), key=MODEL_KEY)
    if way := quantising.way_of(config):
        raise UserError(Say.few_bits(name=folder.name, way=way), key=MODEL_KEY)
    if any(str(one).endswith("ForSequenceClassification") for one in config.get("architectures") or []):
        raise UserError(AdapterSay.scores(name=folder.name), key=KEY)
    return config


def _called_one(config: Mapping[str, Any]) -> bool | None:
    """Whether embeddings and last layer are one by config.json; None: it does not say."""
    told = config.get("tie_word_embeddings", (config.get("text_config") or {}).get("tie_word_embeddings"))
    return None if told is None else bool(told)


def _names(config: Mapping[str, Any], base: dict[str, Stored]) -> Names:
    """What the base's tensors are called. A last layer that is one with the embeddings, and lies in the files a second time,
    is taken out: the base is loaded as one then, and trained so."""
    names, one = Names(list(base), False), _called_one(config)
    if one is False or names.embedding is None:
        return names
    if one and names.head in base and _alike(base[names.head], base[names.embedding]):
        del base[names.head]
    return Names(list(base), names.head not in base)


def _alike(one: Stored, other: Stored) -> bool:
    return Part(one.name, one, one.kind).same_as(Part(other.name, other, other.kind))


def _kind(stored: Stored, dtype: Dtype) -> str:
    return stored.kind if dtype == "auto" or stored.kind not in FLOATS else KINDS[dtype]


Steps = dict[str, list[tuple[Change, float]]]


def _changes(made: Plan, base: Mapping[str, Stored], names: Names, outline: Outline, steps: Steps) -> Steps:
    """What becomes of each tensor, adapter by adapter; nothing where PEFT does it."""
    for adapter, trained in made.adapters:
        unknown = unknown_modules(adapter, names)
        strangers = [one for one in unknown if not _is_known(one, adapter.by_formula, outline)]
        if strangers:
            said = AdapterSay.no_module(name=adapter.name, module=strangers[0], count=len(strangers))
            raise UserError(said, key=KEY)
        if unknown or not adapter.by_formula:
            made.in_memory = True
            size = 4 * sum(one.num_bytes // FLOATS.get(one.kind, 1) for one in base.values())
            made.notes.append(Say.in_memory(name=adapter.name, kind=adapter.kind, size=f"{size / 1e9:.1f} GB"))
        else:
            for name, change in changes_of(adapter, base, names):
                steps.setdefault(name, []).append((change, trained.weight))
    return {} if made.in_memory else steps


def _is_known(name: str, is_module: bool, outline: Outline) -> bool:
    """Whether the model has such a module, though its files call the tensors otherwise."""
    module = name if is_module else name.removesuffix(".weight").rpartition(".")[0]
    return module in outline.modules


def _roundings(made: Plan, onto: Onto, names: Names, outline: Outline) -> Steps:
    """The base as it was held while the adapters learned, where it is wanted so."""
    told = [history(trained.folder) for _, trained in made.adapters]
    held = {(one.bits, one.precision) for one in told}
    bits = [one.bits for one in told if one.bits]
    if onto == "original" or not bits:
        if bits:
            made.notes.append(Say.onto_original(bits=bits[0].name))
        elif onto == "dequantised":
            made.notes.append(Say.nothing_dequantised())
        return {}
    if len(held) > 1:
        raise UserError(Say.differing_bits(), key="export_onto")
    if missing := quantising.no_quantiser():
        raise UserError(missing, key="export_onto")
    made.notes.append(Say.onto_dequantised(bits=bits[0].name))
    return _rounded(told[0], names, outline)


def _rounded(told: History, names: Names, outline: Outline) -> Steps:
    assert told.bits
    found: Steps = {}
    for module, turned in outline.quantised().items():
        if name := names.weight_of(module):
            found[name] = [(Rounded(told.bits, KINDS.get(told.precision.removeprefix("pure_")), turned), 1.0)]
    return found


def _ends(parts: Sequence[Part], names: Names, changes: Steps, config: Mapping[str, Any]) -> tuple[Part, Part] | None:
    """Embeddings and last layer of a model whose config.json calls them one, where they may have parted: they lie in the files
    as two, or one of them was trained. Rows of tokens count for both."""
    found = {part.name: part for part in parts}
    if names.embedding is None:
        return None
    embedding = found[names.embedding]
    if not names.tied:
        return (embedding, found[names.head]) if _called_one(config) and names.head in found else None
    own = changes.pop(names.head, [])
    both = [step for step in embedding.steps if isinstance(step[0], RowsReplaced)]
    if not own and len(both) == len(embedding.steps):
        return None
    return embedding, Part(names.head, embedding.base, embedding.kind, [*both, *own])


def lacking(trained: Sequence[Trained]) -> Iterator[Message]:
    """A word for each adapter that learned over more than is here."""
    here: list[str] = []
    for one in trained:
        for before in history(one.folder).before:
            name = before.replace("\\", "/").rstrip("/").rpartition("/")[2]
            if name not in here:
                yield Say.lacks_earlier(name=one.folder.name, before=name)
        here += [one.folder.name, one.folder.parent.name]
