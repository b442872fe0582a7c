"""The engine of SGLang: a server in a process of its own, where SGLang is installed. Knows no HTTP of ours and no run."""

import secrets
import sys
from typing import Annotated, Literal

from pydantic import Field

from workbench.engines import BASE, Engine, EngineSpec, Opening
from workbench.fields import Ui
from workbench.neighbours.installed import require
from workbench.neighbours.process import Neighbour, watched
from workbench.neighbours.serving import HOST, Manners, Served, check_adapters, flags, free_port
from workbench.neighbours.wire import Wire
from workbench.text import Text

NAME = "SGLang"
MANNERS = Manners(
    name=NAME,
    lacks=frozenset({"seed", "logit_bias", "logprobs", "embeddings", "score"}),
    health="/health",
    load="/load_lora_adapter",
    unload="/unload_lora_adapter",
    who=lambda model: {"model": BASE} if model == BASE else {"model": BASE, "lora_path": model},
)


class Say:
    why = Text("to answer with SGLang")


class Spec(EngineSpec):
    """SGLang"""

    infer_backend: Literal["sglang"] = "sglang"
    sglang_maxlen: Annotated[int, Field(ge=1), Ui("Context")] = 4096
    """Most tokens of prompt and answer together. Usual: 2048 to 32768."""
    sglang_mem_fraction: Annotated[float, Field(gt=0, le=1), Ui("Share of the card")] = 0.7
    """Share of each card's memory that SGLang takes. Usual: 0.7 to 0.9."""
    sglang_tp_size: Annotated[int, Field(ge=-1), Ui("Cards")] = -1
    """Over how many cards the model is spread. -1: all that are seen."""
    sglang_lora_backend: Annotated[Literal["triton", "flashinfer"], Ui("LoRA kernels")] = "triton"
    """What computes adapters."""
    sglang_config: Annotated[dict[str, str], Ui("More for SGLang")] = {}
    """Further arguments of sglang.launch_server, such as dtype with half. They win over the fields above."""


def open(spec: Spec, opening: Opening) -> Engine:
    """Start SGLang and wait until it answers."""
    require("sglang", Say.why)
    check_adapters(opening.adapters, NAME)
    port, key = free_port(), secrets.token_urlsafe(24)
    # Its key can only be given as an argument; the port is this machine's alone.
    command = [sys.executable, "-m", "sglang.launch_server", "--host", HOST, "--port", str(port), "--api-key", key]
    wire = Wire(NAME, f"http://{HOST}:{port}", key)
    process = Neighbour(NAME, watched([*command, *_arguments(spec, opening)]))
    try:
        return Served(opening, MANNERS, process, wire, int(spec.sglang_config.get("context_length", spec.sglang_maxlen)))
    except BaseException:
        wire.close()
        process.end()
        raise


def _arguments(spec: Spec, opening: Opening) -> list[str]:
    told = {
        "model_path": str(opening.folder()),
        "served_model_name": BASE,
        "context_length": str(spec.sglang_maxlen),
        "mem_fraction_static": str(spec.sglang_mem_fraction),
        "tp_size": str(_cards() if spec.sglang_tp_size == -1 else spec.sglang_tp_size),
        "trust_remote_code": str(opening.trust_remote_code),
        **({"enable_lora": "true", "lora_backend": spec.sglang_lora_backend} if opening.adapters else {}),
        **spec.sglang_config,
    }
    modules = [f"{name}={folder}" for name, folder in opening.adapters.items()]
    return [*flags(told), *(["--lora-paths", *modules] if modules else [])]


def _cards() -> int:
    import torch

    return max(1, torch.cuda.device_count())
