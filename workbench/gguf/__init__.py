"""Models as GGUF files, the format of llama.cpp. Knows no engine, no exporter, no run and no page."""

from collections.abc import Callable
from typing import Literal

Kind = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "q3_k_l", "q3_k_m", "q3_k_s",
    "q2_k",
]  # fmt: skip
"""How the weights are held."""
Progress = Callable[[int, int], None]
"""Hears how many bytes are written, and of how many."""
