"""Adapters that come and go while the server runs, under vLLM's paths. Knows no run and no weights."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from workbench.api import errors
from workbench.api.other_requests import AdapterRequest
from workbench.api.rules import UnknownModel
from workbench.api.schema import Unsupported
from workbench.api.service import Service
from workbench.engines import BASE
from workbench.fields import plain
from workbench.ports import is_loopback
from workbench.problems import Problem, UserError
from workbench.text import Text


class Say:
    fixed = Text("This engine keeps the adapters that it began with. Accepted: those of /v1/models. Load it anew with others.")
    taken = Text("There is a model '{given}' here already. Accepted: another name. Choose one, or unload that one first.")
    base = Text("'{given}' is the base itself. Accepted: the name of an adapter: {known}. Choose one of these.")
    unknown = Text("There is no adapter '{given}' here. Accepted: {known}. Choose one of these.")
    none = Text("none")
    closed = Text(
        "Adapters may not be changed from here. Accepted: a request with a key, or one from this machine and no page "
        "elsewhere. Start the server with a key."
    )
    done = Text("'{name}' answers now.")
    gone = Text("'{name}' answers no more.")
    strange = Text("'{given}' is no name for a model. Accepted: letters, digits and signs. Choose another.")


def install(app: FastAPI, service: Service, wrong: dict[int | str, dict[str, Any]]) -> None:
    """Add both paths."""
    engine = service.engine

    @app.post("/v1/load_lora_adapter", responses=wrong)
    async def load(asked: AdapterRequest, request: Request) -> Response:
        """Answer to one more name: what a run has trained. Only with a key, or from this machine."""
        if refusal := _refusal(service, request):
            return refusal
        name = asked.lora_name
        if not name.isprintable() or name != name.strip():
            raise UserError(Say.strange(given=plain(name)), key="lora_name")
        async with service.adapting:
            if name in engine.models or name == service.rules.base_name:
                raise UserError(Say.taken(given=plain(name)), key="lora_name")
            assert service.rules.adapter is not None
            folder = await run_in_threadpool(service.rules.adapter, name, asked.lora_path or name)
            await run_in_threadpool(engine.add, name, folder)
        return errors.respond(200, {"message": str(Say.done(name=name)), "models": list(engine.models)})

    @app.post("/v1/unload_lora_adapter", responses=wrong)
    async def unload(asked: AdapterRequest, request: Request) -> Response:
        """Answer to a name no more, once its answers are done. Only with a key, or from this machine."""
        if refusal := _refusal(service, request):
            return refusal
        name = asked.lora_name
        async with service.adapting:
            known = [one for one in engine.models if one != BASE]
            shown = ", ".join(known) or str(Say.none())
            if name in (BASE, service.rules.base_name):
                raise UserError(Say.base(given=plain(name), known=shown), key="lora_name")
            if name not in known:
                raise UnknownModel(Say.unknown(given=plain(name), known=shown), key="lora_name")
            await run_in_threadpool(engine.remove, name)
        return errors.respond(200, {"message": str(Say.gone(name=name)), "models": list(engine.models)})


def _refusal(service: Service, request: Request) -> Response | None:
    """Why this request may not change what is loaded. A page of another machine can reach a server of this one."""
    if not service.rules.keys and not (service.rules.local and _from_here(request)):
        return errors.refuse(403, Problem(Say.closed()), "forbidden")
    if "adapters" in service.engine.lacks or service.rules.adapter is None:
        raise Unsupported(Say.fixed(), key="lora_name")
    return None


def _from_here(request: Request) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return True
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False
