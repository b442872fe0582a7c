"""``python -m bench PART [--out FOLDER]``: measure one part and print its table."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from bench import data, evaluate, growth, losses, page, parts, serve, train


class Report(Protocol):
    """What a part hands back."""

    def markdown(self) -> str: ...

    def to_json(self) -> dict[str, Any]: ...


PARTS: Mapping[str, Callable[[argparse.Namespace], Report]] = {
    "data": lambda given: data.measure(given.runs),
    "evaluate": lambda given: evaluate.measure(given.peer, given.runs, given.most),
    "growth": lambda given: growth.measure(given.runs, given.most),
    "losses": lambda given: losses.measure(given.peer, given.folder),
    "page": lambda given: page.measure(given.peer, given.runs),
    "parts": lambda given: parts.measure(given.cases),
    "serve": lambda given: serve.measure(given.peer, given.runs, given.tokens),
    "train": lambda given: train.measure(given.peer, given.runs, given.cases),
}


def main(arguments: list[str]) -> int:
    """Measure, print, and keep the figures beside each other as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--runs", type=int, default=3, help="how often each thing is measured (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the JSON goes")
    parser.add_argument("--peer", type=Path, help="evaluate, losses, page, serve, train: the virtual environment that LLaMA-Factory is in")
    parser.add_argument("--folder", type=Path, help="losses: where runs stay; finished ones are taken as they are")
    parser.add_argument("--tokens", type=int, default=128, help="serve: how long an answer is (default: 128)")
    parser.add_argument("--most", type=int, default=10**9, help="evaluate, growth: the largest size that is measured (default: all)")
    parser.add_argument("--cases", nargs="*", default=[], choices=train.CASES, help="parts, train: which cases (default: the first, all)")
    given = parser.parse_args(arguments)
    table = PARTS[given.part](given)
    print(table.markdown())
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{given.part}.json").write_text(json.dumps(table.to_json(), indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
