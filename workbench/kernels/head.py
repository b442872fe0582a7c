"""The last layer and the likelihoods of the right tokens, without logits of a whole batch. Knows trl's fused head, which it stands before.

Trl's own, without a card, computes every position, those of questions and padding too, and its sums in fp32 whatever the model's
numbers. Here only learned positions are computed. Where the last layer's weights stand still, what a likelihood passes back is
found in the same pass: the slope of log p[t] is W[t] - p W, times whatever the loss makes of it, so nothing is computed twice.
"""

from functools import cache, wraps
from typing import Any

from workbench.kernels.apart import Flat, flatten
from workbench.kernels.products import computed_in

UNTRAINED = -100
LOGITS_AT_ONCE = 1 << 24
"""Numbers of a part of the logits: few enough to be held beside a model, enough for a full product."""


@cache
def _step() -> type[Any]:
    import torch

    def parts(hidden: Any, weight: Any) -> Any:
        return range(0, len(hidden), max(1, LOGITS_AT_ONCE // len(weight)))

    class Likelihoods(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any, right: Any) -> Any:
            """hidden: (places, width), weight: (words, width), right: (places,) ids; log p in float32 and whether each was likeliest."""
            frozen = not ctx.needs_input_grad[1]
            logs = torch.empty(len(hidden), dtype=torch.float32)
            best = torch.empty(len(hidden), dtype=torch.bool)
            slopes = torch.empty_like(hidden) if frozen and ctx.needs_input_grad[0] else None
            step = parts(hidden, weight).step
            room = hidden.new_empty(min(step, len(hidden)), len(weight))
            for start in parts(hidden, weight):
                span = slice(start, start + step)
                wanted = right[span, None]
                logits = torch.mm(hidden[span], weight.t(), out=room[: len(wanted)])
                chosen, most = logits.gather(1, wanted), logits.amax(1, keepdim=True)
                best[span] = (chosen >= most).squeeze(1)
                if logits.dtype == torch.float32:
                    whole = logits.sub_(most).exp_().sum(1, keepdim=True)  # a sixteenth of logsumexp's time
                    logs[span] = (chosen - most - whole.log()).squeeze(1)
                else:
                    whole = 1  # summed in fp32, rounded once
                    torch._softmax(logits, 1, False, out=logits)
                    logs[span] = logits.gather(1, wanted).squeeze(1).float().log()
                if slopes is not None:
                    torch.sub(weight[right[span]], (logits @ weight).div_(whole), out=slopes[span])
            ctx.save_for_backward(*((slopes,) if frozen else (hidden, weight, right)))
            ctx.frozen = frozen
            ctx.mark_non_differentiable(best)
            return logs, best

        @staticmethod
        def backward(ctx: Any, slope: Any, _: Any) -> Any:
            if ctx.frozen:
                (slopes,) = ctx.saved_tensors
                return slopes * slope[:, None].to(slopes.dtype), None, None
            hidden, weight, right = ctx.saved_tensors
            back, moved = torch.empty_like(hidden), torch.zeros(weight.shape, dtype=torch.float32)
            step = parts(hidden, weight).step
            for start in parts(hidden, weight):
                span = slice(start, start + step)
                chances = (hidden[span] @ weight.t()).softmax(1).mul_(-slope[span, None])
                chances.scatter_add_(1, right[span, None], slope[span, None].to(chances.dtype))
                back[span] = chances @ weight
                moved += chances.t() @ hidden[span]
            return back, moved.to(weight.dtype), None

    return Likelihoods


def likelihoods(hidden: Any, weight: Any, right: Any) -> tuple[Any, Any]:
    """log p of each right word, float32, and whether it was the likeliest: both of shape (places,)."""
    logs, best = _step().apply(hidden, weight, right)
    return logs, best


def give_head(model: Any, apart: bool) -> None:
    """Let ``model(..., fused_lm_head=True)`` be computed here where that fits. ``apart``: rows are run together unpadded."""
    from peft import PeftModel
    from trl.trainer.utils import FusedCausalLMOutput

    base = model.get_base_model() if isinstance(model, PeftModel) else model
    plain = base.forward

    @wraps(plain)
    def forward(*rest: Any, **named: Any) -> Any:
        given = {name: one for name, one in named.items() if one is not None}  # peft names everything
        flat = None if rest or not fits(base, given) else flatten(given, apart)
        return plain(*rest, **named) if flat is None else computed(flat)

    def computed(flat: Flat) -> Any:
        hidden = base.base_model(**flat.inputs, use_cache=False).last_hidden_state
        kind = computed_in(hidden)
        logs, best = likelihoods(hidden[flat.learned].to(kind), base.get_output_embeddings().weight.to(kind), flat.right)
        found = logs.new_zeros(flat.label_mask.shape).masked_scatter(flat.label_mask, logs)
        top = best.new_zeros(flat.label_mask.shape).masked_scatter(flat.label_mask, best)
        return FusedCausalLMOutput(log_probs=found[:, :-1], is_top1=top[:, :-1], label_mask=flat.label_mask[:, :-1])

    base.forward = forward


def fits(base: Any, named: dict[str, Any]) -> bool:
    """Whether a call asks for likelihoods, and the model's last layer is a plain one over plain inputs."""
    import torch

    if not named.get("fused_lm_head") or "labels" not in named or set(named) - KNOWN:
        return False
    head, text = base.get_output_embeddings(), base.config.get_text_config()
    scaled = any(getattr(text, name, None) not in (None, False, 1.0) for name in SCALED)
    noisy = getattr(base.get_input_embeddings(), "neftune_noise_alpha", None) and base.training
    return type(head) is torch.nn.Linear and head.bias is None and not (scaled or noisy) and base.device.type == "cpu"


KNOWN = {"input_ids", "attention_mask", "position_ids", "labels", "use_cache", "return_dict", "fused_lm_head"}
SCALED = (
    "final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling", "output_router_logits",
)  # fmt: skip
