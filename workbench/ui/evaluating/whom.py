"""Who is measured, as fields of a spec: a run, one of its checkpoints, a GGUF file, or the base alone. Knows no component."""

from collections.abc import Mapping
from typing import Any

from workbench.problems import UserError
from workbench.runs import find_run
from workbench.specs import EvalSpec, TrainSpec
from workbench.ui.loading import GGUF, is_run, trained_with
from workbench.workspace import Workspace

ENGINE_KEY = "infer_backend"
ANY_ENGINE = "auto"
BROUGHT = ("enable_thinking", "default_system")
"""Fields of this form that follow the run which is picked."""


def spec_values(workspace: Workspace, who: str, own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The flat fields of an evaluation. ``own``: those of its form; ``shared``: those of the bar above, which go before
    what the run was trained with. UserError where there is no such run."""
    run = trained_with(workspace, who) if is_run(who) else {}
    values = {**own, **run, **shared}
    if who.endswith(GGUF):
        values["model_name_or_path"] = who
        if own.get(ENGINE_KEY) == EvalSpec.knobs()[ENGINE_KEY].default:
            values[ENGINE_KEY] = ANY_ENGINE
    return values


def trained(workspace: Workspace, who: str) -> TrainSpec | None:
    """The spec of the run that is picked; None for others, and where it can't be read."""
    if not is_run(who):
        return None
    home, _, last = who.rpartition("/")
    try:
        spec = find_run(workspace, home if last.startswith("checkpoint-") else who).read_spec().spec
    except UserError:
        return None
    return spec if isinstance(spec, TrainSpec) else None


def brought(spec: TrainSpec) -> dict[str, Any]:
    """What a training brings into the form: the sets it never learned, else those it did, and what fills them."""
    flat = spec.flat()
    sets = spec.data.eval_dataset or spec.data.dataset
    return {**{key: flat[key] for key in BROUGHT}, "dataset": list(sets), "dataset_values": dict(spec.data.dataset_values)}


def learned(spec: TrainSpec | None, chosen: list[str]) -> list[str]:
    """Those of the chosen sets that the run learned from."""
    return [name for name in chosen if spec is not None and name in spec.data.dataset]
