"""``python -m bench PART [--runs N] [--out FOLDER]``: measure one part and print its table."""

import argparse
import json
import sys
from pathlib import Path

from bench import data

PARTS = {"data": data.measure}


def main(arguments: list[str]) -> int:
    """Measure, print, and keep the figures beside each other as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--runs", type=int, default=3, help="how often each thing is measured (default: 3)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="where the JSON goes")
    given = parser.parse_args(arguments)
    table = PARTS[given.part](given.runs)
    print(table.markdown())
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"{given.part}.json").write_text(json.dumps(table.to_json(), indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
