"""The Export tab in a real browser: a run's adapter goes home in two formats, is proved, chatted with, and served."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Page, expect
from safetensors.numpy import save_file

from tests.browser.conftest import Window, free_port, picture
from tests.browser.test_train import choose, type_into
from tests.test_chatting import tuned_run
from tests.tiny import HEADS, HIDDEN, KEY_HEADS, LAYERS
from workbench.exporting.proof import read_proof
from workbench.runs import Run, list_runs

pytestmark = pytest.mark.browser
Visit = Callable[..., Page]
RANK = 4
PROVED = {"en-US": "proved", "zh-CN": "已验证"}


def lay_adapter(folder: Path) -> None:
    """A LoRA adapter of the tiny model with random weights, as PEFT writes it."""
    random, sizes = np.random.default_rng(7), {"q_proj": HIDDEN, "v_proj": HIDDEN // HEADS * KEY_HEADS}
    weights = {}
    for layer in range(LAYERS):
        for name, size in sizes.items():
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{stem}.lora_A.weight"] = random.normal(0, 0.1, (RANK, HIDDEN)).astype("float32")
            weights[f"{stem}.lora_B.weight"] = random.normal(0, 0.1, (size, RANK)).astype("float32")
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "base_model_name_or_path": "models/tiny", "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 8,
        "lora_dropout": 0.0, "bias": "none", "target_modules": sorted(sizes),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")


@pytest.fixture
def trained(shared: Window) -> Iterator[Run]:
    """A run with an adapter that can really be loaded."""
    values = {"name": "Aurora", "author": "Starlight"}
    run = tuned_run(shared.workspace, "my-run", dataset=["identity_en"], dataset_values=values, template="default")
    lay_adapter(run.folder)
    yield run
    for left in shared.workspace.models.glob("my-run-*"):
        shutil.rmtree(left)


def open_export(page: Page) -> None:
    page.locator("#tabs [role=tab]").nth(4).click()
    expect(page.locator("#export-start")).to_be_visible()


def go_to(page: Page, name: str) -> None:
    page.locator(f"#export-where input[value={name}]").check(force=True)


def ask_little(page: Page) -> None:
    """Two short answers are proof enough here."""
    page.locator("#export-more > button").click()
    page.locator("#export-section-exporting > button").click()
    type_into(page, "export-proof_prompts", "Who are you?\nWhat is <b>bold</b>?")
    type_into(page, "export-proof_tokens", "8")


def wait_end(page: Page, state: str = "finished") -> None:
    expect(page.locator(f'#exported .evaluated[data-state="{state}"]')).to_be_visible(timeout=120_000)


@pytest.mark.parametrize("locale", ["en-US", pytest.param("zh-CN", marks=pytest.mark.proof)])
def test_a_run_goes_home_is_proved_talked_to_and_served(shared: Window, trained: Run, visit: Visit, locale: str) -> None:
    page = visit(shared.url, locale=locale)
    page.locator("#export-it").click()
    expect(page.locator("#export-who input")).to_have_value("my-run  ·  tiny")
    expect(page.locator("#field-template input")).to_have_value("default")
    expect(page.locator("#exported .empty")).to_be_visible()
    go_to(page, "folder")
    choose(page, "export-export_format", "adapter")
    ask_little(page)
    expect(page.locator("#export-plan .plan.ready")).to_contain_text("models/my-run-adapter")
    page.locator("#export-start").click()
    page.wait_for_selector("#exported .chip")
    page.reload()
    open_export(page)
    wait_end(page)
    read_adapter(page, shared, locale)
    go_to(page, "client")
    choose(page, "export-who", "my-run  ·  tiny")
    ask_little(page)
    expect(page.locator("#export-gguf_kind input")).to_have_value("q8_0")
    expect(page.locator("#export-plan .plan.ready")).to_contain_text("models/my-run-gguf")
    page.locator("#export-start").click()
    expect(page.locator("#export-picker input")).to_have_value(re.compile("^my-run-gguf-"))
    expect(page.locator("#exported .name")).to_contain_text("/my-run-gguf-")
    wait_end(page)
    expect(page.locator("#exported .proof .light")).to_be_visible()
    expect(page.locator("#exported .guide")).to_contain_text(".gguf")
    talk_and_serve(page)


def read_adapter(page: Page, window: Window, locale: str) -> None:
    """The verdict, an answer of both sides, the files."""
    proof = read_proof(window.workspace.models / "my-run-adapter")
    assert proof is not None and proof.proved, [proof.reasons, proof.compared] if proof else None
    assert len(proof.compared) == 2
    light = page.locator("#exported .proof .light")
    expect(light).to_have_class("light green")
    expect(light).to_have_text(PROVED[locale])
    prompt = page.locator("#exported .proof details").nth(1)
    expect(prompt).to_contain_text("What is <b>bold</b>?")
    prompt.locator("summary").click()
    expect(prompt.locator("dd")).to_have_count(2)
    expect(page.get_by_role("rowheader", name="adapter_model.safetensors")).to_be_visible()
    assert all(len(told) > 5 for told in page.locator("#exported .guide td:last-child").all_inner_texts())
    expect(page.locator("#exported .uses .typed").first).to_contain_text("--enable-lora")
    picture(page, f"export_{locale[:2]}")


def talk_and_serve(page: Page, run: str = "my-run") -> None:
    """Chat with the run's file, then open the API on it, and call it as a client does."""
    page.locator("#exported button[data-action=chat]").click()
    expect(page.locator('#chat-status .live[data-condition="ready"]')).to_contain_text(f"{run}-", timeout=60_000)
    expect(page.locator("#who input")).to_have_value(re.compile("gguf$"))
    page.locator("#chat-box textarea").fill("Who are you?")
    page.locator("#chat-send").click()
    expect(page.locator("#pane-0 .facts, #speaker-0 .facts").first).to_be_attached(timeout=60_000)
    page.locator("#chat-api > button").click()
    port = free_port()
    type_into(page, "field-api_port", str(port))
    open_export(page)
    page.locator("#exported button[data-action=api]").click()
    expect(page.locator("#api-state code.name")).to_have_text(f"http://127.0.0.1:{port}/v1", timeout=60_000)
    asked = {"model": "base", "messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 4}
    told = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=asked, timeout=60).json()
    assert told["usage"]["completion_tokens"] > 0 and told["choices"][0]["message"]["role"] == "assistant"


