"""A person's own file with DeepSpeed's settings: read, refused by name, and what of the spec it overrules. Knows no DeepSpeed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.dividing import dividing
from workbench.fields import plain
from workbench.problems import Problem, UserError, first_line
from workbench.specs import TrainSpec
from workbench.text import Message, Text, verbatim
from workbench.workspace import Workspace

KEY = "deepspeed"
ZERO = "zero_optimization"
STAGES = (0, 1, 2, 3)
OFFLOADS = ("offload_optimizer", "offload_param")
AUTO = "auto"
SAME = {
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "gradient_clipping": "max_grad_norm",
    "optimizer.params.lr": "learning_rate",
    "optimizer.params.eps": "adam_epsilon",
    "optimizer.params.weight_decay": "weight_decay",
    "scheduler.params.warmup_max_lr": "learning_rate",
}
"""Names in the file, and the fields that must say the same."""


class Say:
    unread = Text(
        "'{given}' can't be read as DeepSpeed's settings: {reason}. Accepted: a JSON file inside the workspace. Mend the file, "
        "choose another, or leave the field empty for the usual settings."
    )
    missing = Text("there is no such file")
    no_object = Text("it holds no JSON object")
    place = Text("line {line}, column {column}: {reason}")
    no_zero = Text("its zero_optimization is {given} and no object")
    no_stage = Text("its zero_optimization.stage is {given}, and there are {known}")
    differs = Text(
        "'{file}' says {name}: {given}, and '{label}' is {wanted}. Accepted: the same in both. Write \"auto\" in the file, or "
        "change the field."
    )
    stage = Text(
        "'{file}' has stage {given} of ZeRO, and that holds: 'Shared as' is {way}, by which only the checks and the estimate go. "
        "Let both say the same."
    )
    offloads = Text(
        "'{file}' lets parts of the model rest in the machine's memory, and that holds, though 'Rest in memory' is off. Turn it "
        "on, so that the estimate is right."
    )
    keeps = Text(
        "'Rest in memory' is on and has no effect: '{file}' says nothing of offload_optimizer or offload_param. Write them into "
        "it, or turn the field off."
    )
    own = Text("'{label}' has no effect: '{file}' has its own {name}. Take that out of the file to use the field.")


@dataclass(frozen=True)
class OwnFile:
    """The file as it was named, and what it says."""

    name: str
    settings: Mapping[str, Any]

    @property
    def zero(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.settings.get(ZERO, {})
        return found

    @property
    def offloads(self) -> bool:
        """Whether something rests outside the cards."""
        given = (self.zero.get(name) for name in OFFLOADS)
        return any(isinstance(one, dict) and one.get("device", "none") != "none" for one in given)

    def value(self, path: str) -> Any:
        """What it says under names with dots between them; "auto" where it says nothing."""
        found: Any = self.settings
        for name in path.split("."):
            found = found.get(name, AUTO) if isinstance(found, dict) else AUTO
        return found


def own_file(workspace: Workspace, spec: TrainSpec) -> OwnFile | None:
    """The file that the spec names, where DeepSpeed is to divide; UserError with its name when it can't be used."""
    given = spec.sharing.deepspeed
    if not given or not dividing(spec.sharing.way).zero_stage:
        return None
    settings = _read(workspace, given)
    zero = settings.get(ZERO, {})
    if not isinstance(zero, dict):
        raise _unread(given, Say.no_zero(given=plain(zero)))
    if zero.get("stage", 0) not in STAGES:
        raise _unread(given, Say.no_stage(given=plain(zero["stage"]), known=plain(list(STAGES))))
    own = OwnFile(given, settings)
    if problems := list(_differing(spec, own)):
        raise UserError(*problems)
    return own


def _read(workspace: Workspace, given: str) -> dict[str, Any]:
    file = workspace.inside(workspace.root, given, KEY)
    try:
        found = json.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise _unread(given, Say.missing()) from None
    except json.JSONDecodeError as error:
        said = Say.place(line=error.lineno, column=error.colno, reason=verbatim(error.msg))
        raise _unread(given, said) from None
    except (OSError, ValueError) as error:
        raise _unread(given, verbatim(first_line(error))) from None
    if not isinstance(found, dict):
        raise _unread(given, Say.no_object())
    return found


def _unread(given: str, reason: Message) -> UserError:
    return UserError(Say.unread(given=plain(given), reason=reason), key=KEY)


def _differing(spec: TrainSpec, own: OwnFile) -> Iterator[Problem]:
    """Values of the file that are not the spec's: transformers refuses them, but only once the model is loaded."""
    flat = spec.flat()
    for path, key in SAME.items():
        given, wanted = own.value(path), flat[key]
        if given not in (AUTO, wanted):
            said = Say.differs(file=own.name, name=path, given=plain(given), label=_label(key), wanted=plain(wanted))
            yield Problem(said, KEY)


def overruled(spec: TrainSpec, own: OwnFile) -> Iterator[Message]:
    """What the file says otherwise than the spec and is followed in."""
    section, stage = spec.sharing, own.zero.get("stage", 0)
    if stage != dividing(section.way).zero_stage:
        yield Say.stage(file=own.name, given=stage, way=section.way)
    if own.offloads and not section.offload:
        yield Say.offloads(file=own.name)
    if section.offload and not own.offloads:
        yield Say.keeps(file=own.name)
    for name, key in (("optimizer", "optim"), ("scheduler", "lr_scheduler_type")):
        if name in own.settings:
            yield Say.own(label=_label(key), file=own.name, name=name)


def _label(key: str) -> Message:
    return Message(f"fields.{key}.label", TrainSpec.knobs()[key].ui.label)
