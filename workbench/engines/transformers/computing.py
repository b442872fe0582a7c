"""One model and what it has read of every conversation: several answers grow in one pass. Knows no text and no request.

``Together`` keeps all conversations in one block of memory, a row each, and lets every row grow by a token at once.
``Apart`` keeps them apart and computes one after another: the plain twin, and for models that need it.
"""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workbench.engines.transformers.block import Block

CHUNK = 128
"""Tokens of a prompt that are computed at once; between two chunks others go on. What a new conversation shares with an
older one is taken over in whole chunks, so that the same prompt is computed in the same parts and gives the same numbers."""


@dataclass
class Place:
    """Where one conversation is kept."""

    read: int = 0
    """Tokens of the prompt that have been computed, or taken over."""
    cache: Any = None
    row: int = 0


class Computing(Protocol):
    """What computes logits; used by one thread."""

    def begin(self, voice: str, ids: Sequence[int]) -> Place | None:
        """A place for a conversation that begins with these tokens; None when all are taken."""

    def read(self, place: Place, ids: Sequence[int]) -> Any:
        """Logits (numpy, float32, vocabulary) after the next tokens of the prompt."""

    def grow(self, places: Sequence[Place], tokens: Sequence[int]) -> Sequence[Any]:
        """Logits after one more token in each of these places."""

    def end(self, place: Place) -> None:
        """The place is free again."""


class Apart:
    """Every conversation in a cache of its own, as transformers makes it."""

    def __init__(self, model: Callable[[], Any], cache: Callable[[], Any], most: int) -> None:
        self._model, self._cache = model, cache
        self._free = most

    def begin(self, voice: str, ids: Sequence[int]) -> Place | None:
        if not self._free:
            return None
        self._free -= 1
        return Place(cache=self._cache())

    def read(self, place: Place, ids: Sequence[int]) -> Any:
        place.read += len(ids)
        return self._one(place, ids)

    def grow(self, places: Sequence[Place], tokens: Sequence[int]) -> Sequence[Any]:
        return [self._one(place, [token]) for place, token in zip(places, tokens, strict=True)]

    def end(self, place: Place) -> None:
        place.cache = None
        self._free += 1

    def _one(self, place: Place, ids: Sequence[int]) -> Any:
        import torch

        with torch.inference_mode():
            model = self._model()
            inputs = torch.tensor([list(ids)], device=model.device)
            output = model(input_ids=inputs, past_key_values=place.cache, use_cache=True, logits_to_keep=1)
            return output.logits[0, -1].float().cpu().numpy()


@dataclass
class Row:
    """What one row of the block holds."""

    voice: str = ""
    ids: list[int] = field(default_factory=list)
    """The tokens in it, prompt and answer."""
    exact: int = 0
    """So many of them were computed in whole chunks."""
    taken: bool = False
    used: int = 0
    """When it was last taken, as a count."""


class Together:
    """All conversations in one block, which grows with their number and their length."""

    def __init__(self, model: Callable[[], Any], most: int) -> None:
        self._model = model
        self._rows = [Row() for _ in range(most)]
        self._clock = 0
        self._block = Block()
        self._kinds = _masks(model())

    def begin(self, voice: str, ids: Sequence[int]) -> Place | None:
        free = [at for at, row in enumerate(self._rows) if not row.taken]
        if not free:
            return None
        at = max(free, key=lambda at: (self._shared(at, voice, ids), -self._rows[at].used, -at))
        row, shared = self._rows[at], self._shared(at, voice, ids)
        self._clock += 1
        self._rows[at] = Row(voice, row.ids[:shared], shared, True, self._clock)
        return Place(read=shared, row=at)

    def _shared(self, at: int, voice: str, ids: Sequence[int]) -> int:
        """How many tokens of a row can stay, in whole chunks; the last token of a prompt is always computed."""
        row = self._rows[at]
        if row.voice != voice:
            return 0
        most = min(row.exact, len(ids) - 1) // CHUNK * CHUNK
        return next((end for end in range(most, 0, -CHUNK) if row.ids[:end] == list(ids[:end])), 0)

    def read(self, place: Place, ids: Sequence[int]) -> Any:
        row = self._rows[place.row]
        before, place.read = place.read, place.read + len(ids)
        row.ids += ids
        row.exact = place.read
        return self._compute([place.row], [list(ids)], [before])[0]

    def grow(self, places: Sequence[Place], tokens: Sequence[int]) -> Sequence[Any]:
        rows = [self._rows[place.row] for place in places]
        before = [len(row.ids) for row in rows]
        for row, token in zip(rows, tokens, strict=True):
            row.ids.append(token)
        return self._compute([place.row for place in places], [[token] for token in tokens], before)

    def end(self, place: Place) -> None:
        self._rows[place.row].taken = False

    def _compute(self, rows: Sequence[int], ids: Sequence[list[int]], before: Sequence[int]) -> Sequence[Any]:
        """Logits after the tokens of each row, all of the same number, of which ``before`` are there already."""
        import torch

        with torch.inference_mode():
            model = self._model()
            device = model.device
            starts = torch.tensor(before, device=device)
            places = starts[:, None] + torch.arange(len(ids[0]), device=device)
            self._block.point(list(rows), places, max(before) + len(ids[0]))
            output = model(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=self._mask(places, max(before) + len(ids[0]), model.dtype),
                position_ids=places,
                past_key_values=self._block,
                use_cache=True,
                logits_to_keep=1,
            )
            return list(output.logits[:, -1].float().cpu().numpy())

    def _mask(self, places: Any, upto: int, dtype: Any) -> Any:
        """What is added to each new token's scores, (rows, 1, new, upto): 0 or minus infinity; one mask, or one for each kind of
        layer. Masks of yes and no would be made into these again in every layer."""
        import torch

        behind = places[:, :, None] - torch.arange(upto, device=places.device)
        masks = {}
        for kind, window in self._kinds.windows.items():
            seen = ((behind >= 0) & (behind < window) if window else behind >= 0)[:, None]
            masks[kind] = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -torch.inf)
        return masks if self._kinds.named else masks["all"]


@dataclass(frozen=True)
class Masks:
    """Which masks a model takes: for each kind of layer how far it looks back, 0: to the beginning."""

    windows: Mapping[str, int]
    named: bool
    """Whether it takes one mask for each kind."""


def _masks(model: Any) -> Masks:
    told = model.config.get_text_config()
    values = told.to_dict()
    kinds, window = set(values.get("layer_types") or ()), int(values.get("sliding_window") or 0)
    if "sliding_attention" in kinds:
        return Masks({"full_attention": 0, "sliding_attention": window}, True)
    return Masks({"all": window if values.get("use_sliding_window", True) and not kinds else 0}, False)


def can_share(model: Any) -> bool:
    """Whether a model's conversations can stand in one block: it has attention alone, and takes positions and masks."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if model.config.get_text_config()._attn_implementation not in ("sdpa", "eager"):
        return False
    if "position_ids" not in inspect.signature(model.get_base_model().forward if _wrapped(model) else model.forward).parameters:
        return False
    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _wrapped(model: Any) -> bool:
    """Whether PEFT has put it into a model of its own; to import PEFT, which takes a second, is the task of who does that."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)
