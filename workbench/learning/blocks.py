"""AdamW on one block of weights at a time, as a torch optimiser. Knows tensors only."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Turns:
    """Whose turn it is: ``every`` steps the next block's, in this order; None: the first one's for ever."""

    order: str
    every: int | None
    first: int | None
    seed: int

    def block(self, step: int, blocks: int) -> int:
        """The block, counted from 0, whose turn it is after ``step`` steps: a function of the step, so that a resumed run
        goes on with the right one."""
        turn = step // self.every if self.every and self.order != "fixed" else 0
        match self.order:
            case "random":
                around, place = divmod(turn, blocks)
                return random.Random(f"{self.seed}/{around}").sample(range(blocks), blocks)[place]  # noqa: S311 - no secret
            case "descending":
                return ((blocks - 1 if self.first is None else self.first) - turn) % blocks
        return ((self.first or 0) + turn) % blocks


def block_adamw() -> type[Any]:
    """An optimiser class. Weights whose turn it is not need no gradient, and no state is kept for them."""
    import torch

    class BlockAdamW(torch.optim.AdamW):
        def __init__(
            self, rows: Sequence[Mapping[str, Any]], blocks: Sequence[Sequence[int]], turns: Turns, **adam: Any
        ):
            """``rows``: groups of one weight each; ``blocks``: the places in it that move together."""
            self._weights = [row["params"][0] for row in rows]
            self._blocks, self._turns = blocks, turns
            super().__init__(rows, **adam)
            self._give_turn(0)

        def _give_turn(self, step: int) -> None:
            """Let the block of this step move; the step is kept in the groups, which are saved with the state."""
            turn = self._blocks[self._turns.block(step, len(self._blocks))]
            for place, weight in enumerate(self._weights):
                weight.requires_grad_(place in turn)
                if place not in turn:
                    weight.grad = None
                    self.state.pop(weight, None)
            for group in self.param_groups:
                group["steps"] = step

        def step(self, closure: Any = None) -> Any:
            loss = super().step(closure)
            self._give_turn(self.param_groups[0]["steps"] + 1)
            return loss

        def load_state_dict(self, state: Any) -> None:
            super().load_state_dict(state)
            self._give_turn(self.param_groups[0]["steps"])

    return BlockAdamW
