"""A histogram as a picture that the page makes by itself: bars, an axis, and a line. Knows numbers and words only."""

import html
from collections.abc import Sequence
from math import floor, log10

WIDTH, HEIGHT = 640, 190
LEFT, BOTTOM, TOP = 44, 22, 14


def ticks(most: float, count: int = 4) -> list[int]:
    """Round numbers from 0 to about ``most``."""
    if most <= 0:
        return [0]
    rough = most / count
    scale = 10 ** floor(log10(rough)) if rough >= 1 else 1
    step = max(1, int(next((one * scale for one in (1, 2, 5, 10) if one * scale >= rough), scale)))
    return [step * number for number in range(int(most // step) + 1)]


def histogram(
    edges: Sequence[float], counts: Sequence[int], label: str, line: float | None = None, line_word: str = ""
) -> str:
    """Bars between ``edges`` (one more than ``counts``); ``line``: where the cutoff stands. Each bar tells on hover."""
    low, high = edges[0], max(edges[-1], edges[0] + 1)
    if line is not None and line <= 1.5 * high:
        high = max(high, line * 1.04)
    most = max([*counts, 1])

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - 8)

    def y(value: float) -> float:
        return TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM)

    parts = [_rule(y(one), f"{one:,}") for one in ticks(most)]
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        told = html.escape(f"{start:,.0f} - {end:,.0f}: {count:,}")
        kind = "over" if line is not None and start >= line else "bar"
        parts.append(
            f'<rect class="{kind}" x="{x(start):.1f}" y="{y(count):.1f}" width="{max(1.0, x(end) - x(start) - 1):.1f}" '
            f'height="{max(0.0, y(0) - y(count)):.1f}"><title>{told}</title></rect>'
        )
    parts += [
        f'<text class="tick" x="{x(one):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{one:,}</text>'
        for one in ticks(high, 6)
        if one >= low
    ]
    if line is not None and low <= line <= high:
        parts.append(_cutoff(x(line), line_word))
    return (
        f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(label, quote=True)}">'
        f"{''.join(parts)}</svg>"
    )


def _rule(y: float, word: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{word}</text>'
    )


def _cutoff(x: float, word: str) -> str:
    side = ("end", -5) if x > WIDTH / 2 else ("start", 5)
    return (
        f'<line class="cutoff" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 10}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="cutoff" x="{x + side[1]:.1f}" y="{TOP}" text-anchor="{side[0]}">{html.escape(word)}</text>'
    )