def test_only_what_counts_at_the_destination_is_seen_and_asked_for(shared: Window, trained: Run, visit: Visit) -> None:
    page = visit(shared.url)
    open_export(page)
    choose(page, "export-who", "my-run  ·  tiny")
    type_into(page, "export-ollama_name", "aurora")
    expect(page.locator("#export-plan")).to_contain_text("'aurora'")
    expect(page.locator("#export-export_format")).to_be_hidden()
    expect(page.locator("#export-gguf_kind input")).to_have_value("q4_k_m")
    go_to(page, "hub")
    expect(page.locator("#export-export_hub_model_id")).to_be_visible()
    expect(page.locator("#export-ollama_name")).to_be_hidden()
    expect(page.locator("#export-gguf_kind")).to_be_hidden()
    go_to(page, "vllm")
    expect(page.locator("#export-export_dtype")).to_be_visible()
    type_into(page, "export-export_dir", "../elsewhere")
    page.locator("#export-start").click()
    expect(page.locator("#export-export_dir.wrong")).to_contain_text("../elsewhere")
    type_into(page, "export-export_dir", "")
    page.locator("#export-preview").click()
    panel = page.locator("#export-preview-panel")
    expect(panel).to_contain_text("export_format: merged")
    expect(panel).to_contain_text("python app.py export spec.yaml")
    expect(panel).not_to_contain_text("aurora")
    assert list_runs(shared.workspace, "export") == []
