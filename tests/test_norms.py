"""Norms in fewer steps: the same as the model's own, of whoever computes them the plain way, and as they were in others."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from workbench.engines.transformers.norms import slim


class Holder(torch.nn.Module):
    """A model of one norm."""

    def __init__(self, norm: torch.nn.Module, dtype: Any) -> None:
        super().__init__()
        self.norm, self.device, self.dtype = norm.to(dtype), torch.device("cpu"), dtype


def is_lean(norm: torch.nn.Module) -> bool:
    return type(norm).__name__.startswith("Lean")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen3RMSNorm])
def test_the_same_numbers(kind: type[Any], dtype: Any) -> None:
    torch.manual_seed(0)
    norm = kind(96, eps=1e-5)
    torch.nn.init.normal_(norm.weight, 1, 0.3)
    plain, lean = copy.deepcopy(norm).to(dtype), slim(Holder(norm, dtype)).norm
    assert is_lean(lean)
    given = torch.randn(3, 4, 96).mul(7).to(dtype)
    with torch.inference_mode():
        found, alone = lean(given), torch.cat([lean(row[None]) for row in given])
        assert torch.equal(found, alone)
        assert torch.allclose(plain(given).float(), found.float(), rtol=max(1e-5, torch.finfo(dtype).eps), atol=1e-6)


def test_a_copy_that_learned_has_weights_of_its_own() -> None:
    lean = slim(Holder(LlamaRMSNorm(8), torch.float32)).norm
    other = copy.deepcopy(lean)
    other.load_state_dict({"weight": torch.full((8,), 3.0)})
    given = torch.randn(2, 8)
    assert is_lean(other)
    assert torch.allclose(other(given), 3 * lean(given))


def test_other_kinds_stay() -> None:
    assert not is_lean(slim(Holder(GemmaRMSNorm(16), torch.float32)).norm)
    assert not is_lean(slim(Holder(LlamaRMSNorm(16), torch.float16)).norm)


def test_a_model_answers_the_same(tiny_model: Path) -> None:
    plain, lean = (AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval() for _ in range(2))
    assert any(map(is_lean, slim(lean).modules()))
    ids = torch.arange(20).reshape(2, 10)
    with torch.inference_mode():
        assert torch.allclose(plain(input_ids=ids).logits, lean(input_ids=ids).logits, atol=1e-5, rtol=0)
