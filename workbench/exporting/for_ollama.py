"""An export told to Ollama: its Modelfile, and the model created in a running one. Knows no exporter by name."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.chats import ChatOptions, template_facts, with_system
from workbench.chats.answers import Writing, compiled, without_marks
from workbench.chats.encoding import chat_options
from workbench.evaluating.records import write_whole
from workbench.exporters import Made, Source
from workbench.exporting.origins import base_of
from workbench.ollama import Messages, Write
from workbench.ollama.client import Ollama, Told
from workbench.ollama.gotemplate import template_of
from workbench.ollama.modelfile import About, carries, modelfile, parameters_of
from workbench.ollama.names import check_name
from workbench.ollama.probing import Unexplained, take_apart
from workbench.problems import UserError
from workbench.specs import ExportSpec
from workbench.text import Message, Text, verbatim
from workbench.wording import command_line

FILE = "Modelfile"
CONFIGS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip
QUESTION = "Who are you?"
OURS = "ollama.json"
"""In the run's folder: the name, and the Ollama where the run found it free. What has it there on a resume is the run's own."""


class Say:
    none = Text("No Modelfile was written: {reason}")
    not_taken = Text(
        "Ollama doesn't take this export, so nothing was created in it. Accepted: a merged model, or GGUF. Export it so."
    )
    taken = Text(
        "Ollama at {url} has a model '{name}' already. Accepted: a new name. Name another, or tick 'Overwrite the folder', which "
        "replaces that model too."
    )
    added = Text(
        "Ollama will put '{mark}' before every text, since the tokenizer does; the chat template, as it was trained, does not."
    )
    created = Text("Ollama {version} has the model '{name}' now. Start it with: {run}.")
    answered = Text("Ollama was asked: {question} It answered: {answer}")


def check_ollama(spec: ExportSpec, run: Path) -> None:
    """UserError, before any work, where a model is to be created and the name or the Ollama is not as it must be.

    ``run``: the folder of the run that asks; what it has created itself stands in no way when it goes on.
    """
    name = spec.exporting.ollama_name.strip()
    if not name:
        return
    check_name(name)
    ollama = Ollama(spec.exporting.ollama_url)
    ollama.version()
    wanted = {"name": name, "url": ollama.url}
    if spec.exporting.overwrite_export_dir or _read(run / OURS) == wanted:
        return
    if ollama.has(name):
        raise UserError(Say.taken(url=ollama.url, name=name), key="ollama_name")
    write_whole(run / OURS, json.dumps(wanted) + "\n")


def write_modelfile(part: Path, spec: ExportSpec, source: Source, made: Made, home: Path) -> list[Message]:
    """Write it into ``part``, which will be ``home``, where Ollama takes such an export; what a person should know of it."""
    inside = _inside(part, source, made, home)
    if inside is None:
        return []
    try:
        about, notes = _about(spec, source, part)
    except Unexplained as error:
        return [Say.none(reason=error.problems[0].message)]
    (part / FILE).write_bytes(modelfile(inside.base, about, inside.adapter).encode())
    return notes


def create(folder: Path, spec: ExportSpec, source: Source, made: Made, note: Callable[[Message], None], told: Told) -> None:
    """Create the model in the Ollama that the spec names, if it names a model, and ask it one question."""
    name = spec.exporting.ollama_name.strip()
    if not name:
        return
    inside = _inside(folder, source, made, folder)
    if inside is None:
        note(Say.not_taken())
        return
    about, _ = _about(spec, source, folder)
    ollama = Ollama(spec.exporting.ollama_url)
    version = ollama.version()
    ollama.create(name, inside.files, inside.adapters, about, told)
    note(Say.created(version=version, name=name, run=command_line(["ollama", "run", name])))
    question = next((one.strip() for one in spec.exporting.proof_prompts if one.strip()), QUESTION)
    answer = ollama.ask(name, [{"role": "user", "content": question}])
    note(Say.answered(question=verbatim(question), answer=verbatim(answer)))


@dataclass(frozen=True)
class Inside:
    """Of an export what Ollama reads: paths for the Modelfile, and the files behind them."""

    base: str
    files: Mapping[str, Path]
    adapter: str = ""
    adapters: Mapping[str, Path] = field(default_factory=dict)


def _inside(folder: Path, source: Source, made: Made, home: Path) -> Inside | None:
    """None for an export of which Ollama can't make a model."""
    if made.adapter is not None:
        if made.adapter.suffix != ".gguf":
            return None
        base = source.opening.folder()
        files = {base.name: base} if base.is_file() else _model_files(base)
        return Inside(_way(base, home), files, f"./{made.adapter.as_posix()}", {made.adapter.name: folder / made.adapter})
    if made.model is not None and made.model.suffix == ".gguf":
        return Inside(f"./{made.model.as_posix()}", {made.model.name: folder / made.model})
    files = _model_files(folder) if made.model == Path() else {}
    return Inside(".", files) if files and "quantization_config" not in _read(folder / "config.json") else None


