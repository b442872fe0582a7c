"""Serve: an engine behind the HTTP API, until somebody asks it to stop. Knows no engine by name and no page."""

import asyncio
import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from workbench import engines, models, quantising
from workbench.api.routes import application
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
from workbench.engines import BASE, Messages, Opening, Precision
from workbench.events import Ready
from workbench.fields import plain
from workbench.jobs import Desk, StopAsked
from workbench.models import adapter_folder, check_model, fetched_folder, is_adapter, load_model, load_tokenizer
from workbench.problems import UserError
from workbench.quantising import Quantisation
from workbench.sockets import plugins
from workbench.specs import ServeSpec, yaml_mapping
from workbench.text import Text, verbatim

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


def run(spec: ServeSpec, desk: Desk) -> dict[str, float]:
    """Answer until the stop file appears; then StopAsked."""
    serving, key = spec.serving, os.environ.get(KEY_VARIABLE) or None
    desk.phase("reading")
    listener = listen(serving.api_host, serving.api_port, key is not None)
    with listener:
        engine = plugins(engines)[spec.engine.infer_backend].open(spec.engine, prepare(spec, desk))
        address = listener.getsockname()
        app = application(engine, key, ipaddress.ip_address(address[0]).is_loopback)
        desk.phase("serving")
        asyncio.run(_serve(app, listener, desk, Ready(shown_url(address), list(engine.models))))
    raise StopAsked


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
    if section.model_name_or_path and (problems := check_model(workspace, section)):
        raise UserError(*problems)

    @cache
    def folder() -> Path:
        desk.phase("fetching")
        return fetched_folder(workspace, section, lambda done, total, file: desk.phase("fetching", done, total))

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
        prompt=lambda tokenizer, messages: prompt_of(tokenizer, messages, options),
        stop_ids=lambda tokenizer: stop_tokens(tokenizer, template),
        note=desk.note,
        whole=lambda folder, precision: load_model(folder, precision, section.trust_remote_code),
    )


def prompt_of(tokenizer: Any, messages: Messages, options: ChatOptions) -> list[int]:
    """The tokens up to where the model is to answer; what the template refuses is a UserError beside ``messages``."""
    try:
        (tokens,) = to_tokens(tokenizer, [render(tokenizer, messages, ask=True, options=options)])
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
        if folder.name.startswith("checkpoint-") and folder.name not in name:
            desk.note(Say.checkpoint(name=name, folder=folder.name))
        values = _trained_spec(folder)
        trained = str(values.get("template", "auto"))
        if values and trained != spec.model.template:
            desk.note(Say.other_template(name=name, trained=trained, given=spec.model.template), "warning")
    return found


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
