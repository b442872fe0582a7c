"""Rows of a batch in one line without padding, each attending to itself alone. Knows transformers' attention functions.

Rows of unlike length in one batch are otherwise padded to the longest, and everything is computed for the padding too. What rows
begin with alike, such as a system prompt, or the prompt of a chosen and a rejected answer, stands in the line once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from typing import Any

from workbench.kernels.products import computed_in

NAME = "apart"
SHORT, PIECE = 256, 128
"""Attention in bf16 is computed by whole products, where torch's own, made for very long texts, takes two to five times as long: a row
of up to ``SHORT`` tokens in one, its chances remembered; a longer one in pieces of ``PIECE`` tokens that look back, their chances
computed again on the way back, so that memory grows with the length and not its square."""
ALIKE = (0.1, 1e-3)
"""How far a row in one line with another may lie from the same row alone, as a share, in half precision and in fp32. Roundings of some
thirty layers come to 0.02 in bf16, a row that also sees the other to 0.18 and more, one that misses its beginning to 0.3."""
LEAST_SHARED = 16
"""So many tokens alike pay for gathering them at each layer."""
UNTRAINED = -100


@dataclass(frozen=True)
class Piece:
    """Tokens of a row that are computed together."""

    places: slice
    """Where they lie in the line."""
    seen: Any
    """Where all lie that they look at, themselves at the end: a slice, or indices."""
    whole: bool
    """Whether they are all that the row has of its own."""

    def __len__(self) -> int:
        return int(self.places.stop - self.places.start)


@dataclass(frozen=True)
class Rows:
    """How rows lie in one line."""

    lengths: list[int]
    """How many tokens of its own each has there, one row after the other."""
    before: list[Any]
    """Where the tokens before these lie, that an earlier row brought: indices, or None where a row brought all itself."""

    @cached_property
    def whole(self) -> Any:
        """Where all tokens of all rows lie."""
        import torch

        own = torch.arange(sum(self.lengths)).split(list(self.lengths))
        return torch.cat([one for pair in zip(self.before, own, strict=True) for one in pair if one is not None])

    @cached_property
    def brought(self) -> Sequence[int]:
        """How many tokens before its own each row has."""
        return [0 if one is None else len(one) for one in self.before]

    @cached_property
    def pieces(self) -> Sequence[Piece]:
        """In order, so that the last of a row looks at all of it."""
        import torch

        found = []
        for start, length, before in zip(starts_of(self.lengths), self.lengths, self.before, strict=True):
            size = length if length <= SHORT else PIECE
            for at in range(start, start + length, size):
                end = min(at + size, start + length)
                seen = slice(start, end) if before is None else torch.cat([before, torch.arange(start, end)])
                found.append(Piece(slice(at, end), seen, size == length))
        return found


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
    rows, own = _once(ids[there], learned[there], lengths)
    line = {
        "input_ids": ids[there][own][None],
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[own][None],
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool),  # of four sides, so that transformers makes none of its own
        "rows": rows,
    }
    return Flat(line, learned[there][own][None], following[learned], learned)


def _once(ids: Any, learned: Any, lengths: Sequence[int]) -> tuple[Rows, Any]:
    """What each row brings itself, and which tokens of a line that are: what is not learned and was brought by an earlier row, is not.

    ``ids``, ``learned``: (tokens,) of all rows.
    """
    import torch

    texts, asked = ([one.tolist() for one in whole.split(list(lengths))] for whole in (ids, learned))
    places, rows, own, count = list[list[int]](), Rows([], []), list[bool](), 0
    for text, wanted in zip(texts, asked, strict=True):
        prompt = text[: wanted.index(True) if True in wanted else -1]  # its answer is its own
        alike = [_alike(prompt, earlier) for earlier, _ in zip(texts, places, strict=False)]
        shared = max(alike, default=0) if max(alike, default=0) >= LEAST_SHARED else 0
        before = places[alike.index(shared)][:shared] if shared else []
        rows.lengths.append(len(text) - shared)
        rows.before.append(torch.tensor(before) if shared else None)
        places.append([*before, *range(count, count + len(text) - shared)])
        own += [at >= shared for at in range(len(text))]
        count += len(text) - shared
    return rows, torch.tensor(own)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other)))


def starts_of(lengths: Sequence[int]) -> Sequence[int]:
    """Where each of these begins, one behind the other."""
    return [0, *accumulate(lengths)][:-1]


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
    """Whether a row in one line, behind another that brought its beginning, gives what it gives alone: how rows lie reaches the
    attention, and nothing else mixes."""
    import torch

    learning, words = model.training, base.get_input_embeddings().weight.shape[0]
    model.eval()
    begin, other, mine = (torch.arange(count) * step % words for count, step in ((LEAST_SHARED + 1, 37), (12, 41), (8, 43)))
    ids = torch.cat([begin, other, begin, mine])
    lengths = [len(begin) + len(other), len(begin) + len(mine)]
    places = torch.cat([torch.arange(length) for length in lengths])
    labels = ids.masked_fill(places < len(begin), UNTRAINED)
    try:
        with torch.no_grad():
            alone = base.base_model(input_ids=ids[None, lengths[0] :], use_cache=False).last_hidden_state[0, -len(mine) :]
            flat = flatten({"input_ids": ids[None], "position_ids": places[None], "labels": labels[None]}, True)
            assert flat is not None
            behind = base.base_model(**flat.inputs, use_cache=False).last_hidden_state[0, -len(mine) :]
    except (TypeError, ValueError, RuntimeError):  # a model that does not pass on how rows lie, or takes no mask of four sides
        return False
    finally:
        model.train(learning)
    return bool((behind - alone).norm() <= ALIKE[alone.dtype == torch.float32] * alone.norm())


def attend(
    module: Any, query: Any, key: Any, value: Any, mask: Any, dropout: float = 0.0, scaling: float | None = None,
    rows: Rows | None = None, **named: Any,
) -> Any:  # fmt: skip
    """An attention function of transformers. ``rows``: how they lie in the one line; without them as sdpa."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if rows is None:
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **named)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = computed_in(query)
    query, key, value = query.to(kind), key.to(kind), value.to(kind)
    if kind == torch.bfloat16 and not dropout:
        return _step().apply(query, key, value, scale, rows), None
    if any(rows.brought):
        query, key, value = (one.index_select(2, rows.whole) for one in (query, key, value))
    lengths = [own + brought for own, brought in zip(rows.lengths, rows.brought, strict=True)]
    shared: dict[str, Any] = {"dropout_p": dropout, "is_causal": True, "scale": scale, "enable_gqa": query.shape[1] != key.shape[1]}
    parts = zip(*(one.split(lengths, 2) for one in (query, key, value)), rows.brought, strict=True)
    said = [torch.nn.functional.scaled_dot_product_attention(*row, **shared)[:, :, brought:] for *row, brought in parts]
    return torch.cat(said, 2).transpose(1, 2).contiguous(), None


