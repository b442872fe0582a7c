"""Serve: an engine behind the HTTP API, until somebody asks it to stop. Knows no engine by name and no page."""

import asyncio
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from workbench import engines, models, quantising
from workbench.answering import answer_problems
from workbench.api.routes import application
from workbench.api.rules import Rules
from workbench.api.template_marks import call_shapes, thought_opener
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
from workbench.engines import BASE, Opening, Precision, Prompt, Raw
from workbench.events import Ready
from workbench.fields import plain
from workbench.jobs import Desk, StopAsked
from workbench.models import (
    adapter_folder,
    check_model,
    fetched_folder,
    is_adapter,
    load_model,
    load_tokenizer,
    model_name,
)
from workbench.ports import is_loopback
from workbench.problems import UserError
from workbench.quantising import Quantisation
from workbench.runs import find_run
from workbench.sockets import plugins
from workbench.specs import ServeSpec, yaml_mapping
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
        opening, loaded = prepare(spec, desk), list[Any]()

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
    _tell_of_adapter(spec, desk, name, folder)
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


def prepare(spec: ServeSpec, desk: Desk) -> Opening:
    """What an engine may ask for; each phase is said when it begins."""
    section, workspace = spec.model, desk.run.workspace
    template, options = check_template(section.template), chat_options(section)
    found = check_model(workspace, section, gguf=True) if section.model_name_or_path else []
    if problems := [*found, *answer_problems(workspace, section)]:
        raise UserError(*problems)

    @cache
    def folder() -> Path:
        desk.phase("fetching")
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

    adapters = _adapters(spec, desk)
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
    )


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


def _adapters(spec: ServeSpec, desk: Desk) -> dict[str, Path]:
    """The adapters' folders by model name, with a word where one is not what a person may expect."""
    found: dict[str, Path] = {}
    for name, given in model_names(spec.model.adapter_name_or_path).items():
        folder = adapter_folder(desk.run.workspace, given)
        if folder is None:
            raise UserError(models.Say.no_adapter(given=plain(given)), key="adapter_name_or_path")
        found[name] = folder
        _tell_of_adapter(spec, desk, name, folder)
    return found


def _tell_of_adapter(spec: ServeSpec, desk: Desk, name: str, folder: Path) -> None:
    """A word where an adapter is not what a person may expect."""
    if folder.name.startswith("checkpoint-") and folder.name not in name:
        desk.note(Say.checkpoint(name=name, folder=folder.name))
    values = _trained_spec(folder)
    trained = str(values.get("template", "auto"))
    if values and trained != spec.model.template:
        desk.note(Say.other_template(name=name, trained=trained, given=spec.model.template), "warning")


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
