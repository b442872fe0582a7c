"""An Ollama that holds no model: it keeps blobs by their checksums, makes models of them, and answers with what it would read.

It behaves as the documentation of Ollama's API says. The answer to a chat is the prompt that the model's TEMPLATE makes.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gotpl import TemplateError

from tests.golang import read, rendered

DIGEST = re.compile(r"/api/blobs/(sha256:[0-9a-f]{64})")
NAME = re.compile(r"[\w][\w./:-]*", re.ASCII)


@dataclass
class Shop:
    """What the server holds and was asked, and how it misbehaves."""

    version: str = "0.14.2"
    fault: str = ""
    """full: no room for a blob; convert: an error in the midst of making a model; cut: it says no more there."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    chats: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


def handler(shop: Shop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(200, {"version": shop.version} if self.path == "/api/version" else {})

        def do_HEAD(self) -> None:
            shop.asked.append(("HEAD", self.path))
            found = DIGEST.fullmatch(self.path)
            self.send_response(200 if found and found[1] in shop.blobs else 404)
            self.end_headers()

        def do_POST(self) -> None:
            shop.asked.append(("POST", self.path))
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if found := DIGEST.fullmatch(self.path):
                self.keep(found[1], body)
            elif self.path == "/api/show":
                self.show(json.loads(body)["model"])
            elif self.path == "/api/create":
                self.create(json.loads(body))
            else:
                self.chat(json.loads(body))

        def show(self, asked: str) -> None:
            if asked.removesuffix(":latest") in {name.removesuffix(":latest") for name in shop.models}:
                self.answer(200, {"details": {}})
            else:
                self.answer(404, {"error": f"model '{asked}' not found"})

        def keep(self, digest: str, body: bytes) -> None:
            if shop.fault == "full":
                self.answer(500, {"error": f"write /models/blobs/{digest}: no space left on device"})
            elif f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
                self.answer(400, {"error": "digest mismatch"})
            else:
                shop.blobs[digest] = body
                self.answer(201, {})

        def create(self, asked: dict[str, Any]) -> None:
            files = {**asked.get("files", {}), **asked.get("adapters", {})}
            if not NAME.fullmatch(asked["model"]):
                self.answer(400, {"error": "invalid model name"})
            elif not asked.get("files"):
                self.answer(400, {"error": "neither 'from' or 'files' was specified"})
            elif any("/" in name or "\\" in name for name in files):
                self.answer(400, {"error": "file path must be relative"})
            elif missing := [digest for digest in files.values() if digest not in shop.blobs]:
                self.answer(500, {"error": f"open {missing[0]}: no such file or directory"})
            else:
                self.make(asked)

        def make(self, asked: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.end_headers()
            self.line({"status": "parsing GGUF"})
            if shop.fault == "convert":
                self.line({"error": "unsupported architecture"})
                return
            try:
                read(asked["template"])
            except TemplateError as error:
                self.line({"error": f"template error: {error}"})
                return
            self.line({"status": "creating new layer", "digest": "sha256:1", "total": 10, "completed": 5})
            if shop.fault == "cut":
                return
            shop.models[asked["model"]] = asked
            self.line({"status": "success"})

        def chat(self, asked: dict[str, Any]) -> None:
            shop.chats.append(asked)
            if asked["model"] not in shop.models:
                self.answer(404, {"error": f"model '{asked['model']}' not found"})
                return
            model = shop.models[asked["model"]]
            messages = asked["messages"]
            if model.get("system") and messages[0]["role"] != "system":
                messages = [{"role": "system", "content": model["system"]}, *messages]
            prompt = rendered(model["template"], messages, True)
            self.answer(200, {"model": asked["model"], "message": {"role": "assistant", "content": prompt}, "done": True})

        def line(self, said: dict[str, Any]) -> None:
            self.wfile.write(json.dumps(said).encode() + b"\n")

        def answer(self, status: int, said: dict[str, Any]) -> None:
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@contextmanager
def opened(**values: Any) -> Iterator[Shop]:
    """A running one."""
    shop = Shop(**values)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(shop)) as server:
        shop.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield shop
        finally:
            server.shutdown()
            thread.join()
