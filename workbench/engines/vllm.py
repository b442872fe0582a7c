"""The engine of vLLM: a server in a process of its own, where vLLM is installed. Knows no HTTP of ours and no run."""

import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from workbench.engines import BASE, Engine, EngineSpec, Opening
from workbench.fields import Ui
from workbench.neighbours.process import Neighbour, watched
from workbench.neighbours.serving import HOST, Manners, Served, check_adapters, flags, free_port
from workbench.neighbours.wire import Wire
from workbench.problems import UserError
from workbench.text import Text

NAME = "vLLM"
MANNERS = Manners(
    name=NAME,
    lacks=frozenset({"embeddings"}),
    health="/health",
    load="/v1/load_lora_adapter",
    unload="/v1/unload_lora_adapter",
    who=lambda model: {"model": model},
)


class Say:
    missing = Text(
        "There is no program named vllm. The engine vllm needs it. Install it with 'pip install vllm', or choose another engine."
    )


class Spec(EngineSpec):
    """vLLM"""

    infer_backend: Literal["vllm"] = "vllm"
    vllm_maxlen: Annotated[int, Field(ge=1), Ui("Context")] = 4096
    """Most tokens of prompt and answer together. Usual: 2048 to 32768."""
    vllm_gpu_util: Annotated[float, Field(gt=0, le=1), Ui("Share of the card")] = 0.7
    """Share of each card's memory that vLLM takes. Usual: 0.7 to 0.9."""
    vllm_enforce_eager: Annotated[bool, Ui("No CUDA graphs")] = False
    """Compute step by step. Starts sooner and takes less memory, answers more slowly."""
    vllm_max_lora_rank: Annotated[int, Field(ge=1), Ui("Largest LoRA rank")] = 32
    """Adapters of higher ranks are refused. Usual: 8 to 64."""
    vllm_config: Annotated[dict[str, str], Ui("More for vLLM")] = {}
    """Further arguments of vllm serve, such as dtype with half, or quantization with awq. They win over the fields above."""


def open(spec: Spec, opening: Opening) -> Engine:
    """Start vLLM and wait until it answers."""
    program = shutil.which("vllm", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if program is None:
        raise UserError(Say.missing(), key="infer_backend")
    check_adapters(opening.adapters, NAME)
    port, key = free_port(), secrets.token_urlsafe(24)
    command = [program, "serve", str(opening.folder()), "--host", HOST, "--port", str(port), *_arguments(spec, opening)]
    secret = {"VLLM_API_KEY": key, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
    wire, process = Wire(NAME, f"http://{HOST}:{port}", key), Neighbour(NAME, watched(command), env=secret)
    try:
        return Served(opening, MANNERS, process, wire, int(spec.vllm_config.get("max_model_len", spec.vllm_maxlen)))
    except BaseException:
        wire.close()
        process.end()
        raise


def _arguments(spec: Spec, opening: Opening) -> list[str]:
    told = {
        "served_model_name": BASE,
        "max_model_len": str(spec.vllm_maxlen),
        "gpu_memory_utilization": str(spec.vllm_gpu_util),
        "enforce_eager": str(spec.vllm_enforce_eager),
        "trust_remote_code": str(opening.trust_remote_code),
        "enable_lora": "true",
        "max_lora_rank": str(spec.vllm_max_lora_rank),
        **spec.vllm_config,
    }
    modules = [f"{name}={folder}" for name, folder in opening.adapters.items()]
    return [*flags(told), *(["--lora-modules", *modules] if modules else [])]
