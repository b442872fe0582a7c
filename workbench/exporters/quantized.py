"""A folder of transformers with weights of few bits: by bitsandbytes, or by GPTQ or AWQ over texts that calibrate it."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from workbench.exporters import Bounds, Made, ShardedSpec, Source
from workbench.fields import Ui
from workbench.merging import Plan, plan
from workbench.merging.between import between_bytes, whole_between
from workbench.merging.configs import beside_bytes
from workbench.neighbours.installed import require
from workbench.problems import UserError
from workbench.quantising import Quantisation, loading
from workbench.text import Text

Way = Literal["bitsandbytes", "gptq", "awq"]
BITS: Mapping[Way, tuple[str, ...]] = {"bitsandbytes": ("4", "8"), "gptq": ("4", "8", "3", "2"), "awq": ("4",)}
GROUPS = (128, 64, 32)
"""Weights of a row that share a scale: the first of these into which every row is divided, else the whole row."""
LEAST_TOKENS = 16
BETWEEN, ASIDE = ".between", ".aside"


class Say:
    bits = Text("{way} with {given} bits is not made. Accepted: {wanted}. Choose one of these.")
    why_bitsandbytes = Text("to hold weights in 4 or 8 bits")
    why_calibrated = Text("to quantise by GPTQ or AWQ")
    why_read = Text("to read weights of GPTQ in transformers")
    few_windows = Text(
        "Windows of up to {length} tokens that the texts give: {given}. Asked for: {wanted}. Quantised over more, answers differ less."
    )
    no_windows = Text("The texts of '{given}' give fewer than {least} tokens. Accepted: longer texts. Choose another set or file.")
    unquantised = Text("{way} can't quantise this model: {reason}. Choose bitsandbytes, or export it as GGUF.")


def _as_written(given: Any) -> Any:
    """A number as files write it, in quotes or not."""
    return str(given) if isinstance(given, int) else given


class Spec(ShardedSpec):
    """Quantised"""

    export_format: Literal["quantized"] = "quantized"
    quantization_way: Annotated[Way, Ui("Way of quantising", simple=True)] = "bitsandbytes"
    """bitsandbytes: at once and without texts, for transformers; gptq and awq: over texts, slower to make and faster in
    vLLM and SGLang on a card. Both need the package gptqmodel."""
    export_quantization_bit: Annotated[Literal["4", "8", "3", "2"], BeforeValidator(_as_written), Ui("Bits", simple=True)] = "4"
    """Bits of a weight. bitsandbytes: 4 or 8; gptq: 4, 8, 3 or 2; awq: 4."""
    export_quantization_dataset: Annotated[str, Ui("Texts that calibrate", when=("quantization_way", "gptq", "awq"))] = ""
    """A set of Data by its name, best the one that was learned, or a file with a column 'text'."""
    export_quantization_nsamples: Annotated[
        int, Field(ge=1, le=10_000), Ui("Windows of text", when=("quantization_way", "gptq", "awq"))
    ] = 128
    """How many windows of these texts are read. Usual: 128 to 256."""
    export_quantization_maxlen: Annotated[
        int, Field(ge=16, le=32_768), Ui("Tokens of a window", when=("quantization_way", "gptq", "awq"))
    ] = 1024
    """Tokens of each window. Usual: 512 to 2048."""


BOUNDS: Mapping[tuple[Way, str], Bounds] = {
    ("bitsandbytes", "8"): Bounds(0.82, 0.06), ("bitsandbytes", "4"): Bounds(0.62, 0.6),
    ("gptq", "8"): Bounds(0.82, 0.06), ("gptq", "4"): Bounds(0.62, 0.6), ("gptq", "3"): Bounds(0.4, 1.5),
    ("gptq", "2"): Bounds(0.1, 6.0), ("awq", "4"): Bounds(0.62, 0.6),
}  # fmt: skip
"""SmolLM2-135M-Instruct shows 0.909 and 0.022 in 8 bits of bitsandbytes, 0.784 and 0.264 in 4, over 361 tokens of ten answers;
small models lose most. GPTQ and AWQ are held to the same for the same bits; 3 and 2 bits were not measured."""


def needs(spec: Spec, source: Source) -> int:
    way, bits = spec.quantization_way, spec.export_quantization_bit
    if bits not in BITS[way]:
        raise UserError(Say.bits(way=way, given=bits, wanted=", ".join(BITS[way])), key="export_quantization_bit")
    planned = plan(source, "auto")
    if way == "bitsandbytes":
        require("bitsandbytes", Say.why_bitsandbytes, "quantization_way")
    else:
        require("gptqmodel", Say.why_calibrated, "quantization_way")
        if way == "gptq":
            require("optimum", Say.why_read, "quantization_way")
        source.texts(spec.export_quantization_dataset)
    return planned.num_bytes + between_bytes(planned) + beside_bytes(source)


def export(spec: Spec, source: Source, folder: Path) -> Made:
    planned = plan(source, "auto")
    for note in planned.notes:
        source.opening.note(note)
    with whole_between(planned, source, folder / BETWEEN) as model:
        if spec.quantization_way == "bitsandbytes":
            _by_bitsandbytes(spec, source, planned, model, folder)
        else:
            _calibrated(spec, source, planned, model, folder)
        for file in model.iterdir():
            if file.name != "config.json" and ".safetensors" not in file.suffixes:
                shutil.copyfile(file, folder / file.name)
    return Made("transformers", Path(), None, BOUNDS[spec.quantization_way, spec.export_quantization_bit], original=True)


def _by_bitsandbytes(spec: Spec, source: Source, planned: Plan, model: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    computed = torch.float16 if planned.kind == "F16" else torch.bfloat16
    bits = loading(Quantisation(int(spec.export_quantization_bit)), computed)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    source.opening.progress(0, planned.num_bytes)
    few = AutoModelForCausalLM.from_pretrained(
        model,
        dtype="auto",
        device_map={"": where},
        trust_remote_code=source.opening.trust_remote_code,
        use_safetensors=True,
        **bits,
    )
    few.save_pretrained(str(folder), max_shard_size=_shard(spec))
    source.opening.progress(planned.num_bytes, planned.num_bytes)


def _calibrated(spec: Spec, source: Source, planned: Plan, model: Path, folder: Path) -> None:
    library, ways = import_module("gptqmodel"), import_module("gptqmodel.quantization").METHOD
    given = _windows(spec, source)
    config = library.QuantizeConfig(
        bits=int(spec.export_quantization_bit),
        group_size=_group(planned),
        quant_method=ways.AWQ if spec.quantization_way == "awq" else ways.GPTQ,
        offload_to_disk_path=str(folder / ASIDE),
    )
    source.opening.progress(0, planned.num_bytes)
    try:
        few = library.GPTQModel.load(str(model), config, trust_remote_code=source.opening.trust_remote_code)
        few.quantize([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in given], batch_size=1)
        few.save(str(folder), max_shard_size=_shard(spec))
    except (ValueError, RuntimeError, AssertionError, NotImplementedError, TypeError) as error:  # each a way of it to say no
        said = Say.unquantised(way=spec.quantization_way, reason=str(error)[:300] or type(error).__name__)
        raise UserError(said, key="quantization_way") from error
    finally:
        shutil.rmtree(folder / ASIDE, ignore_errors=True)
    _forget_places(folder)
    source.opening.progress(planned.num_bytes, planned.num_bytes)


def _shard(spec: Spec) -> int:
    return int(spec.export_size * 1_000_000_000)


def _windows(spec: Spec, source: Source) -> Sequence[Sequence[int]]:
    """So many windows of tokens, or as many as the texts give."""
    length, wanted = spec.export_quantization_maxlen, spec.export_quantization_nsamples
    found = list(islice(_cut(source, spec.export_quantization_dataset, length), wanted))
    if not found:
        said = Say.no_windows(given=spec.export_quantization_dataset, least=LEAST_TOKENS)
        raise UserError(said, key="export_quantization_dataset")
    if len(found) < wanted:
        source.opening.note(Say.few_windows(given=len(found), length=length, wanted=wanted))
    return found


def _cut(source: Source, given: str, length: int) -> Iterator[Sequence[int]]:
    """The texts one after another, each behind an end of text, cut into windows; the rest where it is no mere scrap."""
    tokenizer = source.opening.tokenizer()
    held: list[int] = []
    for text in source.texts(given):
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        held += [*ids, tokenizer.eos_token_id]
        while len(held) >= length:
            yield held[:length]
            held = held[length:]
    if len(held) >= LEAST_TOKENS:
        yield held


def _group(planned: Plan) -> int:
    """How many weights share a scale."""
    widths = {part.base.shape[1] for part in planned.parts if len(part.base.shape) == 2}
    return next((size for size in GROUPS if all(width % size == 0 for width in widths)), -1)


def _forget_places(folder: Path) -> None:
    """Take out of the folder where on this machine the work was done, and how it went."""
    (folder / "quant_log.csv").unlink(missing_ok=True)
    for name in ("config.json", "quantize_config.json"):
        if (folder / name).is_file():
            values = json.loads((folder / name).read_text("utf-8"))
            told = values.get("quantization_config", values)
            for held in (told, told.get("meta") or {}):
                held.pop("offload_to_disk_path", None)
            (folder / name).write_text(json.dumps(values, indent=2) + "\n", "utf-8")
