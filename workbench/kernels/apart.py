"""Rows of a batch in one line without padding, each attending to itself alone. Knows transformers' attention functions.

Rows of unlike length in one batch are otherwise padded to the longest, and everything is computed for the padding too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from workbench.kernels.products import computed_in

NAME = "apart"
SHORT = 256
"""Up to so many tokens attention in bf16 is computed by whole products and its chances are remembered: torch's own, made for long
texts, takes five times as long at 160 tokens."""
ALIKE = (0.15, 1e-3)
"""How far rows in one line may lie from the same rows one by one, as a share, in half precision and in fp32. Roundings of some thirty
layers come to 0.05 in bf16, a row that sees another to 0.6 and more."""
UNTRAINED = -100


@dataclass(frozen=True)
class Flat:
    """A batch as a model's inputs, and where its learned places are."""

    inputs: Mapping[str, Any]
    learned: Any
    """Of which places the next word is learned, shaped as the inputs: boolean."""
    right: Any
    """These words, in order."""
    label_mask: Any
    """The same places in the batch as it was given, (rows, length)."""


def flatten(named: Mapping[str, Any], apart: bool) -> Flat | None:
    """The inputs of a call with labels; None where it says both what is padding and where each token stands."""
    import torch

    ids, mask, places = named["input_ids"], named.get("attention_mask"), named.get("position_ids")
    following = torch.nn.functional.pad(named["labels"][:, 1:], (0, 1), value=UNTRAINED)
    if mask is not None and places is not None:
        return None
    if not apart:
        learned = following != UNTRAINED
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": places}
        return Flat({name: one for name, one in given.items() if one is not None}, learned, following[learned], learned)
    there = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    if places is None:
        lengths = [length for length in there.sum(1).tolist() if length]
    else:
        starts = [*(places.reshape(-1) == 0).nonzero().squeeze(1).tolist(), places.numel()]
        lengths = [end - start for start, end in zip(starts, starts[1:], strict=False)]
    following = following.masked_fill(~there, UNTRAINED)
    learned = following != UNTRAINED
    line = {
        "input_ids": ids[there][None],
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool),  # of four sides, so that transformers makes none of its own
        "segments": lengths,
    }
    return Flat(line, learned[there][None], following[learned], learned)


def keep_apart(model: Any) -> bool:
    """Let the model compute rows in one line; False where it can't, or would say something else then."""
    from peft import PeftModel
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    base = model.get_base_model() if isinstance(model, PeftModel) else model
    text = base.config.get_text_config()
    looks_back = {*(getattr(text, "layer_types", None) or ())} - {"full_attention"} or getattr(text, "sliding_window", None)
    if text._attn_implementation != "sdpa" or base.device.type != "cpu" or looks_back:
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    before = text._attn_implementation
    base.set_attn_implementation(NAME)
    if _says_the_same(model, base):
        return True
    base.set_attn_implementation(before)
    return False


def _says_the_same(model: Any, base: Any) -> bool:
    """Whether two short rows in one line give what they give one by one: the segments reach the attention, and nothing else mixes."""
    import torch

    learning = model.training
    model.eval()
    rows = [torch.arange(3, 3 + length)[None] for length in (5, 4)]
    labels = torch.cat(rows, 1)
    try:
        with torch.no_grad():
            one_by_one = torch.cat([base.base_model(input_ids=row, use_cache=False).last_hidden_state for row in rows], 1)
            places = torch.cat([torch.arange(row.shape[1]) for row in rows])[None]
            flat = flatten({"input_ids": labels, "position_ids": places, "labels": labels}, True)
            assert flat is not None
            together = base.base_model(**flat.inputs, use_cache=False).last_hidden_state
    except (TypeError, ValueError, RuntimeError):  # a model that takes no segments, or no mask of four sides
        return False
    finally:
        model.train(learning)
    return bool((together - one_by_one).norm() <= ALIKE[one_by_one.dtype == torch.float32] * one_by_one.norm())


def attend(
    module: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float = 0.0, scaling: float | None = None,
    segments: Sequence[int] = (), **named: Any,
) -> Any:  # fmt: skip
    """An attention function of transformers. ``segments``: how long the rows of the one line are; without them as sdpa."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if not segments:
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **named)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = computed_in(query)
    parts = [one.to(kind).split(list(segments), 2) for one in (query, key, value)]
    said = [_one(asked, keys, values, scale, dropout) for asked, keys, values in zip(*parts, strict=True)]
    return torch.cat(said, 2).transpose(1, 2).contiguous(), None


def _one(query: Any, key: Any, value: Any, scale: float, dropout: float) -> Any:
    """Causal attention of one row: query (1, heads, length, size), key and value with as many heads or a divisor of them."""
    import torch

    if query.dtype == torch.bfloat16 and query.shape[2] <= SHORT and not dropout:
        return _step().apply(query, key, value, scale)
    return torch.nn.functional.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
    )


@cache
def _step() -> type[Any]:
    import torch

    class ShortAttention(torch.autograd.Function):
        """By whole products. Heads of queries that share one of keys stand one below the other."""

        @staticmethod
        def forward(ctx: Any, query: Any, key: Any, value: Any, scale: float) -> Any:
            _, heads, length, size = query.shape
            shared, keys, values = heads // key.shape[1], key[0], value[0]
            asked = query.reshape(-1, shared * length, size)
            chances = torch.baddbmm(_later(length, shared, query.dtype), asked, keys.transpose(1, 2), alpha=scale)
            torch._softmax(chances, -1, False, out=chances)
            ctx.save_for_backward(asked, keys, values, chances)
            ctx.scale = scale
            return (chances @ values).view(1, heads, length, size)

        @staticmethod
        def backward(ctx: Any, slope: Any) -> Any:
            asked, keys, values, chances = ctx.saved_tensors
            slopes = slope.reshape(asked.shape)
            of_chances = slopes @ values.transpose(1, 2)
            of_scores = torch._softmax_backward_data(of_chances, chances, -1, chances.dtype).mul_(ctx.scale)
            of_query = (of_scores @ keys).view(slope.shape)
            return of_query, (of_scores.transpose(1, 2) @ asked)[None], (chances.transpose(1, 2) @ slopes)[None], None

    return ShortAttention


@cache
def _later(length: int, shared: int, kind: Any) -> Any:
    """What hides later places: (1, shared * length, length) of 0 and minus infinity."""
    import torch

    return torch.full((length, length), -torch.inf, dtype=kind).triu(1).repeat(shared, 1)[None]
