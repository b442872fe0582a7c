"""What to enter in other programs so that they talk to our server, as HTML to copy from. Knows no server and no page."""

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.text import Locale, Text

ANY_KEY = "any"
DOCKER = "host.docker.internal"


class Say:
    endpoint = Text("Address")
    key = Text("Key")
    key_of_yours = Text("the key that you set")
    model = Text("Model")
    nextchat = Text("Settings, Custom Endpoint on, provider OpenAI. The address has no /v1.")
    chatbox = Text("Settings, Model Provider, Add, OpenAI API Compatible; then New for the model.")
    cherry = Text("Settings, Model Provider, Add, type OpenAI; Manage lists the models.")
    webui = Text("Admin Settings, Connections, OpenAI API. From a container the server needs host 0.0.0.0 and a key.")
    copy = Text("Copy")
    copied = Text("Copied")
    question = Text("Who are you?")


@dataclass(frozen=True)
class Server:
    """What a client needs to know: an address without /v1, a key if one is asked for, and a model's name."""

    url: str
    model: str
    has_key: bool

    @property
    def port(self) -> str:
        return self.url.rsplit(":", 1)[-1]


def clients(server: Server, locale: Locale) -> str:
    """Each client in a fold of its own: where to enter what, each value with a button that copies it."""
    return "".join(
        f'<details class="client"><summary>{name}</summary>{inner}</details>'
        for name, inner in (*_programs(server, locale), *_code(server, locale))
    )


def _programs(server: Server, locale: Locale) -> Iterator[tuple[str, str]]:
    for name, where, url in (
        ("NextChat", Say.nextchat, server.url),
        ("Chatbox", Say.chatbox, server.url),
        ("Cherry Studio", Say.cherry, server.url),
        ("Open WebUI", Say.webui, f"{server.url}/v1"),
    ):
        key = "" if server.has_key else ANY_KEY
        rows = [(Say.endpoint, url), (Say.key, key), (Say.model, server.model)]
        if name == "Open WebUI":
            rows.insert(1, (Say.endpoint, f"http://{DOCKER}:{server.port}/v1"))
        yield name, f"<p>{html.escape(locale(where))}</p>{_rows(rows, locale)}"


def _rows(rows: Sequence[tuple[Text, str]], locale: Locale) -> str:
    lines = []
    for name, value in rows:
        shown = f"<code>{html.escape(value)}</code>{copy_button(value, locale)}"
        shown = shown if value else html.escape(locale(Say.key_of_yours))
        lines.append(f"<dt>{html.escape(locale(name))}</dt><dd>{shown}</dd>")
    return f"<dl>{''.join(lines)}</dl>"


def _code(server: Server, locale: Locale) -> Iterator[tuple[str, str]]:
    said = locale(Say.question)
    for name, text in (
        ("openai (Python)", python(server, said)),
        ("openai (Node)", node(server, said)),
        ("curl", curl(server, said)),
    ):
        yield name, f"<pre>{html.escape(text)}</pre>{copy_button(text, locale)}"


def copy_button(text: str, locale: Locale) -> str:
    """A button that the page's script makes copy its text."""
    kept = html.escape(text)
    words = html.escape(locale(Say.copy)), html.escape(locale(Say.copied))
    return f'<button type="button" class="copy" data-copy="{kept}" data-done="{words[1]}">{words[0]}</button>'


def python(server: Server, said: str) -> str:
    """A program for the openai package of Python; a key is read from the environment."""
    key = 'os.environ["API_KEY"]' if server.has_key else json.dumps(ANY_KEY)
    return (
        ("import os\n\n" if server.has_key else "")
        + "from openai import OpenAI\n\n"
        + f"client = OpenAI(base_url={json.dumps(server.url + '/v1')}, api_key={key})\n"
        + "answer = client.chat.completions.create(\n"
        + f"    model={json.dumps(server.model, ensure_ascii=False)},\n"
        + f'    messages=[{{"role": "user", "content": {json.dumps(said, ensure_ascii=False)}}}],\n'
        + ")\nprint(answer.choices[0].message.content)\n"
    )


def node(server: Server, said: str) -> str:
    """A program for the openai package of Node."""
    key = "process.env.API_KEY" if server.has_key else json.dumps(ANY_KEY)
    return (
        'import OpenAI from "openai";\n\n'
        f"const client = new OpenAI({{ baseURL: {json.dumps(server.url + '/v1')}, apiKey: {key} }});\n"
        "const answer = await client.chat.completions.create({\n"
        f"  model: {json.dumps(server.model, ensure_ascii=False)},\n"
        f'  messages: [{{ role: "user", content: {json.dumps(said, ensure_ascii=False)} }}],\n'
        "});\nconsole.log(answer.choices[0].message.content);\n"
    )


def curl(server: Server, said: str) -> str:
    """A command for a POSIX shell: a quote inside single quotes is written '\\''."""
    asked = {"model": server.model, "messages": [{"role": "user", "content": said}]}
    body = json.dumps(asked, ensure_ascii=False).replace("'", "'\\''")
    key = ' \\\n  -H "Authorization: Bearer $API_KEY"' if server.has_key else ""
    return f"curl {server.url}/v1/chat/completions \\\n  -H \"Content-Type: application/json\"{key} \\\n  -d '{body}'\n"
