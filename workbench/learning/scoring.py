"""What a whole answer is worth: a reward model of ours, beside its base or whole, or one behind a URL. Knows no trainer."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib import request

from workbench.problems import Problem, UserError
from workbench.text import Text, verbatim

RewardKind = Literal["lora", "full", "api"]
Scorer = Callable[[Sequence[Sequence[int]]], list[float]]
"""Texts as tokens, question and answer, to a score each."""
WAIT_S = 300.0


class Say:
    missing = Text(
        "No reward model was given. Accepted: a run of the stage rm, or a URL. Choose one at 'Reward model'."
    )
    no_folder = Text(
        "'{given}' holds no reward model. Accepted: for type lora a run of the stage rm, for type full a model's folder."
    )
    no_url = Text("'{given}' is no URL. Accepted for type api: http://... or https://... Write the whole address.")
    no_answer = Text("{url} gave no scores: {reason} Accepted: JSON with a list 'scores', one for each text. Check it.")


def named_problems(given: str, kind: RewardKind) -> list[Problem]:
    """What can be told of a reward model's name before it is looked for."""
    if not given.strip():
        return [Problem(Say.missing(), "reward_model")]
    if kind == "api" and not given.startswith(("http://", "https://")):
        return [Problem(Say.no_url(given=given), "reward_model")]
    return []


@dataclass(frozen=True)
class Near:
    """The learning model, beside which a reward model is loaded."""

    model: Any
    tokenizer: Any
    find: Callable[[str], Path | None]
    """The folder that a person means by a name."""


def scorer(given: str, kind: RewardKind, near: Near) -> Scorer:
    """What scores texts; UserError beside ``reward_model`` when it can't be had."""
    if problems := named_problems(given, kind):
        raise UserError(*problems)
    if kind == "api":
        return lambda texts: asked_scores(given, [near.tokenizer.decode(text) for text in texts])
    folder = near.find(given)
    wanted = "adapter_config.json" if kind == "lora" else "config.json"
    if folder is None or not (folder / wanted).is_file():
        raise UserError(Say.no_folder(given=given), key="reward_model")
    return _beside_base(folder, near) if kind == "lora" else _whole(folder, near)


def _beside_base(folder: Path, near: Near) -> Scorer:
    """An adapter with its score, on a second copy of the learning model's base."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(_load(near.model.config._name_or_path, near), str(folder))
    return _scoring(model.eval(), near.tokenizer.pad_token_id)


def _whole(folder: Path, near: Near) -> Scorer:
    """A whole model, which may have a tokenizer of its own."""
    from transformers import AutoTokenizer

    model, own = _load(str(folder), near).eval(), AutoTokenizer.from_pretrained(folder)
    own.pad_token = own.pad_token or own.eos_token
    model.config.pad_token_id = own.pad_token_id
    score = _scoring(model, own.pad_token_id)
    if own.get_vocab() == near.tokenizer.get_vocab():
        return score
    return lambda texts: score([own(near.tokenizer.decode(text), add_special_tokens=False).input_ids for text in texts])


def _load(name: str, near: Near) -> Any:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=1, dtype=near.model.dtype)
    model.config.pad_token_id = near.tokenizer.pad_token_id
    return model.to(near.model.device)


def _scoring(model: Any, pad_id: int) -> Scorer:
    import torch

    from workbench.learning.batches import padded

    def score(texts: Sequence[Sequence[int]]) -> list[float]:
        batch = padded(texts, texts, pad_id)
        with torch.no_grad():
            named = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
            found: list[float] = model(**named, use_cache=False).logits[:, 0].float().tolist()
        return found

    return score


def asked_scores(url: str, texts: Sequence[str]) -> list[float]:
    """Scores from a server in the form that LLaMA-Factory's API of reward models has; UserError when it has none."""
    try:
        answer = post(url, {"model": "model", "messages": list(texts)})
        scores = [float(score) for score in answer["scores"]]
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        reason = verbatim(f"{type(error).__name__}: {error}")
        raise UserError(Say.no_answer(url=url, reason=reason), key="reward_model") from error
    if len(scores) != len(texts):
        reason = verbatim(f"{len(scores)} / {len(texts)}.")
        raise UserError(Say.no_answer(url=url, reason=reason), key="reward_model")
    return scores


def post(url: str, data: Mapping[str, Any], key: str = "") -> Any:
    """What a server answers to JSON, as JSON."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    asked = request.Request(url, json.dumps(data).encode(), headers)  # noqa: S310 - the person chose the address
    with request.urlopen(asked, timeout=WAIT_S) as answer:  # noqa: S310
        return json.load(answer)