def _model_files(folder: Path) -> dict[str, Path]:
    weights = sorted(folder.glob("model*.safetensors"))
    return {path.name: path for path in [*weights, *(folder / name for name in CONFIGS)] if path.is_file()} if weights else {}


def _way(base: Path, home: Path) -> str:
    """From the export's folder to the base; the whole path where there is no way, as between two drives."""
    with suppress(ValueError):
        return Path(os.path.relpath(base, home)).as_posix()
    return base.as_posix()


def _about(spec: ExportSpec, source: Source, folder: Path) -> tuple[About, list[Message]]:
    """What Ollama is told, and what a person should know of it; Unexplained where the template can't be written for it."""
    options, system = chat_options(spec.model), spec.exporting.system_prompt
    if system and not carries(system):  # then it is the template's own
        options, system = replace(options, default_system=system), ""
    tokenizer, notes = source.opening.tokenizer(), list[Message]()
    pieces = take_apart(writer_of(tokenizer, options))
    mark = _added(tokenizer)
    if mark and not pieces.opens_with(mark):
        notes.append(Say.added(mark=mark))
        mark = ""
    configs = (_read(home / "generation_config.json") for home in (folder, source.opening.folder()))
    return About(
        template=template_of(pieces, mark),
        stop=_stop(source, tokenizer),
        system=system,
        parameters=parameters_of(next((one for one in configs if one), {})),
        licences=_licences(spec, source),
    ), notes


def writer_of(tokenizer: Any, options: ChatOptions) -> Write:
    """The tokenizer's chat template as it writes a conversation, with what a person chose beside it."""
    from jinja2 import TemplateError

    template, tokens = compiled(tokenizer.get_chat_template()), {**tokenizer.special_tokens_map, "documents": None}

    def write(messages: Messages, ask: bool, thinking: bool | None) -> str:
        told = with_system(messages, options.default_system) if options.default_system else messages
        thinks = options.enable_thinking if thinking is None else thinking
        values = tokens if thinks is None else {**tokens, "enable_thinking": thinks}
        try:
            return without_marks(Writing(template, told, None, values).text(len(told), ask))
        except (TemplateError, TypeError) as error:
            raise ValueError(str(error)) from error

    return write


def _added(tokenizer: Any) -> str:
    """What the tokenizer puts before every text, and so a GGUF file's reader does."""
    first = tokenizer("a")["input_ids"][:1]
    return str(tokenizer.bos_token) if first and first == [tokenizer.bos_token_id] else ""


def _stop(source: Source, tokenizer: Any) -> list[str]:
    """The words at which an answer ends, each once: the template's, and the tokens that end it."""
    words = template_facts().get(source.opening.template, {}).get("stop", [])
    return list(dict.fromkeys([*words, *tokenizer.convert_ids_to_tokens(source.opening.stop_ids(tokenizer))]))


def _licences(spec: ExportSpec, source: Source) -> list[str]:
    """The base's licence in full, else its name."""
    base = base_of(source.opening.folder(), spec.model.model_name_or_path)
    texts = [path.read_text("utf-8", errors="replace") for path in base.legal]
    shown = ["".join(one for one in text if one.isprintable() or one in "\n\t").strip() for text in texts]
    name = str(base.licence.get("license", ""))
    return [text for text in shown if text and carries(text)] or ([name] if name and carries(name) else [])


def _read(file: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text("utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
