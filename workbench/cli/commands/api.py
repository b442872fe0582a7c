"""``api``: a model and its adapters behind an OpenAI-compatible address until Ctrl-C."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from workbench.checking import check_serve
from workbench.cli import DONE, FAILED
from workbench.cli.flags import given_values, raise_all
from workbench.cli.overview import command_help, field_help
from workbench.cli.screen import Screen
from workbench.cli.serving import ServerFailed, served
from workbench.events import Failed
from workbench.fields import Knob
from workbench.ports import check_free
from workbench.problems import Problem
from workbench.runs import Run
from workbench.specs import ServeSpec
from workbench.text import Locale, Message, Text
from workbench.wording import STATES
from workbench.workspace import Workspace

PORT = 8000
LOOK_S = 0.5


class Say:
    title = Text("Answer over HTTP, as OpenAI's API does.")
    file = Text("SPEC.yaml holds 'key: value' lines; without it the fields say all.")
    models = Text("The base is the model 'base'; each adapter is a model by its name. GET /v1/models lists them.")
    key = Text("A key in the environment variable API_KEY is asked of every client.")
    stop = Text(
        "Ctrl-C ends the server. Should this terminal be killed, the server goes on: 'runs list' shows it, 'runs stop' "
        "ends it."
    )
    ready = Text("Ready: {url}/v1")
    names = Text("Models: {models}")
    how_to_end = Text("Ctrl-C ends it.")
    ended = Text("The server ended.")
    gone = Text("The server ended by itself ({state}).")


def title() -> Message:
    return Say.title()


def knobs() -> Mapping[str, Knob]:
    """The fields of serving, with the port that clients expect."""
    known = ServeSpec.knobs()
    return {**known, "api_port": replace(known["api_port"], default=PORT)}


def help(locale: Locale) -> Iterator[str]:
    sentences = (Say.title, Say.file, Say.models, Say.key, Say.stop)
    yield from command_help(locale, "api [SPEC.yaml] [key=value ...] [--key value ...]", sentences)
    yield from field_help(locale, knobs())


def run(words: Sequence[str], workspace: Workspace, screen: Screen) -> int:
    values, given = given_values(words, knobs(), workspace)
    checked = check_serve(workspace, {"api_port": PORT, **values})
    for warning in checked.warnings:
        screen.warn(warning)
    raise_all(given.problems, checked.problems)
    spec = checked.unwrap()
    check_free(spec.serving.api_host, spec.serving.api_port, "api_host", "api_port")
    try:
        with served(workspace, spec, screen) as (server, ready):
            screen.say(Say.ready(url=ready.url))
            screen.say(Say.names(models=", ".join(ready.models)))
            screen.say(Say.how_to_end())
            return _stay(server, screen)
    except ServerFailed as failed:
        failed.tell(screen)
        return FAILED
    except KeyboardInterrupt:
        screen.say(Say.ended())
        return DONE


def _stay(server: Run, screen: Screen) -> int:
    """Until Ctrl-C, or until somebody stops the server; ServerFailed when it ends by itself."""
    while (state := server.state()) == "running":
        time.sleep(LOOK_S)
    if state != "stopped":
        ended = server.view().ended
        raise ServerFailed(
            server, ended.problems if isinstance(ended, Failed) else [Problem(Say.gone(state=STATES[state]()))]
        )
    screen.say(Say.ended())
    return DONE
