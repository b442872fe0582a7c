"""What tutorial files say in other words: keys of LLaMA-Factory that mean one of ours, or that have no effect here.

Knows names of keys only. A key that is honoured in other words is translated; one that has no effect gives a warning.
"""

from collections.abc import Mapping
from typing import Any

from workbench.fields import Knob, plain
from workbench.problems import Problem
from workbench.text import Message, Text


class Say:
    two_precisions = Text("Both bf16 and fp16 are true. Accepted: one of them, or 'precision: auto'. Take one out.")
    not_yes_no = Text("{key} is '{given}'. Accepted: true or false. Enter, for example, true.")
    overruled = Text("precision is '{given}'.")
    no_effect = Text("'{key}: {given}' has no effect: {reason}")
    by_command = Text("the command chooses what is done")
    one_process = Text("rows are read and turned into tokens by the worker itself")
    not_cached = Text("no cache of tokens is kept between runs")
    one_machine = Text("training runs in one process here")
    always_counted = Text("tokens are always counted")
    no_tracker = Text("figures go to the run's own folder and the page")
    whole_checkpoints = Text("checkpoints are always whole, so that a run can resume")
    by_command_resume = Text("use 'python app.py runs resume NAME' or the Resume button")
    one_loader = Text("batches are built in the worker itself")


_FALSE = (None, False, "false", "False", "no", "off", "0", "none", "None", "null", "")
_IGNORED: Mapping[str, tuple[Text, tuple[Any, ...]]] = {
    "do_train": (Say.by_command, (True, "true", "True")),
    "do_eval": (Say.by_command, _FALSE),
    "do_predict": (Say.by_command, _FALSE),
    "preprocessing_num_workers": (Say.one_process, ()),
    "dataloader_num_workers": (Say.one_loader, (0,)),
    "overwrite_cache": (Say.not_cached, (True, "true", "True")),
    "ddp_timeout": (Say.one_machine, ()),
    "include_num_input_tokens_seen": (Say.always_counted, (True, "true", "True")),
    "report_to": (Say.no_tracker, _FALSE),
    "save_only_model": (Say.whole_checkpoints, _FALSE),
    "resume_from_checkpoint": (Say.by_command_resume, _FALSE),
    "eval_strategy": (Say.by_command, ("steps",)),
}
"""Keys without an effect: why, and the values that ask for what happens anyway and so need no word."""


def translate(
    given: Mapping[str, Any], knobs: Mapping[str, Knob]
) -> tuple[dict[str, Any], list[Problem], list[Message]]:
    """The mapping under our keys, with what is wrong and what has no effect. Keys that are ours stay as they are."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    warnings: list[Message] = []
    for key, value in given.items():
        if key in knobs or key not in _IGNORED:
            values[key] = value
        elif value not in _IGNORED[key][1]:
            warnings.append(Say.no_effect(key=key, given=plain(value), reason=_IGNORED[key][0]()))
    if "precision" in knobs:
        problems += _precision(values, warnings)
    if str(values.get("max_steps")) in ("-1", "0"):
        values["max_steps"] = None
    if "gradient_checkpointing" in knobs and "disable_gradient_checkpointing" in values:
        values["gradient_checkpointing"] = not _true(values.pop("disable_gradient_checkpointing"))
    if values.get("infer_backend") in ("huggingface", "hf"):
        values["infer_backend"] = "transformers"
    return values, problems, warnings


def _precision(values: dict[str, Any], warnings: list[Message]) -> list[Problem]:
    """bf16, fp16 and pure_bf16 as one precision; both true is a problem, and what precision overrules is told."""
    asked = {key: values.pop(key) for key in ("bf16", "fp16", "pure_bf16") if key in values}
    odd = [key for key, value in asked.items() if not _true(value) and value not in _FALSE]
    if odd:
        return [Problem(Say.not_yes_no(key=key, given=plain(asked[key])), key) for key in odd]
    names = {"fp16" if key == "fp16" else "bf16": key for key, value in asked.items() if _true(value)}
    if len(names) > 1:
        return [Problem(Say.two_precisions(), "precision")]
    for name, key in names.items():
        if str(values.setdefault("precision", name)) != name:
            reason = Say.overruled(given=plain(values["precision"]))
            warnings.append(Say.no_effect(key=key, given=plain(asked[key]), reason=reason))
    return []


def _true(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1", "yes", "on")
