"""Programs that people use speak to the API as they speak to OpenAI's: openai for Python and Node, litellm, llm."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.serving import BASE, TUNED, USER, serving
from workbench.engines.echo import Echo

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent / "clients"
LITELLM = ("litellm==1.106.2", "mcp==2.3.0")
"""The second for the first, which wants it for tools without saying so."""
SCHEMATHESIS, NODE_OPENAI = "schemathesis==4.32.5", "openai@6.49.0"
INSTALL_S, ANSWER_S = 400, 300
TOOL: Any = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
}
CALL: Any = [{"role": "user", "content": 'call f {"a": 1}'}]


class Person(BaseModel):
    """What an answer is to be."""

    name: str
    age: int


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(Echo((BASE, TUNED), 0.0)) as url:
        yield url


def installed(folder: Path, *packages: str) -> Path:
    """The Python of a fresh environment with these packages; skipped where they can't be fetched."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        pytest.skip(f"{' '.join(packages)} can't be installed here: {done.stderr[-300:]}")
    return python


def told(*command: str, folder: Path | None = None, **variables: str) -> str:
    """What a program prints; all that went wrong when it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**clean, "PYTHONWARNINGS": "ignore", **variables}
    done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, env=environment, cwd=folder)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class TestOpenAI:
    @pytest.fixture
    def client(self, server: str) -> Iterator[Any]:
        openai = pytest.importorskip("openai", reason="the package openai is not installed: requirements-dev.txt has it")
        with openai.OpenAI(base_url=f"{server}/v1", api_key="any") as client:
            yield client

    def test_models(self, client: Any) -> None:
        assert [model.id for model in client.models.list()] == [BASE, TUNED]
        assert client.models.retrieve(TUNED).id == TUNED

    def test_chat_and_usage(self, client: Any) -> None:
        answer = client.chat.completions.create(model=BASE, messages=USER, seed=1, temperature=0, max_completion_tokens=9)
        assert answer.choices[0].message.content == "base: hi there"
        assert answer.usage.model_dump(include={"prompt_tokens", "completion_tokens"}) == {
            "prompt_tokens": 2,
            "completion_tokens": 3,
        }
        raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=USER, n=2)
        assert raw.headers["X-Model"]
        assert len(raw.parse().choices) == 2

    def test_stream_with_usage_and_chances(self, client: Any) -> None:
        asked = {"stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 3}
        parts = list(client.chat.completions.create(model=BASE, messages=USER, stream=True, **asked))
        assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "base: hi there"
        assert parts[-1].usage.total_tokens == 5
        told = [part.choices[0].logprobs for part in parts if part.choices]
        assert [token.token for one in told if one for token in one.content] == ["base:", " hi", " there"]
        whole = client.chat.completions.create(model=BASE, messages=USER, logprobs=True, top_logprobs=3)
        assert [len(token.top_logprobs) for token in whole.choices[0].logprobs.content] == [3, 3, 3]

    def test_tools_there_and_back(self, client: Any) -> None:
        answer = client.chat.completions.create(model=BASE, messages=CALL, tools=[TOOL]).choices[0]
        assert answer.finish_reason == "tool_calls"
        [call] = answer.message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == ("f", {"a": 1})
        chat = [*CALL, answer.message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
        after = client.chat.completions.create(model=BASE, messages=chat, tools=[TOOL])
        assert after.choices[0].message.content == "base: 42"
        with client.chat.completions.stream(model=BASE, messages=CALL, tools=[TOOL]) as stream:
            final = stream.get_final_completion().choices[0]
        assert json.loads(final.message.tool_calls[0].function.arguments) == {"a": 1}
        assert final.finish_reason == "tool_calls"
        forced = client.chat.completions.create(model=BASE, messages=USER, tools=[TOOL], tool_choice="required")
        assert forced.choices[0].message.tool_calls[0].function.name == "f"

    def test_answers_of_a_schema(self, client: Any) -> None:
        parsed = client.chat.completions.parse(model=BASE, messages=USER, response_format=Person).choices[0].message.parsed
        assert parsed == Person(name="", age=0)
        with client.chat.completions.stream(model=BASE, messages=USER, response_format=Person) as stream:
            assert stream.get_final_completion().choices[0].message.parsed == Person(name="", age=0)

    def test_texts_and_vectors(self, client: Any) -> None:
        answer = client.completions.create(model=BASE, prompt=["a", "b"], logprobs=1, echo=False)
        assert [choice.text for choice in answer.choices] == ["base: a", "base: b"]
        assert answer.choices[0].logprobs.tokens == ["base:", " a"]
        assert client.embeddings.create(model=BASE, input="a b").data[0].embedding == [3.0, 1.0]
        numbers = client.embeddings.create(model=BASE, input=["a b"], encoding_format="float")
        assert numbers.data[0].embedding == [3.0, 1.0]

    def test_errors_are_those_of_the_package(self) -> None:
        openai = pytest.importorskip("openai", reason="the package openai is not installed: requirements-dev.txt has it")
        with serving(Echo((BASE,), 0.05), "key", any_model_name=False, max_requests=1) as url:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="key", max_retries=0)
            with pytest.raises(openai.AuthenticationError):
                openai.OpenAI(base_url=f"{url}/v1", api_key="wrong").models.list()
            with pytest.raises(openai.NotFoundError, match="There is no model"):
                client.chat.completions.create(model="gpt-4", messages=USER)
            with pytest.raises(openai.BadRequestError) as caught:
                client.chat.completions.create(model=BASE, messages=USER, logit_bias={"1": 1})
            assert (caught.value.code, caught.value.param) == ("unsupported", "logit_bias")
            long: Any = [{"role": "user", "content": "word " * 40}]
            with client.chat.completions.create(model=BASE, messages=long, stream=True) as stream:
                next(iter(stream))
                with pytest.raises(openai.RateLimitError):
                    client.chat.completions.create(model=BASE, messages=USER)
                patient = client.with_options(max_retries=5)
                assert patient.chat.completions.create(model=BASE, messages=USER).choices[0].finish_reason == "stop"
            client.close()
            patient.close()


def test_llm(server: str, tmp_path: Path) -> None:
    """Simon Willison's llm, as a person types it."""
    pytest.importorskip("llm", reason="the package llm is not installed: requirements-dev.txt has it")
    home = {"LLM_USER_PATH": str(tmp_path)}
    models = f"- model_id: ours\n  model_name: base\n  api_base: {server}/v1\n  supports_tools: true\n  supports_schema: true\n"
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    ask = (sys.executable, "-m", "llm", "-m", "ours", "--key", "any")
    assert told(*ask, "hi there", **home) == "base: hi there\n"
    assert told(*ask, "--no-stream", "-s", "be brief", "hi there", **home) == "base: hi there\n"
    assert json.loads(told(*ask, "--schema", "name, age int", "who?", **home)) == {"name": "", "age": 0}
    assert told(*ask, "-T", "llm_version", "call llm_version {}", **home).startswith("base: 0.")


