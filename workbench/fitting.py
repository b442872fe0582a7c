"""Whether model, adapters, tuning method and number formats fit together, told before anything is loaded.

Knows no method by name: what a method can do, its Spec says.
"""

from workbench import quantising, tuning
from workbench.models import adapter_folder, is_adapter, local_folder, quantised_by
from workbench.problems import Problem
from workbench.quantising import Quantisation
from workbench.sections import MemorySection, ModelSection
from workbench.sockets import plugins
from workbench.text import Text
from workbench.tuning import TuningSpec
from workbench.workspace import Workspace


class Say:
    not_quantised = Text(
        "Method '{method}' can't learn over weights of {bits} bits. Accepted with them: {known}. Choose one of these, or set "
        "Quantisation to none."
    )
    came_quantised = Text(
        "Method '{method}' can't learn over weights that come quantised, as this model's by {way}. Accepted: {known}. "
        "Choose one of these, or the model in 16 bits."
    )
    twice = Text(
        "The model's weights come quantised by {way} already. Accepted: none. Set Quantisation to none, or choose the model "
        "in 16 bits."
    )
    only_read = Text(
        "Weights quantised by {way} can be read, but nothing can be trained over them. Accepted: {known}. Choose another "
        "version of the model."
    )
    no_checkpointing = Text(
        "Method '{method}' does not work with gradient checkpointing. Accepted: off. Turn it off, or choose another method."
    )
    whole = Text(
        "'{given}' is a whole model, not an adapter. Accepted here: adapters. To go on from it, choose it as the model."
    )


def fit_problems(workspace: Workspace, model: ModelSection, method: TuningSpec, memory: MemorySection) -> list[Problem]:
    """What does not fit together in a spec of a training."""
    asked = quantising.asked(memory.model_dump())
    folder = local_folder(workspace, model.model_name_or_path) if model.model_name_or_path else None
    way = quantised_by(folder) if folder and (folder / "config.json").is_file() else ""
    found = [
        *_quantised(method, asked, way),
        *method.problems(bool(asked or way), len(model.adapter_name_or_path)),
    ]
    if memory.gradient_checkpointing and not method.CHECKPOINTING:
        said = Say.no_checkpointing(method=method.finetuning_type)
        found.append(Problem(said, "gradient_checkpointing"))
    for given in model.adapter_name_or_path:
        trained = adapter_folder(workspace, given)
        if trained and not is_adapter(trained) and (trained / "config.json").is_file():
            found.append(Problem(Say.whole(given=given), "adapter_name_or_path"))
    return found


def _quantised(method: TuningSpec, asked: Quantisation | None, way: str) -> list[Problem]:
    known = ", ".join(name for name, module in plugins(tuning).items() if module.Spec.QUANTISED)
    name, found = method.finetuning_type, []
    if asked and way:
        found.append(Problem(Say.twice(way=way), "quantization_bit"))
    if asked and (missing := quantising.no_quantiser()):
        found.append(Problem(missing, "quantization_bit"))
    if asked and not method.QUANTISED:
        found.append(Problem(Say.not_quantised(method=name, bits=asked.bits, known=known), "quantization_bit"))
    if way and way not in quantising.TRAINED_OVER:
        said = Say.only_read(way=way, known=", ".join(quantising.TRAINED_OVER))
        found.append(Problem(said, "model_name_or_path"))
    elif way and not method.QUANTISED:
        found.append(Problem(Say.came_quantised(method=name, way=way, known=known), "finetuning_type"))
    return found
