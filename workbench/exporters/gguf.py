"""One file for llama.cpp, Ollama and LM Studio: the model with its adapters laid in, or its LoRA adapter alone."""

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from workbench.exporters import Bounds, ExporterSpec, Made, Source
from workbench.fields import Ui
from workbench.gguf import Kind
from workbench.gguf.adapters import CONFIG, adapter_bytes, is_plain_lora, write_adapter
from workbench.gguf.checkout import Conversion, check_checkout, rough_bytes
from workbench.gguf.reading import is_gguf, layout_of_file, shapes_of_file
from workbench.gguf.vocabulary import check_tokenizer
from workbench.gguf.weights import Changed
from workbench.gguf.writing import plan, write
from workbench.merging import Plan as Merging
from workbench.merging import plan as plan_merging
from workbench.merging.between import between_bytes, whole_between
from workbench.merging.templates import make_plain
from workbench.neighbours.ends import end_ids
from workbench.problems import UserError
from workbench.text import Text

BETWEEN = ".between"
WITHOUT_THOUGHT = "{%- set enable_thinking = false %}\n"


class Say:
    one = Text("{given} adapters are chosen. Accepted: one, to become a GGUF file of its own. Choose one, or write them into the model.")
    not_lora = Text(
        "'{name}' can't become a GGUF adapter: it is not LoRA alone. Accepted: LoRA. Switch 'LoRA adapter alone' off, so that it "
        "is laid into the model."
    )


class Spec(ExporterSpec):
    """GGUF"""

    export_format: Literal["gguf"] = "gguf"
    gguf_kind: Annotated[Kind, Ui("GGUF type", simple=True, when=("gguf_adapter", "false"))] = "q8_0"
    """How the weights are held. q8_0: half of f16, hardly different; q5_k_m and q4_k_m: smaller, and usual for 7B and more;
    f16, bf16, f32: as trained; q3 and q2: much is lost. Small models lose most."""
    gguf_adapter: Annotated[bool, Ui("LoRA adapter alone")] = False
    """Write only the LoRA adapter as GGUF, for use over a GGUF file of its base."""
    llama_cpp_dir: Annotated[str, Ui("Folder of llama.cpp", when=("gguf_adapter", "false"))] = ""
    """A checkout of llama.cpp whose own convert_hf_to_gguf.py and llama-quantize are run instead, for families that are not
    written here. Its code is run as you. Empty: nothing is run."""


BOUNDS: Mapping[Kind, Bounds] = {
    "f32": Bounds(0.99, 1e-3), "f16": Bounds(0.99, 1e-3), "bf16": Bounds(0.97, 5e-3),
    "q8_0": Bounds(0.95, 0.012), "q6_k": Bounds(0.88, 0.03),
    "q5_k_m": Bounds(0.8, 0.15), "q5_k_s": Bounds(0.78, 0.18), "q4_k_m": Bounds(0.75, 0.2), "q4_k_s": Bounds(0.72, 0.25),
    "q4_0": Bounds(0.65, 0.4),
    "q3_k_l": Bounds(0.65, 0.4), "q3_k_m": Bounds(0.65, 0.45), "q3_k_s": Bounds(0.6, 0.6), "q2_k": Bounds(0.4, 1.5),
}  # fmt: skip
"""About twice to three times what SmolLM2-135M-Instruct shows over 361 tokens of ten answers, since small models lose most.
In llama.cpp: f32 1.000 and 0.00001, f16 1.000 and 0.00001, bf16 1.000 and 0.0001, q8_0 0.981 and 0.0035, q6_k 0.939 and
0.0095, q5_k_m 0.895 and 0.058; its weights alone: q5_k_s 0.875 and 0.069, q4_k_m 0.895 and 0.041, q4_k_s 0.864 and 0.057,
q3_k_l 0.839 and 0.127. Its rows of 576 get 5 bits for q4, which have less room below, so q4 to q2 are wider yet. llama.cpp's
own table of Llama 3 8B has a divergence of 0.0014 for q8_0, 0.0057 for q6_k, 0.011 for q5_k_m. q3_k_s and q2_k were not
measured; what stands for them is a guess."""


