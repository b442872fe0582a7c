"""Where a LoRA adapter begins when not at nothing: at directions of the weights themselves. Knows no spec.

With first matrices A0 and B0 the layer computes W x + s (B A - B0 A0) x, so that at the first step nothing has changed.
The base keeps its weights W: with the adapter off it is the model that was given, as a reference must be. What is saved
is an ordinary adapter of twice the rank, [B, -B0] and [A; A0], which loads and merges anywhere; its halves are the
adapter to go on from.
"""

from pathlib import Path
from typing import Any

SEED = 0
"""The quick search draws numbers; always the same ones, so that a run that resumes begins where it began."""


def begin_at(model: Any, start: str, rounds: int) -> None:
    """Let the PeftModel's new adapter begin at 'pissa' or 'olora', and let it save itself as said above."""
    import torch
    from peft.tuners.lora import LoraLayer

    for layer in model.modules():
        if isinstance(layer, LoraLayer) and "default" in layer.lora_A:
            first, second = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            weight = layer.get_base_layer().weight.detach().float()
            wide = weight.T if layer.fan_in_fan_out else weight
            inner, outer = _directions(wide, len(first), layer.scaling["default"], start, rounds)
            with torch.no_grad():
                found = len(inner)  # a layer narrower than the adapter has fewer; the rest begins at nothing
                first[:found].copy_(inner)
                second[:, :found].copy_(outer)
                second[:, found:] = 0
            _hold(layer, first, second)
    _save_as_plain(model)


def _directions(weight: Any, rank: int, scale: float, start: str, rounds: int) -> tuple[Any, Any]:
    """A0 of shape (rank, in) and B0 of shape (out, rank) for a weight of shape (out, in).

    olora: the first rows of R and columns of Q of the weight's QR decomposition, arXiv 2406.01775, section 3.
    pissa: A0 = S^1/2 V^T and B0 = U S^1/2 of the largest singular values, arXiv 2404.02948, equations 2 and 3, here
    over the root of the scale, so that s B0 A0 is the best approximation of that rank.
    """
    import torch

    if start == "olora":
        orthogonal, upper = torch.linalg.qr(weight)
        return upper[:rank], orthogonal[:, :rank]
    if rounds < 0:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        left, values, right = left[:, :rank], values[:rank], right[:rank]
    else:
        with torch.random.fork_rng([weight.device] if weight.device.type == "cuda" else []):
            torch.manual_seed(SEED)
            # Looking for twice as many finds the strongest better.
            left, values, turned = torch.svd_lowrank(weight, min(2 * rank, *weight.shape), niter=rounds)
        left, values, right = left[:, :rank], values[:rank], turned.T[:rank]
    root = (values / scale).sqrt()
    return root[:, None] * right, left * root


def _hold(layer: Any, first: Any, second: Any) -> None:
    """Keep the layer's matrices as its beginning, and take what they add off what its adapter adds."""
    layer.register_buffer("start_A", first.detach().clone(), persistent=False)
    layer.register_buffer("start_B", second.detach().clone(), persistent=False)
    _Less(layer, "default")


class _Less:
    """Takes s B0 A0 x off inside the adapter, on the input that dropout has left and before anything is rounded."""

    def __init__(self, layer: Any, adapter: str) -> None:
        self._layer, self._inner = layer, None
        layer.lora_A[adapter].register_forward_hook(self._first)
        layer.lora_B[adapter].register_forward_hook(self._second)

    def _first(self, matrix: Any, inputs: Any, output: Any) -> None:
        from torch.nn.functional import linear

        self._inner = linear(inputs[0], self._layer.start_A)

    def _second(self, matrix: Any, inputs: Any, output: Any) -> Any:
        from torch.nn.functional import linear

        inner, self._inner = self._inner, None
        return output - linear(inner, self._layer.start_B)


def _save_as_plain(model: Any) -> None:
    """Give this one PeftModel a saving that writes the plain adapter, and a loading that takes it apart again."""
    from peft import PeftModel

    class Doubled(PeftModel):
        def add_adapter(self, adapter_name: str, *rest: Any, **named: Any) -> None:
            # Preference trainers copy the adapter as their reference: a copy has the same beginning.
            super().add_adapter(adapter_name, *rest, **named)
            for layer in _layers(self).values():
                _Less(layer, adapter_name)

        def save_pretrained(self, save_directory: str, **named: Any) -> None:
            super().save_pretrained(save_directory, **{**named, "selected_adapters": ["default"]})
            _double(self, Path(save_directory))

        def load_adapter(self, model_id: Any, adapter_name: str, **named: Any) -> Any:
            if adapter_name != "default":
                return super().load_adapter(model_id, adapter_name, **named)
            return _halve(self, Path(model_id))

    model.__class__ = type(type(model).__name__, (Doubled, type(model)), {})


def _layers(model: Any) -> dict[str, Any]:
    """The layers with a beginning, under the names that their weights have in a file."""
    return {name.removeprefix("base_model.model."): layer for name, layer in model.named_modules()
            if "start_A" in dict(layer.named_buffers(recurse=False))}  # fmt: skip


def _double(model: Any, folder: Path) -> None:
    import torch
    from peft import LoraConfig
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    for name, layer in _layers(model).items():
        inner, outer = f"base_model.model.{name}.lora_A.weight", f"base_model.model.{name}.lora_B.weight"
        weights[inner] = torch.cat([weights[inner], layer.start_A.to(weights[inner]).cpu()], 0).contiguous()
        weights[outer] = torch.cat([weights[outer], -layer.start_B.to(weights[outer]).cpu()], 1).contiguous()
    save_file(weights, file, metadata={"format": "pt"})
    config = LoraConfig.from_pretrained(str(folder))
    # The scale stays what it was: alpha / rank, or alpha / root of the rank with rsLoRA.
    config.lora_alpha *= 2**0.5 if config.use_rslora else 2
    config.r *= 2
    config.save_pretrained(str(folder))


def _halve(model: Any, folder: Path) -> Any:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(folder / "adapter_model.safetensors")
    for name, layer in _layers(model).items():
        inner, outer = f"base_model.model.{name}.lora_A.weight", f"base_model.model.{name}.lora_B.weight"
        rank = len(layer.start_A)
        layer.start_A.copy_(weights[inner][rank:])
        layer.start_B.copy_(-weights[outer][:, rank:])
        weights[inner], weights[outer] = weights[inner][:rank], weights[outer][:, :rank]
    return set_peft_model_state_dict(model, weights, adapter_name="default")
