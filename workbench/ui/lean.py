"""What costs Gradio's page most of its time is left out of its scripts as they are served. Knows no tab.

Gradio 6.31 builds the tree of components when the page is mounted, and again in an effect that is there for a reload while a
program is written (``reload_count``), but runs for the first time at once. For each component it looks through all events, and for
each event through all components. With this page's hundreds of both that was a good third of the time until it could be used.
Where a script reads otherwise than expected, as in another release, that part of it is served as it is.
"""

import re
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import gradio

ASSETS = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
EDITS: Sequence[tuple[str, re.Pattern[str], str]] = (
    # The effect that builds all anew waits for a reload.
    (
        "Blocks-*.js",
        re.compile(r"(?<=\(\(\)=>\{)([\w$]+\(\))(?=,[\w$]+\(\(\)=>\{[\w$]+\.reload\()"),
        r"if(!\1)return;void 0",
    ),
    # Where an event has no arguments of its own, its targets are not looked for to set none of them.
    (
        "Blocks-*.js",
        re.compile(r"(async set_event_args\([\w$]+,([\w$]+)\)\{)"),
        r"\1if(!Object.keys(\2).length)return()=>{};",
    ),
    # The events that begin at a component are known (static/attached.js).
    (
        "core-*.js",
        re.compile(r"(find_attached_events\(([\w$]+),([\w$]+)\)\{)"),
        r"\1\3=globalThis.attachedTo?.(\3,\2.id)??\3;",
    ),
    # Who tells its own state is not looked for in the tree.
    (
        "core-*.js",
        re.compile(r"(get_state\([\w$]+\)\{let ([\w$]+)=[^;]*?,[\w$]+=)(?=[\w$]+\(this\.root,)"),
        r"\1\2?null:",
    ),
)
"""Names of files, what is looked for in them, and what stands there instead. None changes what the script does."""


@cache
def scripts() -> dict[str, bytes]:
    """What is served otherwise, by the end of its address."""
    found = {}
    for file in (file for names in {names for names, _, _ in EDITS} for file in ASSETS.glob(names)):
        text = file.read_text("utf-8")
        for _, wanted, instead in (edit for edit in EDITS if file.match(edit[0])):
            if len(wanted.findall(text)) == 1:
                text = wanted.sub(instead, text)
        found[f"/assets/{file.name}"] = text.encode()
    return found


class Lean:
    """The ASGI middleware that serves these."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        body = next((text for end, text in scripts().items() if path.endswith(end)), None)
        if body is None:
            await self._app(scope, receive, send)
            return
        # Another program of Gradio's may have stood at this address, so a browser asks whether what it keeps is this one.
        tag = f'"{sha256(body).hexdigest()[:16]}"'.encode()
        known = dict(scope["headers"]).get(b"if-none-match") == tag
        length = b"0" if known else str(len(body)).encode()
        headers = [(b"content-type", b"text/javascript; charset=utf-8"), (b"content-length", length)]
        headers += [(b"etag", tag), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": 304 if known else 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if known or scope["method"] == "HEAD" else body})
