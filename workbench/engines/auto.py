"""The engine that chooses another, and says why. Knows the others by the names of their plugins alone."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from workbench import engines
from workbench.engines import Engine, EngineSpec, Opening
from workbench.gguf.reading import is_gguf
from workbench.gguf.writing import supported
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.text import Message, Text


class Say:
    file = Text("Engine auto: llamacpp, since the model is a GGUF file.")
    card = Text("Engine auto: transformers, since there is a card and vLLM is not installed.")
    card_vllm = Text("Engine auto: vllm, since there is a card and vLLM is installed.")
    fast = Text("Engine auto: llamacpp, since there is no CUDA, where llama.cpp is usually the faster one.")
    no_package = Text("Engine auto: transformers, since xllamacpp is not installed.")
    no_family = Text("Engine auto: transformers. llama.cpp would be faster, but: {reason}")


class Spec(EngineSpec):
    """Auto"""

    infer_backend: Literal["auto"] = "auto"


def open(spec: Spec, opening: Opening) -> Engine:
    """The engine that suits the machine and the model, with its usual settings."""
    name, why = choose(opening.folder())
    opening.note(why)
    module = plugins(engines)[name]
    return module.open(module.Spec(), opening)


def choose(folder: Path) -> tuple[str, Message]:
    """The plugin's name, and why."""
    if is_gguf(folder):
        return "llamacpp", Say.file()
    if _has_cuda():
        has_vllm = shutil.which("vllm", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
        return ("vllm", Say.card_vllm()) if has_vllm else ("transformers", Say.card())
    if find_spec("xllamacpp") is None:
        return "transformers", Say.no_package()
    try:
        supported(folder)
    except UserError as error:
        return "transformers", Say.no_family(reason=error.problems[0].message)
    return "llamacpp", Say.fast()


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
