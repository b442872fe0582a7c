"""What was exported, loaded in a process of its own and asked: with nothing of ours, and with llama.cpp."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from workbench import runs
from workbench.engines import Sampling
from workbench.specs import ServeSpec, read_flat
from workbench.talk import ask
from workbench.workspace import Workspace

ASKED = "What is your name?"
LONGEST = 200
LOADED_S = 180
PLAIN = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, base = sys.argv[1:3]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(base or folder, dtype="float32")
if base:
    from peft import PeftModel
    model = PeftModel.from_pretrained(model, folder)
messages = [{"role": "user", "content": sys.argv[3]}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**ids, max_new_tokens=200, do_sample=False)[0, ids["input_ids"].shape[1]:]
print(json.dumps([tokenizer.decode(answer, skip_special_tokens=True), len(answer), ids["input_ids"][0].tolist()]))
"""
"""Nothing of ours: the folder as anybody loads it."""


def ask_plain(folder: Path, base: Path | None) -> tuple[str, int, list[int]]:
    """What a merged folder, or an adapter on ``base``, answers in plain transformers, in how many tokens; the prompt's tokens."""
    command = [sys.executable, "-I", "-c", PLAIN, str(folder), str(base or ""), ASKED]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=True)
    said, count, tokens = json.loads(done.stdout.splitlines()[-1])
    return said, count, tokens


def ask_llamacpp(home: Workspace, folder: Path) -> str:
    """What the GGUF file in a folder answers in llama.cpp."""
    (file,) = folder.glob("*.gguf")
    with served(home, model_name_or_path=str(file.relative_to(home.root)), infer_backend="llamacpp") as url:
        return "".join(ask(url, "base", [{"role": "user", "content": ASKED}], Sampling(max_tokens=80, temperature=0)))


@contextmanager
def served(home: Workspace, **values: Any) -> Iterator[str]:
    """The URL of a server of the workbench's own."""
    server = runs.create(home, read_flat(ServeSpec, values).unwrap())
    server.start()
    deadline = time.monotonic() + LOADED_S
    try:
        while (ready := server.view().ready) is None:
            assert server.state() == "running" and time.monotonic() < deadline, server.log_tail()
            time.sleep(0.2)
        yield ready.url
    finally:
        server.stop()
        server.wait(20)


def rendered(url: str) -> list[int]:
    answer = httpx.post(f"{url.removesuffix('/v1')}/tokenize", json={"messages": [{"role": "user", "content": ASKED}]}, timeout=60)
    return list(answer.json()["tokens"])
