"""``chat``: talk to a model or to a run's result in the terminal; the server behind it lives as long as the talk."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.checking import check_serve
from workbench.cli import DONE, FAILED
from workbench.cli.flags import Given, lay_over, raise_all, read_words, rooted, spec_file, stray
from workbench.cli.overview import command_help, field_help
from workbench.cli.screen import Screen
from workbench.cli.serving import ServerFailed, served
from workbench.conversations import Conversation, Turn, asked_with, save
from workbench.events import Ready
from workbench.fields import Knob
from workbench.models import local_folder
from workbench.problems import UserError
from workbench.runs import find_run
from workbench.sampling import SamplingSection, SamplingSpec, sampling_of, thinks, with_system
from workbench.specs import ServeSpec, TrainSpec, read_flat
from workbench.talk import Extras, Part, parts
from workbench.text import Locale, Message, Text
from workbench.workspace import Workspace

KEY_VARIABLE = "API_KEY"
KEPT = ("model_name_or_path", "hub", "model_revision", "template", "trust_remote_code")


class Say:
    title = Text("Talk to a model, or to what a run has learned.")
    whom = Text("NAME is a run (its base and its adapter), a model of models/, or a spec file; else the fields say it.")
    inside = Text(
        "In the chat: /clear begins anew, /base changes between the base and what was learned, /regenerate asks the last "
        "question again, /system TEXT sets the system prompt, /save NAME keeps the chat in saves/chats, /bye ends it. "
        "Ctrl-C stops an answer, Ctrl-D ends the chat. Lines may also come from a pipe."
    )
    one_name = Text("one run, model or spec file, then key=value and --key value")
    nothing_learned = Text(
        "The run '{name}' has saved no weights yet. Accepted: a run with a checkpoint. Choose another."
    )
    ready = Text("{model} answers. /base changes who does, /clear begins anew, /bye ends.")
    ready_alone = Text("{model} answers. /clear begins anew, /bye ends.")
    now = Text("Now {model} answers.")
    only_one = Text("There is only {model} here: no adapter was given.")
    cleared = Text("The chat begins anew.")
    unknown = Text(
        "'{given}' is no command of the chat. Accepted: /clear, /base, /regenerate, /system TEXT, /save NAME, /bye. Write one "
        "of these."
    )
    system = Text("The system prompt is set; it counts from the next question on.")
    no_system = Text("There is no system prompt any more.")
    no_question = Text("Nothing was asked yet.")
    saved = Text("Saved as saves/chats/{name}.json.")
    thought = Text("thought:")
    how_to_end = Text("/bye or Ctrl-D ends the chat.")


def title() -> Message:
    return Say.title()


def knobs() -> Mapping[str, Knob]:
    return {**ServeSpec.knobs(), **SamplingSpec.knobs()}


def help(locale: Locale) -> Iterator[str]:
    yield from command_help(locale, "chat [NAME] [key=value ...] [--key value ...]", (Say.title, Say.whom, Say.inside))
    yield from field_help(locale, knobs())


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    given = read_words(words, knobs())
    begun = _named(given, workspace)
    values = rooted(lay_over(begun, given, knobs()), workspace)
    asking = read_flat(SamplingSpec, {key: value for key, value in values.items() if key in SamplingSpec.knobs()})
    checked = check_serve(workspace, {key: value for key, value in values.items() if key not in SamplingSpec.knobs()})
    for warning in checked.warnings:
        screen.warn(warning)
    raise_all(given.problems, [*checked.problems, *asking.problems])
    raise_all([*checked.problems, *asking.problems], ())
    try:
        with served(workspace, checked.unwrap(), screen) as (_, ready):
            return _talk(Talk(ready, asking.unwrap().sampling, screen, workspace))
    except ServerFailed as failed:
        failed.tell(screen)
        return FAILED


def _named(given: Given, workspace: Workspace) -> dict[str, Any]:
    """What the word without a key stands for, as values: a spec file, a run, or a model."""
    if not given.words:
        return {}
    given.problems += stray(given.words[1:], Say.one_name())
    name = given.words[0]
    if name.endswith((".yaml", ".yml", ".json")):
        return spec_file(Path(name))
    try:
        found = find_run(workspace, name)
    except UserError:
        if local_folder(workspace, name) is None:
            raise
        return {"model_name_or_path": name}
    reading = found.read_spec()
    flat = reading.unwrap().flat()
    if not isinstance(reading.spec, TrainSpec):
        return {key: flat[key] for key in (*KEPT, "adapter_name_or_path")}
    if not found.has_adapter():
        raise UserError(Say.nothing_learned(name=found.name))
    return {**{key: flat[key] for key in KEPT}, "adapter_name_or_path": [f"saves/{found.name}"]}


@dataclass
class Talk:
    """One chat: who answers, what was said so far, and how it is asked."""

    ready: Ready
    section: SamplingSection
    screen: Screen
    workspace: Workspace
    model: str = ""
    messages: list[Turn] = field(default_factory=list)
    failed: bool = False

    def __post_init__(self) -> None:
        self.model = next((name for name in self.ready.models if name != self.ready.models[0]), self.ready.models[0])

    def command(self, line: str) -> bool:
        """Do what a line with a slash says; False when it ends the chat."""
        match line.split():
            case ["/bye" | "/exit" | "/quit"]:
                return False
            case ["/clear"]:
                self.messages.clear()
                self.screen.say(Say.cleared())
            case ["/base"]:
                self.screen.say(self._change())
            case ["/regenerate"]:
                self._again()
            case ["/system", *_]:
                said = line.removeprefix("/system").strip()
                self.section = self.section.model_copy(update={"system": said})
                self.screen.say(Say.system() if said else Say.no_system())
            case ["/save", *_]:
                self._save(line.removeprefix("/save").strip())
            case _:
                self.screen.say(Say.unknown(given=line))
        return True

    def _change(self) -> Message:
        models = list(self.ready.models)
        if len(models) == 1:
            return Say.only_one(model=self.model)
        self.model = models[(models.index(self.model) + 1) % len(models)]
        return Say.now(model=self.model)

    def _again(self) -> None:
        asked = max((at for at, turn in enumerate(self.messages) if turn["role"] == "user"), default=-1)
        if asked < 0:
            self.screen.say(Say.no_question())
            return
        kept, self.messages = self.messages, self.messages[:asked]
        if not self.answer(str(kept[asked]["content"])):
            self.messages = kept

    def _save(self, name: str) -> None:
        try:
            self.screen.say(Say.saved(name=save(self.workspace, name, Conversation(self.messages, self.section.system))))
        except UserError as error:
            self.screen.problems(error.problems)

    def answer(self, question: str) -> bool:
        """Ask and show the answer as it comes, its thought and calls too; what was shown before Ctrl-C counts as the answer.

        False where none came; the question is forgotten then.
        """
        self.messages.append({"role": "user", "content": question})
        asked = asked_with(with_system(self.section, self.messages))
        key, extras = os.environ.get(KEY_VARIABLE), Extras(thinking=thinks(self.section))
        heard = parts(self.ready.url, self.model, asked, sampling_of(self.section), key, None, extras)
        shown = Shown(self.screen)
        try:
            for part in heard:
                shown.hear(part)
        except KeyboardInterrupt:
            heard.close()
        except UserError as error:
            self.failed = True
            self.screen.problems(error.problems)
        self.screen.line("")
        if shown.any:
            self.messages.append({"role": "assistant", "content": shown.text})
        else:
            self.messages.pop()
        return shown.any


@dataclass
class Shown:
    """An answer as it comes onto the screen: its thought under a word of its own, then the text."""

    screen: Screen
    text: str = ""
    thinking: bool = False
    any: bool = False

    def hear(self, part: Part) -> None:
        if part.thought and not self.thinking:
            self.thinking = True
            self.screen.say(Say.thought())
        if part.text and self.thinking:
            self.thinking = False
            self.screen.line("\n")
        for call in part.calls:
            self.screen.piece(call.name and f"\n{call.name} ")
            self.screen.piece(call.arguments)
        self.screen.piece(part.thought)
        self.screen.piece(part.text)
        self.text += part.text
        self.any = self.any or part != Part()


def _talk(talk: Talk) -> int:
    """Lines until the end of input; 1 when a question got no answer."""
    said = Say.ready_alone if len(talk.ready.models) == 1 else Say.ready
    talk.screen.say(said(model=talk.model))
    while (line := _line(talk.screen)) is not None:
        if line.startswith("/"):
            if not talk.command(line):
                break
        elif line:
            talk.answer(line)
    return FAILED if talk.failed else DONE


def _line(screen: Screen) -> str | None:
    """The next line, None at the end. On a terminal with a prompt and, where there is one, a history."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip() if line else None
    with suppress(ImportError):
        import readline  # noqa: F401 - its import gives input() a history
    while True:
        try:
            return input("> ").strip()
        except EOFError:
            screen.line("")
            return None
        except KeyboardInterrupt:
            screen.line("")
            screen.say(Say.how_to_end())
