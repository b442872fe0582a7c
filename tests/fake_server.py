"""A server that speaks as vLLM and SGLang do and holds no model: it counts. ``python fake_server.py NAME ARGUMENTS ...``

The answer to a prompt is "1 2 3 ..." up to max_tokens; the first of its tokens is the prompt's length.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SEEN = "FAKE_SERVER_SEEN"
"""Variable with the file to which it writes what it was started with and asked for, a line of JSON each."""


def note(**what: Any) -> None:
    with Path(os.environ[SEEN]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(what) + "\n")


def likely(prompt: list[int], others: int) -> list[Any]:
    """What vLLM tells of a prompt: of each token but the first its rank, here its last digit, and the likelier ones."""
    told: list[Any] = [None]
    for token in prompt[1:]:
        ranks = {token: token % 10 + 1, **{1000 + rank: rank for rank in range(1, min(others, token % 10) + 1)}}
        told.append({str(one): {"logprob": -float(rank), "rank": rank, "decoded_token": "x"} for one, rank in ranks.items()})
    return told


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        note(path=self.path, key=self.headers["Authorization"], **body)
        if body.get("lora_name") == "bad" or body.get("model") == "unknown":
            self.answer(400, {"error": {"message": "no such adapter"}})
        elif "prompt_logprobs" in body:
            self.answer(200, {"choices": [{"text": "1", "prompt_logprobs": likely(body["prompt"], body["prompt_logprobs"])}]})
        elif self.path != "/v1/completions":
            self.answer(200, "Success")
        else:
            self.stream(body)

    def answer(self, status: int, what: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(what).encode())

    def stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        count = body["max_tokens"]
        try:
            for at in range(1, count + 1):
                if at > 20:
                    time.sleep(0.01)
                token = len(body["prompt"]) if at == 1 else at
                chances = {"tokens": [f"token_id:{token}"], "token_logprobs": [-0.5], "top_logprobs": [{"token_id:9": -0.1}]}
                choice = {"text": f"{at} ", "finish_reason": "length" if at == count else None}
                self.say({"choices": [{**choice, "logprobs": chances if "logprobs" in body else None}]})
            self.say({"choices": [], "usage": {"completion_tokens": count}})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            note(left=at)

    def say(self, event: Any) -> None:
        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())


class Server(ThreadingHTTPServer):
    request_queue_size = 64  # with five, the usual number, a busy machine turns away some of those who come at once


def main(words: list[str]) -> None:
    note(started=words)
    if "--fail" in words:
        print("loading\nCUDA out of memory", file=sys.stderr)
        sys.exit(3)
    Server(("127.0.0.1", int(words[words.index("--port") + 1])), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
