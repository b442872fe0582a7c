"""What runs have needed on this machine: what was measured on purpose, and what earlier runs said. Corrects formulas.

``cache/measured.json`` holds what was measured, the newest last; it can be deleted at any time. Knows no page and no job.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache

from workbench.estimates.needs import Batch, Part, Setting, batch_seconds, memory_parts, optimiser_seconds
from workbench.events import Step, tail
from workbench.models import model_name
from workbench.runs import LAST_BYTES, Run, list_runs
from workbench.specs import TrainSpec
from workbench.workspace import Workspace

FILE = "measured.json"
KEPT = 200
RUNS = 12
FACTORS = (0.05, 20.0)
"""A machine may be so much faster or slower than the formula says; what lies beyond is a mistake."""
VARYING: tuple[Part, ...] = ("activations", "logits")
LEAST_SHARE = 0.25
UNIMPORTANT = {"lora_alpha", "lora_dropout", "pref_beta", "pref_ftx", "kto_chosen_weight", "kto_rejected_weight"}


@dataclass(frozen=True)
class Measured:
    """What one setting needed. ``same`` and ``near`` name it, exactly and about; ``peak_bytes`` 0: not known."""

    same: str
    near: str
    rows: str = ""
    """Names the rows, as far as they decide lengths."""
    batch_rows: int = 0
    texts: int = 0
    """Texts of the widest batch, and its length."""
    length: float = 0.0
    peak_bytes: int = 0
    factor: float = 1.0
    """Seconds that a batch took over those of the formula."""
    usual_length: float = 0.0
    """Length of a usual batch, padding counted; 0: not known."""
    warming_s: float = 0.0
    """By how much the first step took longer than the same one after it."""


@dataclass(frozen=True)
class Correction:
    """What was learned for a setting. ``exact``: from the very same one."""

    peak: Measured | None = None
    time: Measured | None = None
    exact: bool = False


def names_of(setting: Setting) -> tuple[str, str, str]:
    """How a setting is named: exactly, about, and its rows."""
    spec, ground, memory = setting.spec, setting.ground, setting.spec.memory
    near = {
        "model": [setting.model.name, setting.model.stored_bytes],
        "machine": [ground.device, ground.card, ground.cores],
        "stage": spec.stage.stage,
        "adapter": spec.tuning.ADAPTER,
        "precision": [setting.precision, memory.precision == "pure_bf16"],
        "bits": memory.quantization_bit,
        "checkpointing": memory.gradient_checkpointing,
        "attention": [memory.flash_attn, memory.enable_liger_kernel, memory.torch_compile],
    }
    chosen = {**spec.stage.model_dump(), **spec.tuning.model_dump()}
    same = {
        **near,
        "chosen": {key: value for key, value in chosen.items() if key not in UNIMPORTANT},
        "optim": [spec.optim.optim, spec.optim.gradient_accumulation_steps > 1],
    }
    data = spec.data.model_dump(exclude={"val_size", "eval_dataset", "overwrite_cache", "streaming", "buffer_size"})
    rows = [data, spec.stage.model_dump(), spec.model.template, spec.optim.train_sampling_strategy]
    return _json(same), _json(near), _json(rows)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def read(workspace: Workspace) -> list[Measured]:
    """Everything that was measured on purpose, the newest first; nothing when the file can't be read."""
    try:
        return [Measured(**one) for one in json.loads((workspace.cache / FILE).read_text("utf-8"))][::-1]
    except (OSError, ValueError, TypeError):
        return []


def keep(workspace: Workspace, measured: Measured) -> None:
    """Add one to the file, in place of an earlier one of the same setting, batch and length."""
    def key(one: Measured) -> tuple[str, int, float]:
        return one.same, one.texts, one.length

    others = [one for one in read(workspace)[::-1] if key(one) != key(measured)]
    kept = [asdict(one) for one in [*others, measured]][-KEPT:]
    workspace.cache.mkdir(parents=True, exist_ok=True)
    beside = workspace.cache / f"{FILE}.{os.getpid()}"
    beside.write_text(json.dumps(kept, indent=1, ensure_ascii=False), "utf-8")
    beside.replace(workspace.cache / FILE)


def correction(workspace: Workspace, setting: Setting) -> Correction:
    """What is known of the setting, or of one like it: measured on purpose first, then earlier runs."""
    same, near, _ = names_of(setting)
    known = read(workspace)
    exact = next((one for one in known if one.same == same), None)
    if exact:
        return Correction(exact, exact, exact=True)
    like = next((one for one in known if one.near == near), None)
    earlier = list(_earlier(workspace, setting)) if like is None else []
    ran = next((one for one in earlier if one.same == same), None) or next((one for one in earlier if one.near == near), None)
    return Correction(like, like or ran)


def _earlier(workspace: Workspace, setting: Setting) -> Iterator[Measured]:
    """What earlier runs of the model said of their time. Their memory is not learned from: what was
    said of it has changed between versions."""
    wanted = model_name(setting.spec.model.model_name_or_path)
    runs = (run for run in list_runs(workspace) if run.name.split("/")[0] == wanted)
    for run, _ in zip(runs, range(RUNS), strict=False):
        with suppress(FileNotFoundError):
            spec = _spec_of(run, (run.folder / "spec.yaml").stat().st_mtime_ns)
            if spec is not None and (steps := _steps_of(run, run.events.stat().st_size)):
                yield _of_run(Setting(spec, setting.model, setting.ground), steps)


@lru_cache(maxsize=64)
def _spec_of(run: Run, changed: int) -> TrainSpec | None:
    spec = run.read_spec().spec
    return spec if isinstance(spec, TrainSpec) else None


@lru_cache(maxsize=64)
def _steps_of(run: Run, size: int) -> Sequence[Step]:
    """The last steps of a run, without the very first, which also warms up."""
    entries, _ = tail(run.events, max(0, size - LAST_BYTES))
    return [one.event for one in entries if isinstance(one.event, Step) and one.event.step > 1 and one.event.seconds > 0]


def _of_run(setting: Setting, steps: Sequence[Step]) -> Measured:
    optim, logged = setting.spec.optim, setting.spec.saving.logging_steps
    batches = optim.gradient_accumulation_steps * logged
    positions = sum(one.tokens + one.padding for one in steps) / len(steps) / batches
    rows = optim.per_device_train_batch_size
    expected = batches * batch_seconds(setting, Batch(rows, positions / rows)) + logged * optimiser_seconds(setting)
    taken = sorted(one.seconds for one in steps)[len(steps) // 2]
    same, near, named = names_of(setting)
    return Measured(same, near, named, rows, factor=bounded(taken / expected))


def bounded(factor: float) -> float:
    return min(max(factor, FACTORS[0]), FACTORS[1])


def corrected_parts(setting: Setting, parts: Mapping[Part, int], measured: Measured | None) -> dict[Part, int]:
    """The parts as they are after what was measured: what grows with the batch is scaled where it is much of the whole,
    else the difference counts as the rest."""
    if measured is None or not measured.peak_bytes:
        return dict(parts)
    then = memory_parts(setting, Batch(measured.texts, measured.length))
    missed = measured.peak_bytes - sum(then.values())
    varying = sum(then[part] for part in VARYING)
    if varying < LEAST_SHARE * measured.peak_bytes or varying + missed <= 0:
        return {**parts, "rest": max(0, parts["rest"] + missed)}
    factor = (varying + missed) / varying
    return {part: round(size * factor) if part in VARYING else size for part, size in parts.items()}
