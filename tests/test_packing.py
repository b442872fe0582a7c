"""Packed linear layers: the same products, adapters over them, and plain copies for who lays own weights in."""

from pathlib import Path
from typing import Any

import pytest
import torch

from workbench.engines.transformers.packing import CROWD, pack

LIKE = {torch.float32: 1e-5, torch.bfloat16: 0.1}


def model(folder: Path, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def packed_names(given: Any) -> list[str]:
    return [name for name, part in given.named_modules() if type(part).__name__ == "PackedLinear"]


def logits(given: Any, rows: int) -> Any:
    ids = (torch.arange(rows * 5) % 50).reshape(rows, 5)
    with torch.inference_mode():
        return given(input_ids=ids).logits.float()


@pytest.mark.parametrize(("dtype", "rows", "all_of_them"), [
    (torch.bfloat16, 1, True), (torch.float32, 8, False), (torch.float32, CROWD, True)
])  # fmt: skip
def test_packed_layers_compute_the_same(tiny_model: Path, dtype: Any, rows: int, all_of_them: bool) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor computes no bf16")
    plain, packed = model(tiny_model, dtype), pack(model(tiny_model, dtype), rows)
    linear = [name for name, part in plain.named_modules() if isinstance(part, torch.nn.Linear)]
    assert packed_names(packed) == (linear if all_of_them else ["lm_head"])
    for count in (1, 8):
        assert torch.allclose(logits(plain, count), logits(packed, count), atol=LIKE[dtype], rtol=0)
    inside = packed.lm_head.weight
    assert inside.is_mkldnn is False and torch.equal(inside, plain.lm_head.weight)


def test_half_precision_is_left_as_it_is(tiny_model: Path) -> None:
    assert not packed_names(pack(model(tiny_model, torch.float16), CROWD))


@pytest.mark.parametrize("told", [{"use_dora": True}, {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}], ids=str)
def test_adapters_answer_the_same_over_packed_layers(tiny_model: Path, tmp_path: Path, told: dict[str, Any]) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False, **told)
    tuned = get_peft_model(model(tiny_model, torch.float32), config)
    if told.get("modules_to_save"):
        torch.nn.init.normal_(tuned.base_model.model.model.embed_tokens.modules_to_save.default.weight)
    tuned.save_pretrained(str(tmp_path))
    plain = PeftModel.from_pretrained(model(tiny_model, torch.float32), str(tmp_path)).eval()
    packed = PeftModel.from_pretrained(pack(model(tiny_model, torch.float32), CROWD), str(tmp_path)).eval()
    assert torch.allclose(logits(plain, 3), logits(packed, 3), atol=1e-4)
    assert not torch.allclose(logits(plain, 3), logits(model(tiny_model, torch.float32), 3), atol=1e-2)
