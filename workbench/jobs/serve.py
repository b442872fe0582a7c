"""Serve: an engine behind the HTTP API, until somebody asks it to stop. Knows no engine by name and no page."""

import asyncio
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench import engines
from workbench.api.routes import application
from workbench.api.rules import Rules
from workbench.api.template_marks import call_shapes, thought_opener
from workbench.chats import check_template
from workbench.chats.encoding import chat_options
from workbench.desk import Desk, StopAsked
from workbench.events import Ready
from workbench.fields import plain
from workbench.models import adapter_folder, model_name
from workbench.opening import prepare, tell_of_adapter
from workbench.ports import is_loopback
from workbench.problems import UserError
from workbench.runs import find_run
from workbench.sockets import plugins
from workbench.specs import ServeSpec
from workbench.text import Text, verbatim
from workbench.workspace import Workspace

KEY_VARIABLE = "API_KEY"
LOOK_S = 0.2
PARTING_S = 1


class Say:
    no_host = Text("Host '{given}' is no address of this machine ({reason}). Accepted: 127.0.0.1, 0.0.0.0. Mend it.")
    needs_key = Text(
        "Host '{given}' lets other machines in, and no key is set. Accepted: 127.0.0.1, or a key in the environment "
        "variable API_KEY. Set it, or choose 127.0.0.1."
    )
    taken = Text("Port {given} is taken by another program. Accepted: a free port, or 0 for any free one. Choose one.")
    not_allowed = Text("Port {given} may not be used by this account. Accepted: 1024 to 65535, or 0. Choose one.")
    serving = Text("{url} answers as {models}.")
    key_file = Text(
        "The file of keys '{given}' can't be read: {reason}. Accepted: a text file with a key in each line. Mend it."
    )
    no_keys = Text("The file of keys '{given}' holds none. Accepted: a text file with a key in each line. Write one.")
    no_adapter = Text(
        "Nothing trained is found at '{given}'. Accepted: the name of a run, or a folder with an adapter inside the "
        "workspace. Choose one."
    )


def run(spec: ServeSpec, desk: Desk) -> dict[str, float]:
    """Answer until the stop file appears; then StopAsked."""
    serving = spec.serving
    desk.phase("reading")
    keys = read_keys(desk.run.workspace, serving.api_key_file)
    with listen(serving.api_host, serving.api_port, bool(keys)) as listener:
        opening, loaded = prepare(spec.model, desk), list[Any]()

        def tokenizer() -> Any:
            loaded[:] = [opening.tokenizer()]
            return loaded[0]

        engine = plugins(engines)[spec.engine.infer_backend].open(spec.engine, replace(opening, tokenizer=tokenizer))
        try:
            address = listener.getsockname()
            app = application(engine, rules(spec, desk, keys, is_loopback(str(address[0])), loaded))
            desk.phase("serving")
            asyncio.run(_serve(app, listener, desk, Ready(shown_url(address), list(engine.models))))
        finally:
            engine.close()
    raise StopAsked


def read_keys(workspace: Workspace, file: str) -> list[str]:
    """The keys of the environment, which stand between commas, and those of the file, each in a line."""
    keys = os.environ.get(KEY_VARIABLE, "").split(",")
    if file:
        try:
            lines = (workspace.root / file).read_text("utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            reason = verbatim(str(error))
            raise UserError(Say.key_file(given=plain(file), reason=reason), key="api_key_file") from error
        if not any(line.strip() for line in lines):
            raise UserError(Say.no_keys(given=plain(file)), key="api_key_file")
        keys += lines
    return list(dict.fromkeys(key.strip() for key in keys if key.strip()))


def rules(spec: ServeSpec, desk: Desk, keys: Sequence[str], local: bool, loaded: Sequence[Any]) -> Rules:
    """How the server is to behave. ``loaded``: the tokenizer, if the engine needed it."""
    serving, section = spec.serving, spec.model
    template, own = check_template(section.template), str(loaded[0].chat_template) if loaded else ""
    shapes = call_shapes(template, own)
    usual = Rules()
    return Rules(
        keys=keys,
        local=local,
        origins=serving.api_allowed_origins,
        any_model_name=local if serving.any_model_name is None else serving.any_model_name,
        max_requests=serving.api_max_requests,
        base_name=model_name(section.model_name_or_path) if section.model_name_or_path else "",
        shapes=lambda: shapes,
        opens_thought=thought_opener(lambda: loaded[0], chat_options(section)) if loaded else usual.opens_thought,
        adapter=lambda name, given: find_adapter(spec, desk, name, given),
    )


def find_adapter(spec: ServeSpec, desk: Desk, name: str, given: str) -> Path:
    """The folder of what a run inside the workspace has trained, by folder or name; UserError beside lora_path."""
    workspace = desk.run.workspace
    folder = adapter_folder(workspace, given)
    if folder is None:
        with suppress(UserError):
            folder = adapter_folder(workspace, str(find_run(workspace, given).folder))
    homes = [home.resolve() for home in (workspace.root, workspace.saves, workspace.models)]
    if folder is None or not any(folder.is_relative_to(home) for home in homes):
        raise UserError(Say.no_adapter(given=plain(given)), key="lora_path")
    tell_of_adapter(spec.model, desk, name, folder)
    return folder


async def _serve(app: Any, listener: socket.socket, desk: Desk, ready: Ready) -> None:
    """Run the server, say Ready when it answers, and end it when the person wants no more of it."""
    import uvicorn

    config = uvicorn.Config(app, log_level="info", lifespan="off", timeout_graceful_shutdown=PARTING_S)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(LOOK_S / 10)
    if server.started:
        desk.say(ready)
        desk.note(Say.serving(url=ready.url, models=", ".join(ready.models)))
    while not serving.done():
        server.should_exit = server.should_exit or desk.stop_asked()
        await asyncio.sleep(LOOK_S)
    await serving


def listen(host: str, port: int, has_key: bool) -> socket.socket:
    """A listening socket: from now on the port is ours. UserError beside api_host or api_port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(Say.no_host(given=plain(host), reason=str(error)), key="api_host") from error
    if not has_key and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise UserError(Say.needs_key(given=plain(host)), key="api_host")
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise _no_port(error, host, port) from error
    return listener


def _no_port(error: OSError, host: str, port: int) -> UserError:
    match error.errno:
        case errno.EADDRINUSE:
            return UserError(Say.taken(given=port), key="api_port")
        case errno.EACCES:
            return UserError(Say.not_allowed(given=port), key="api_port")
    return UserError(Say.no_host(given=plain(host), reason=error.strerror or str(error)), key="api_host")


def shown_url(address: Any) -> str:
    """The URL at which this machine reaches a listening address."""
    ip, port = ipaddress.ip_address(str(address[0]).partition("%")[0]), address[1]
    if ip.is_unspecified:
        ip = ipaddress.ip_address("127.0.0.1" if ip.version == 4 else "::1")
    return f"http://{ip}:{port}" if ip.version == 4 else f"http://[{ip}]:{port}"