@cache
def _step() -> type[Any]:
    import torch

    def below(heads: Any, groups: int) -> Any:
        return heads.reshape(groups, -1, heads.shape[-1])

    def chances_of(asked: Any, keys: Any, places: int, scale: float) -> Any:
        chances = torch.baddbmm(asked.new_empty(()), asked, keys.transpose(1, 2), beta=0, alpha=scale)
        chances.view(len(chances), -1, places, keys.shape[1])[..., -places:].add_(_later(chances.dtype)[:places, :places])
        return torch._softmax(chances, -1, False, out=chances)

    class Attention(torch.autograd.Function):
        """Query (1, heads, length, size), key and value with as many heads or a divisor of them; said (1, length, heads, size).

        Heads of queries that share one of keys stand one below the other in a product.
        """

        @staticmethod
        def forward(ctx: Any, query: Any, key: Any, value: Any, scale: float, rows: Rows) -> Any:
            said = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
            kept = []
            for piece in rows.pieces:
                asked, keys, values = below(query[0, :, piece.places], key.shape[1]), key[0, :, piece.seen], value[0, :, piece.seen]
                chances = chances_of(asked, keys, len(piece), scale)
                said[0, piece.places].transpose(0, 1).copy_((chances @ values).view(-1, len(piece), values.shape[2]))
                kept += [chances] if piece.whole else []
            ctx.save_for_backward(query, key, value, *kept)
            ctx.scale, ctx.rows = scale, rows
            return said

        @staticmethod
        def backward(ctx: Any, slope: Any) -> Any:
            query, key, value, *kept = ctx.saved_tensors
            groups, remembered, slope = key.shape[1], iter(kept), slope.transpose(1, 2)
            of_query = torch.empty_like(query)
            of_key, of_value = (torch.zeros(one.shape[1:], dtype=torch.float32) for one in (key, value))  # pieces add to them
            for piece in ctx.rows.pieces:
                asked, slopes = below(query[0, :, piece.places], groups), below(slope[0, :, piece.places], groups)
                keys, values = key[0, :, piece.seen], value[0, :, piece.seen]
                chances = next(remembered) if piece.whole else chances_of(asked, keys, len(piece), ctx.scale)
                of_chances = slopes @ values.transpose(1, 2)
                of_scores = torch._softmax_backward_data(of_chances, chances, -1, chances.dtype).mul_(ctx.scale)
                of_query[0, :, piece.places] = (of_scores @ keys).view(-1, len(piece), keys.shape[2])
                of_key[:, piece.seen] += of_scores.transpose(1, 2) @ asked
                of_value[:, piece.seen] += chances.transpose(1, 2) @ slopes
            return of_query, of_key[None].to(key.dtype), of_value[None].to(value.dtype), None, None

    return Attention


@cache
def _later(kind: Any) -> Any:
    """What hides later places of a piece: 0 and minus infinity."""
    import torch

    return torch.full((SHORT, SHORT), -torch.inf, dtype=kind).triu(1)
