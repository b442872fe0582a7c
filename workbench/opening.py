"""What an engine may ask for, from a spec's section of the model: the base, its adapters, the template. Knows no engine by name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from workbench import models, quantising
from workbench.answering import answer_problems
from workbench.chats import (
    ChatOptions,
    Refused,
    check_template,
    render,
    stop_tokens,
    template_facts,
    to_tokens,
    use_template,
)
from workbench.chats.encoding import chat_options
from workbench.desk import Desk
from workbench.engines import BASE, Opening, Precision, Prompt, Raw
from workbench.fields import plain
from workbench.models import adapter_folder, check_model, fetched_folder, is_adapter, load_model, load_tokenizer
from workbench.problems import UserError
from workbench.quantising import Quantisation
from workbench.sections import ModelSection
from workbench.specs import yaml_mapping
from workbench.text import Text, verbatim


class Say:
    refused_chat = Text("The chat template refuses these messages: {reason} Change their order or their roles.")
    other_template = Text(
        "Adapter '{name}' was trained with the chat template '{trained}', and answers here with '{given}'. "
        "Choose the same one."
    )
    checkpoint = Text("Of the run '{name}' its newest checkpoint {folder} is loaded, since it has no final weights.")
    few_bits = Text("The base is held in {bits}, as it was while the adapters learned.")
    many_bits = Text(
        "The adapters learned over bases held in different ways. The base is held as it comes; adapters that learned over "
        "few bits may answer a little differently."
    )


def prepare(section: ModelSection, desk: Desk) -> Opening:
    """What an engine may ask for; each phase is said when it begins."""
    workspace = desk.run.workspace
    template, options = check_template(section.template), chat_options(section)
    found = check_model(workspace, section, gguf=True) if section.model_name_or_path else []
    if problems := [*found, *answer_problems(workspace, section)]:
        raise UserError(*problems)

    @cache
    def folder() -> Path:
        def tell(done: int, total: int, file: str) -> None:
            desk.phase("fetching", done, total)

        return fetched_folder(workspace, section, tell, gguf=True)

    @cache
    def tokenizer() -> Any:
        found = load_tokenizer(folder(), section.trust_remote_code)
        use_template(found, template)
        return found

    def model(precision: Precision) -> Any:
        found = folder()
        desk.phase("model")
        return load_model(found, precision, section.trust_remote_code, _quantised(adapters, desk))

    adapters = _adapters(section, desk)
    return Opening(
        adapters=adapters,
        template=template,
        lead=_lead(template, options),
        trust_remote_code=section.trust_remote_code,
        folder=folder,
        tokenizer=tokenizer,
        model=model,
        prompt=lambda tokenizer, prompt: prompt_of(tokenizer, prompt, options),
        stop_ids=lambda tokenizer: stop_tokens(tokenizer, template),
        note=desk.note,
        whole=lambda folder, precision: load_model(folder, precision, section.trust_remote_code),
        cache=workspace.cache,
        progress=lambda done, total: desk.phase("model", done, total),
        default_system=options.default_system,
        enable_thinking=options.enable_thinking,
    )


def model_names(given: Sequence[str]) -> dict[str, str]:
    """A model name for each adapter as it was given: its run's own name, with a number where two are alike."""
    names: dict[str, str] = {}
    for one in given:
        parts = one.replace("\\", "/").rstrip("/").split("/")
        name = "/".join(parts[-2:]) if parts[-1].startswith("checkpoint-") else parts[-1]
        free, count = name or "adapter", 1
        while free in names or free == BASE:
            count += 1
            free = f"{name}-{count}"
        names[free] = one
    return names


def prompt_of(tokenizer: Any, prompt: Prompt, options: ChatOptions) -> list[int]:
    """The tokens up to where the model is to answer; what the template refuses is a UserError beside ``messages``.

    A raw text may hold special tokens: whoever sends one writes the template himself.
    """
    if isinstance(prompt, Raw):
        given = prompt.given
        return list(tokenizer(given, add_special_tokens=False, verbose=False)["input_ids"] if isinstance(given, str) else given)
    if prompt.enable_thinking is not None:
        options = replace(options, enable_thinking=prompt.enable_thinking)
    try:
        (tokens,) = to_tokens(tokenizer, [render(tokenizer, prompt.messages, True, prompt.tools, options)])
    except Refused as error:
        raise UserError(Say.refused_chat(reason=verbatim(error.reason)), key="messages") from error
    return tokens.ids


def _lead(template: str, options: ChatOptions) -> str:
    """What a model trained with the template writes before its answer: an empty thought, a line end."""
    facts: Mapping[str, Any] = {} if template == "auto" else template_facts()[template]
    if "no_thought" in facts and options.enable_thinking is False:
        return ""  # it stands in the prompt
    return f"{facts.get('lead', '')}{facts.get('no_thought', '')}"


def _adapters(section: ModelSection, desk: Desk) -> dict[str, Path]:
    """The adapters' folders by model name, with a word where one is not what a person may expect."""
    found: dict[str, Path] = {}
    for name, given in model_names(section.adapter_name_or_path).items():
        folder = adapter_folder(desk.run.workspace, given)
        if folder is None:
            raise UserError(models.Say.no_adapter(given=plain(given)), key="adapter_name_or_path")
        found[name] = folder
        tell_of_adapter(section, desk, name, folder)
    return found


def tell_of_adapter(section: ModelSection, desk: Desk, name: str, folder: Path) -> None:
    """A word where an adapter is not what a person may expect."""
    if folder.name.startswith("checkpoint-") and folder.name not in name:
        desk.note(Say.checkpoint(name=name, folder=folder.name))
    values = _trained_spec(folder)
    trained = str(values.get("template", "auto"))
    if values and trained != section.template:
        desk.note(Say.other_template(name=name, trained=trained, given=section.template), "warning")


def _quantised(adapters: Mapping[str, Path], desk: Desk) -> Quantisation | None:
    """The few bits in which the base was held while the adapters learned, if all of them learned so; it is told."""
    inside = [folder for folder in adapters.values() if is_adapter(folder)]
    trained = {quantising.asked(_trained_spec(folder)) for folder in inside}
    if len(trained) > 1:
        desk.note(Say.many_bits(), "warning")
    (bits,) = trained if len(trained) == 1 else (None,)
    if bits and (missing := quantising.no_quantiser()):
        raise UserError(missing, key="adapter_name_or_path")
    if bits:
        desk.note(Say.few_bits(bits=bits.name))
    return bits


def _trained_spec(folder: Path) -> Mapping[str, Any]:
    """What the spec of the adapter's run says, nothing when there is no run around it."""
    for home in (folder, folder.parent):
        if (home / "spec.yaml").is_file():
            values = yaml_mapping((home / "spec.yaml").read_text("utf-8", errors="replace"))
            return values if isinstance(values, dict) else {}
    return {}