def needs(spec: Spec, source: Source) -> int:
    if spec.gguf_adapter:
        return adapter_bytes(_lora(source)[0])
    merging = plan_merging(source, "auto")
    if spec.llama_cpp_dir:
        check_checkout(spec.llama_cpp_dir, spec.gguf_kind)
        return rough_bytes(merging.folder, spec.gguf_kind) + between_bytes(merging)
    planned = plan(merging.folder, spec.gguf_kind)
    check_tokenizer(source.opening.tokenizer())
    return planned.num_bytes + (between_bytes(merging) if merging.in_memory else 0)


def export(spec: Spec, source: Source, folder: Path) -> Made:
    name = source.name.removesuffix("-gguf")
    if spec.gguf_adapter:
        return _write_adapter(source, folder, Path(f"{name}.lora.gguf"))
    file = Path(f"{name}-{spec.gguf_kind.upper()}.gguf")
    merging = plan_merging(source, "auto")
    for note in merging.notes:
        source.opening.note(note)
    if spec.llama_cpp_dir:
        _write_there(spec, source, merging, folder, file)
    else:
        _write(spec, source, merging, folder, file)
    return Made("llamacpp", file, None, BOUNDS[spec.gguf_kind], original=True)


def _write(spec: Spec, source: Source, merging: Merging, folder: Path, file: Path) -> None:
    """By our own writer: what adapters change is computed as it is written, where that can be done tensor by tensor."""
    with ExitStack() as stack:
        if merging.in_memory:
            planned = plan(stack.enter_context(whole_between(merging, source, folder / BETWEEN)), spec.gguf_kind)
        else:
            planned = plan(merging.folder, spec.gguf_kind, _changed(merging))
        opening, tokenizer = source.opening, _tokenizer(source)
        for note in planned.notes:
            opening.note(note)
        write(planned, tokenizer, end_ids(opening, tokenizer), folder / file, source.name, opening.progress)


def _changed(merging: Merging) -> dict[str, Changed]:
    """What adapters do to tensors, by name in transformers; the last layer where it is no more one with the embeddings."""
    parts = {part.name: part for part in merging.parts if part.steps}
    if head := merging.parted():
        parts[head.name] = head
    return {name: Changed(part.base.shape, part.pieces) for name, part in parts.items()}


def _write_there(spec: Spec, source: Source, merging: Merging, folder: Path, file: Path) -> None:
    """By llama.cpp's own script, from a folder that says everything as it was in training."""
    there = Conversion(spec.llama_cpp_dir, spec.gguf_kind, rough_bytes(merging.folder, spec.gguf_kind))
    with whole_between(merging, source, folder / BETWEEN) as model:
        there.convert(model, folder / file, source.name, source.opening.progress)


def _write_adapter(source: Source, folder: Path, file: Path) -> Made:
    base, (lora, weight) = source.opening.folder(), _lora(source)
    if is_gguf(base):
        layout, shapes = layout_of_file(base), shapes_of_file(base)
    else:
        planned = plan(base, "f32")
        layout, shapes = planned.layout, {name: one.shape for name, (one, _) in planned.tensors.items()}
    write_adapter(lora, layout, shapes, folder / file, source.opening.progress, weight)
    _tokenizer(source).save_pretrained(str(folder))
    return Made("llamacpp", None, file, BOUNDS["q8_0"], original=True)


def _lora(source: Source) -> tuple[Path, float]:
    """The one LoRA adapter and how strongly it counts; UserError when there is another number, or it is no plain LoRA."""
    if len(source.trained) != 1:
        raise UserError(Say.one(given=len(source.trained)), key="adapter_name_or_path")
    (trained,) = source.trained
    if not (trained.folder / CONFIG).is_file() or not is_plain_lora(trained.folder):
        raise UserError(Say.not_lora(name=trained.folder.name), key="gguf_adapter")
    return trained.folder, trained.weight


def _tokenizer(source: Source) -> Any:
    """The tokenizer, its chat template as others read it.

    llama.cpp always says whether a model may think, and that it may; so a template that was trained without says so itself.
    """
    opening = source.opening
    tokenizer = copy.copy(opening.tokenizer())
    make_plain(tokenizer, opening.default_system)
    if opening.enable_thinking is False:
        own = tokenizer.chat_template
        named = {name: WITHOUT_THOUGHT + one for name, one in own.items()} if isinstance(own, dict) else {}
        tokenizer.chat_template = named or WITHOUT_THOUGHT + (own or "")
    return tokenizer
