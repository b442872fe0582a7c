"""Whether a model or an adapter can answer at all: one that was trained to score answers can't. Knows no engine."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from workbench.fields import plain
from workbench.models import adapter_folder, local_folder
from workbench.problems import Problem
from workbench.sections import ModelSection
from workbench.text import Text
from workbench.workspace import Workspace

SCORING = "ForSequenceClassification"


class Say:
    scores = Text(
        "'{given}' was trained to score answers (stage rm), and can't give any. Accepted: what was trained to answer. Choose "
        "another one; use this one as 'Reward model' of the stages ppo and grpo."
    )


def answer_problems(workspace: Workspace, model: ModelSection) -> list[Problem]:
    """What can't answer, each beside its field; what is not here can't be judged."""
    base = local_folder(workspace, model.model_name_or_path) if model.model_name_or_path else None
    found = [Problem(Say.scores(given=plain(model.model_name_or_path)), "model_name_or_path")] if _scores(base) else []
    for given in model.adapter_name_or_path:
        if _scores(adapter_folder(workspace, given)):
            found.append(Problem(Say.scores(given=plain(given)), "adapter_name_or_path"))
    return found


def _scores(folder: Path | None) -> bool:
    """Whether what lies there ends in one number instead of words."""
    if folder is None:
        return False
    made = _json(folder / "config.json").get("architectures") or []
    task = _json(folder / "adapter_config.json").get("task_type")
    return task == "SEQ_CLS" or any(str(name).endswith(SCORING) for name in made)


def _json(file: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        data = json.loads(file.read_text("utf-8"))
        return data if isinstance(data, dict) else {}
    return {}
