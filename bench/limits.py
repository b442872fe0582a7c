"""What this machine can do at best: products at the model's shapes and large ones, and moving memory. Knows torch alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ROWS, WIDTH, INNER = 1024, 576, 1536
"""Tokens at once, and the sides of the starter model's largest weights."""
LARGE = 2048
REPEATS, LEAST_S = 5, 0.2


@dataclass(frozen=True)
class Limits:
    """Billion operations a second, and billion bytes a second that are read and written."""

    fp32: float
    bf16: float
    large_fp32: float
    large_bf16: float
    memory: float

    @property
    def fastest(self) -> float:
        """The machine's rate at the model's shapes, in whichever numbers are faster."""
        return max(self.fp32, self.bf16)

    def words(self) -> str:
        return (
            f"The machine alone: products at the model's shapes {self.bf16:,.0f} GFLOP/s in bf16 and {self.fp32:,.0f} in fp32; "
            f"{LARGE} cubed {self.large_bf16:,.0f} and {self.large_fp32:,.0f}; memory {self.memory:.0f} GB/s."
        )

    @classmethod
    def measured(cls) -> "Limits":
        """The best of some tries each: what stands in the way is not the machine's."""
        import torch

        shapes = {"": (ROWS, WIDTH, INNER), "large_": (LARGE, LARGE, LARGE)}
        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
        rates = {
            f"{name}{kind}": products(torch, shape, number) for name, shape in shapes.items() for kind, number in kinds.items()
        }
        source, target = torch.ones(1 << 26), torch.empty(1 << 26)
        moved = 2 * source.numel() * source.element_size()
        return cls(**rates, memory=moved / fastest(lambda: target.copy_(source)) / 1e9)


def products(torch: Any, shape: tuple[int, int, int], number: Any) -> float:
    """GFLOP/s of one product with a weight as a linear layer holds it."""
    rows, width, inner = shape
    one, weight = torch.randn(rows, width).to(number), torch.randn(inner, width).to(number)
    return 2 * rows * width * inner / fastest(lambda: torch.nn.functional.linear(one, weight)) / 1e9


def fastest(action: Callable[[], Any]) -> float:
    """Seconds that the action takes at best, each try long enough to be told from chance."""
    action()
    best, times = float("inf"), 1
    for _ in range(REPEATS):
        while True:
            start = time.perf_counter()
            for _ in range(times):
                action()
            if (took := time.perf_counter() - start) >= LEAST_S:
                break
            times *= 2
        best = min(best, took / times)
    return best