@pytest.mark.proof  # its packages take minutes to install
def test_litellm(server: str, tmp_path: Path) -> None:
    python = installed(tmp_path / "venv", *LITELLM)
    assert told(str(python), str(HERE / "litellm_client.py"), server).endswith("all well\n")


def test_openai_for_node(server: str, tmp_path: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        pytest.skip("Node.js is not installed: it runs the openai package for JavaScript")
    shutil.copy(HERE / "openai_client.mjs", tmp_path)
    fetched = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", NODE_OPENAI], cwd=tmp_path, capture_output=True, timeout=INSTALL_S
    )
    if fetched.returncode:
        pytest.skip(f"{NODE_OPENAI} can't be fetched here: {fetched.stderr.decode(errors='replace')[-300:]}")
    assert told(node, "openai_client.mjs", server, folder=tmp_path).endswith("all well\n")


@pytest.mark.proof
def test_no_request_that_the_document_allows_breaks_the_server(tmp_path: Path) -> None:
    """Schemathesis makes them up, right ones and wrong ones; none may end in a status of 500 or more."""
    python = installed(tmp_path / "venv", SCHEMATHESIS)
    with serving(Echo((BASE, TUNED), 0.0)) as url:
        said = told(
            str(python), "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--checks", "not_a_server_error",
            "--max-examples", "60", "--mode", "all", "--seed", "1", "--no-color",
            folder=tmp_path,
        )  # fmt: skip
    counted = re.search(r"(\d+) generated, (\d+) passed", said)
    assert counted, said[-3000:]
    assert int(counted[1]) == int(counted[2]) > 1000
