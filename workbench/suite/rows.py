"""The rows of a task as lm-eval asks for them, from the JSONL file beside this one. Imports nothing of the workbench:
lm-eval loads it by its path, so that the suite runs from any working directory."""

import json
from pathlib import Path
from typing import Any

SPLITS = ("test", "fewshot")


def splits(name: str, category: str, **_: Any) -> dict[str, Any]:
    """The questions of one category as Hugging Face datasets by split. lm-eval also hands over the task's metadata."""
    from datasets import Dataset

    lines = Path(__file__).with_name(f"{name}.jsonl").read_text("utf-8").splitlines()
    rows = [row for line in lines if (row := json.loads(line))["category"] == category]
    return {split: Dataset.from_list([row for row in rows if row["split"] == split]) for split in SPLITS}
