"""What the server counts, as Prometheus reads it (text format 0.0.4). Knows no engine and no HTTP."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
HELP: Mapping[str, tuple[str, str]] = {
    "workbench_requests_total": ("counter", "Requests by path and status."),
    "workbench_prompt_tokens_total": ("counter", "Tokens of prompts that were answered."),
    "workbench_answer_tokens_total": ("counter", "Tokens of answers."),
    "workbench_refused_total": ("counter", "Requests that found no place."),
    "workbench_active_answers": ("gauge", "Answers that are computed or wait."),
    "workbench_most_answers": ("gauge", "Places for them."),
    "workbench_first_token_seconds": ("histogram", "From a request to the first part of its answer."),
    "workbench_answer_seconds": ("histogram", "From a request to the end of its answer."),
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters, histograms, and gauges that are read when somebody looks."""

    def __init__(self, gauges: Mapping[str, Callable[[], int]]) -> None:
        self._gauges = gauges
        self._counts: dict[tuple[str, Labels], float] = {}
        self._spans = {name: _Span() for name, (kind, _) in HELP.items() if kind == "histogram"}
        self._lock = threading.Lock()

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = (name, tuple(sorted(labels.items())))
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + by

    def took(self, name: str, seconds: float) -> None:
        """Put a time into a histogram."""
        with self._lock:
            self._spans[name].add(seconds)

    def text(self) -> str:
        """All of it."""
        with self._lock:
            lines = [line for name in HELP for line in self._lines(name)]
        return "\n".join(lines) + "\n"

    def _lines(self, name: str) -> Iterator[str]:
        kind, words = HELP[name]
        yield f"# HELP {name} {words}"
        yield f"# TYPE {name} {kind}"
        if kind == "gauge":
            yield f"{name} {self._gauges[name]()}"
        elif kind == "histogram":
            yield from self._spans[name].lines(name)
        else:
            found = {labels: value for (one, labels), value in self._counts.items() if one == name}
            if not found and name != "workbench_requests_total":
                found = {(): 0.0}
            for labels, value in sorted(found.items()):
                told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
                yield f"{name}{{{told}}} {int(value)}" if told else f"{name} {int(value)}"


class Clock:
    """The times of one request."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._began, self._begun = metrics, time.monotonic(), False

    def part(self) -> None:
        """A part of the answer has come."""
        if not self._begun:
            self._begun = True
            self._metrics.took("workbench_first_token_seconds", time.monotonic() - self._began)

    def done(self, prompt_tokens: int, answer_tokens: int) -> None:
        """The answer is whole."""
        self._metrics.took("workbench_answer_seconds", time.monotonic() - self._began)
        self._metrics.count("workbench_prompt_tokens_total", prompt_tokens)
        self._metrics.count("workbench_answer_tokens_total", answer_tokens)


class _Span:
    def __init__(self) -> None:
        self._buckets = [0] * len(SECONDS)
        self._count, self._sum_s = 0, 0.0

    def add(self, seconds: float) -> None:
        self._count += 1
        self._sum_s += seconds
        for at, most in enumerate(SECONDS):
            self._buckets[at] += seconds <= most

    def lines(self, name: str) -> Iterator[str]:
        for most, count in zip(SECONDS, self._buckets, strict=True):
            yield f'{name}_bucket{{le="{most:g}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {self._count}'
        yield f"{name}_sum {self._sum_s:.6f}"
        yield f"{name}_count {self._count}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
