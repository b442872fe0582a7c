"""The fast ways beside the plain ones: the same numbers, forward and backward."""

import copy
import platform
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model, inject_adapter_in_model
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from tests.tiny import write_model
from workbench.kernels import hasten
from workbench.kernels import head as heads
from workbench.kernels.apart import LEAST_SHARED, NAME, SHORT, Rows, attend, flatten
from workbench.kernels.gated import fuse_gates
from workbench.kernels.head import likelihoods
from workbench.kernels.lora import quicken_adapters
from workbench.kernels.norms import fuse_norms
from workbench.models import load_model
from workbench.workspace import source_folder

KINDS = {torch.float32: 2e-6, torch.bfloat16: 2e-2}


def distance(one: Any, other: Any) -> float:
    """How far one lies from the other, as a share of the other."""
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).norm() / other.norm().clamp(min=1e-30))


def slopes(loss: Any, *of: Any) -> Any:
    return torch.autograd.grad(loss, of)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("at_once", [1 << 23, 700], ids=["whole", "parts"])
def test_likelihoods_and_their_slopes(kind: Any, trained: bool, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.kernels.head.LOGITS_AT_ONCE", at_once)
    torch.manual_seed(0)
    hidden, weight = torch.randn(50, 16).to(kind).requires_grad_(), torch.randn(97, 16).to(kind).requires_grad_(trained)
    right, counts = torch.randint(0, 97, (50,)), torch.rand(50)
    logs, best = likelihoods(hidden, weight, right)
    exact = torch.log_softmax(hidden.double() @ weight.double().t(), 1).gather(1, right[:, None]).squeeze(1)
    assert distance(logs, exact) < KINDS[kind]
    assert (best == (hidden @ weight.t()).argmax(1).eq(right)).float().mean() > 0.95
    moved = (hidden, weight) if trained else (hidden,)
    for found, wanted in zip(slopes((logs * counts).sum(), *moved), slopes((exact * counts).sum(), *moved), strict=True):
        assert found.dtype == kind and distance(found, wanted) < KINDS[kind]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("brought", [(0, 0, 0), (0, 20, 17)], ids=["each its own", "one beginning"])
@pytest.mark.parametrize("length", [20, SHORT + 5])
def test_rows_in_one_line_attend_to_themselves_alone(kind: Any, brought: tuple[int, ...], length: int) -> None:
    torch.manual_seed(0)
    whole = [length, 23, 29]
    rows = Rows([one - past for one, past in zip(whole, brought, strict=True)], [torch.arange(past) if past else None for past in brought])
    query, key, value = (torch.randn(1, heads, sum(rows.lengths), 8).to(kind).requires_grad_() for heads in (6, 2, 2))
    module = SimpleNamespace(is_causal=True, num_key_value_groups=3, training=True)
    together, _ = attend(module, query, key, value, None, rows=rows)
    mask = torch.block_diag(*(torch.ones(one, one).tril() for one in whole)).bool()[None, None]
    exact = [one.double()[:, :, rows.whole] for one in (query, key, value)]
    wanted, _ = sdpa_attention_forward(module, *exact, mask)  # type: ignore[arg-type]
    assert distance(together[:, rows.whole], wanted) < KINDS[kind]
    own = torch.cat([torch.arange(one) >= past for one, past in zip(whole, brought, strict=True)])
    towards = torch.randn(together.shape)
    for found, right in zip(
        slopes((together * towards).sum(), query, key, value),
        slopes((wanted[:, own] * towards).sum(), query, key, value), strict=True,
    ):  # fmt: skip
        assert distance(found, right) < KINDS[kind]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_model(folder)
    return lambda: load_model(folder, "fp32", False).cpu()


def adapted(base: Any, **more: Any) -> Any:
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **more)
    return get_peft_model(base, config)


@pytest.mark.parametrize(
    "more", [{}, {"use_rslora": True, "lora_alpha": 3}, {"use_dora": True}, {"lora_dropout": 0.5}],
    ids=["plain", "rslora", "dora", "dropout"],
)  # fmt: skip
def test_an_adapter_is_computed_as_peft_does(tiny: Callable[[], Any], more: dict[str, Any]) -> None:
    model = adapted(tiny(), **more)
    ids = torch.arange(3, 33).reshape(2, 15)
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def told() -> Any:
        torch.manual_seed(1)
        logits = model(input_ids=ids).logits
        with model.disable_adapter(), torch.no_grad():
            bare = model(input_ids=ids).logits
        return logits, bare, *slopes(logits.square().sum(), *weights)

    for learning in (False, True):
        model.train(learning)
        plain = told()
        assert quicken_adapters(model) == (0 if learning else 14 * len(model.get_base_model().model.layers) // 2)
        for fast, wanted in zip(told(), plain, strict=True):
            assert distance(fast, wanted) < 2e-6


@pytest.mark.parametrize(("left", "alike"), [(False, False), (True, False), (False, True)], ids=["padded right", "padded left", "alike"])
@pytest.mark.parametrize("adapter", [False, True], ids=["bare", "adapted"])
def test_a_batch_without_its_padding_says_the_same(
    tiny: Callable[[], Any], left: bool, alike: bool, adapter: bool, monkeypatch: Any
) -> None:
    from trl.trainer.utils import add_fused_lm_head

    bases = tiny(), tiny()
    for one in bases:
        add_fused_lm_head(one, outputs=("log_probs", "is_top1"))
    plain, fast = (adapted(one) if adapter else one for one in bases)
    assert hasten(fast, likelihoods=True) and bases[1].config._attn_implementation == NAME
    assert sum(map(is_fused, fast.modules())) == 3 * bases[1].config.num_hidden_layers + 1
    seen, step = [], heads.likelihoods
    monkeypatch.setattr(heads, "likelihoods", lambda *given: (seen.append(len(given[0])), step(*given))[1])
    ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 12, [1] * 5 + [0] * 7, [1] * 9 + [0] * 3])
    mask = mask.flip(1) if left else mask
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, :4] = -100
    if alike:
        begin = torch.arange(5, 5 + LEAST_SHARED + 2).repeat(3, 1)
        ids, mask = torch.cat([begin, ids], 1), torch.cat([torch.ones_like(begin), mask], 1)
        labels = torch.cat([torch.full_like(begin, -100), labels], 1)
        ids[1, LEAST_SHARED], ids[2, LEAST_SHARED + 2] = 3, ids[0, LEAST_SHARED + 2]
    given = {"input_ids": ids, "attention_mask": mask, "labels": labels, "use_cache": False, "fused_lm_head": True}
    found, wanted = fast(**given), plain(**given)
    assert seen == [int(found.label_mask.sum())]
    counted = wanted.label_mask & mask[:, :-1].bool()  # padded left trl also counts what is foretold from padding
    assert torch.equal(found.label_mask, counted)
    assert distance(found.log_probs, wanted.log_probs * counted) < 2e-6
    assert torch.equal(found.is_top1, wanted.is_top1.bool() & counted)
    weights = [weight for name, weight in plain.named_parameters() if weight.requires_grad and "layers" in name]
    same = [weight for name, weight in fast.named_parameters() if weight.requires_grad and "layers" in name]
    pairs = zip(slopes(found.log_probs.sum(), *same), slopes((wanted.log_probs * counted).sum(), *weights), strict=True)
    assert max(distance(one, other) for one, other in pairs) < 1e-5
    assert distance(fast(input_ids=ids, attention_mask=mask).logits, plain(input_ids=ids, attention_mask=mask).logits) < 2e-6


def test_places_that_begin_anew_part_the_rows_of_one_line() -> None:
    named = {"input_ids": torch.arange(8)[None], "position_ids": torch.tensor([[0, 1, 2, 0, 1, 0, 1, 2]])}
    flat = flatten({**named, "labels": torch.arange(8)[None]}, apart=True)
    assert flat is not None and flat.inputs["rows"].lengths == [3, 2, 3]
    both = {**named, "labels": torch.arange(8)[None], "attention_mask": torch.ones(1, 8)}
    assert flatten(both, apart=True) is None


def test_what_rows_begin_with_alike_stands_in_the_line_once() -> None:
    begin = list(range(100, 100 + LEAST_SHARED))
    texts = [[*begin, 1, 2, 3], [*begin, 1, 2, 4, 5], [*begin[1:], 1], [*begin, 1, 7]]
    prompts = [LEAST_SHARED + 1, LEAST_SHARED + 2, 1, LEAST_SHARED - 2]
    longest = max(map(len, texts))
    ids, labels = (torch.tensor([text + [0] * (longest - len(text)) for text in texts]) for _ in range(2))
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
    for row, prompt in zip(labels, prompts, strict=True):
        row[:prompt] = -100
    flat = flatten({"input_ids": ids, "attention_mask": mask, "labels": labels.masked_fill(mask == 0, -100)}, apart=True)
    assert flat is not None
    rows, line = flat.inputs["rows"], flat.inputs["input_ids"][0]
    assert rows.brought == [0, LEAST_SHARED + 1, 0, 0], "the last row learns within what it begins with alike"
    assert [one.tolist() for one in line[rows.whole].split([len(text) for text in texts])] == texts
    assert flat.inputs["position_ids"][0][rows.whole].tolist() == [place for text in texts for place in range(len(text))]
    assert flat.right.tolist() == [one for text, prompt in zip(texts, prompts, strict=True) for one in text[prompt:]]
    assert line[flat.learned[0]].tolist() == [one for text, prompt in zip(texts, prompts, strict=True) for one in text[prompt - 1 : -1]]


def gated(kind: Any, **more: Any) -> Any:
    torch.manual_seed(0)
    told = {"hidden_size": 16, "intermediate_size": 40, "num_attention_heads": 2, "mlp_bias": False, **more}
    return torch.nn.ModuleList([LlamaMLP(LlamaConfig(**told))]).to(kind)


def is_fused(layer: Any) -> bool:
    return type(layer).__name__.startswith("Fused")


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("learned", [(), ("gate_proj", "up_proj", "down_proj"), ("up_proj",), ("down_proj",), "everything"], ids=str)
def test_a_gated_layer_and_its_slopes(kind: Any, learned: Any) -> None:
    model = gated(kind)
    model.requires_grad_(learned == "everything")
    if learned and learned != "everything":
        config = LoraConfig(r=4, lora_alpha=6, target_modules=list(learned), init_lora_weights=False)
        inject_adapter_in_model(config, model)  # type: ignore[arg-type]
        quicken_adapters(model)
    exact = copy.deepcopy(model).double()
    assert fuse_gates(model) == 1 and is_fused(model[0]) and not is_fused(exact[0])
    x, towards = torch.randn(3, 5, 16).to(kind), torch.randn(3, 5, 16)

    def told(one: Any) -> Any:
        given = x.detach().to(next(one.parameters()).dtype).requires_grad_()
        made = one[0](given)
        return made, *slopes((made * towards).sum(), given, *(weight for weight in one.parameters() if weight.requires_grad))

    for found, wanted in zip(told(model), told(exact), strict=True):
        assert distance(found, wanted) < KINDS[kind]


def test_a_gated_layer_remembers_two_arrays_of_its_inner_width() -> None:
    model = gated(torch.float32)
    given = torch.randn(7, 16, requires_grad=True)

    def remembered() -> int:
        kept: list[Any] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda one: (kept.append(one), one)[1], lambda one: one):
            model[0](given)
        return len({one.data_ptr() for one in kept if one.shape == (7, 40)})

    assert remembered() == 4
    fuse_gates(model)
    assert remembered() == 2


def test_other_gated_layers_stay() -> None:
    class Held(LlamaMLP):
        def forward(self, x: Any) -> Any:
            return super().forward(x).clamp(-0.01, 0.01)

    held = Held(LlamaConfig(hidden_size=16, intermediate_size=40, num_attention_heads=2))
    for other in (torch.nn.ModuleList([held]), gated(torch.float32, hidden_act="gelu"), gated(torch.float32, mlp_bias=True)):
        assert fuse_gates(other) == 0 and not is_fused(other[0])


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen3RMSNorm])
def test_a_norm_and_its_slopes(kind: type[Any], trained: bool, dtype: Any) -> None:
    torch.manual_seed(0)
    norm = kind(96, eps=1e-5)
    torch.nn.init.normal_(norm.weight, 1, 0.3)
    model = torch.nn.ModuleList([norm]).to(dtype).requires_grad_(trained)
    plain = copy.deepcopy(norm)
    assert fuse_norms(model) == 1 and is_fused(norm)
    given, towards = torch.randn(3, 4, 96).mul(7).to(dtype).requires_grad_(), torch.randn(3, 4, 96)
    exact, weight = given.detach().double().requires_grad_(), norm.weight.detach().double().requires_grad_()
    wanted = exact * (exact.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * weight
    found = norm(given)
    assert found.dtype == dtype and distance(found, plain(given)) < KINDS[dtype]
    moved = ((given, norm.weight), (exact, weight)) if trained else ((given,), (exact,))
    for one, other in zip(slopes((found * towards).sum(), *moved[0]), slopes((wanted * towards).sum(), *moved[1]), strict=True):
        assert one.dtype == dtype and distance(one, other) < KINDS[dtype]


def test_other_norms_stay() -> None:
    model = torch.nn.ModuleList([GemmaRMSNorm(16), LlamaRMSNorm(16).half(), torch.nn.LayerNorm(16)])
    torch.nn.init.normal_(model[0].weight)
    assert fuse_norms(model) == 0 and not any(map(is_fused, model))


def test_weights_in_fp32_are_computed_in_bf16_under_autocast(tiny: Callable[[], Any]) -> None:
    from trl.trainer.utils import add_fused_lm_head

    plain, fast, exact = tiny(), tiny(), tiny().double()
    for one in (plain, fast, exact):
        add_fused_lm_head(one, outputs=("log_probs", "is_top1"))
    assert hasten(fast, likelihoods=True)
    ids = torch.randint(5, 60, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1] * 12, [1] * 5 + [0] * 7, [1] * 9 + [0] * 3])
    given = {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100), "fused_lm_head": True}

    def told(one: Any, half: bool) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logs = one(**given).log_probs
        found = slopes(logs.sum(), *one.parameters())
        assert {weight.dtype for weight in found} == {one.dtype}
        return logs, torch.cat([weight.flatten() for weight in found])

    wanted, usual, found = told(exact, False), told(plain, True), told(fast, True)
    for right, other, ours in zip(wanted, usual, found, strict=True):
        assert 1e-4 < distance(ours, right) < 1.5 * distance(other, right)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc alone can be told so")
def test_what_a_step_frees_is_not_asked_for_again() -> None:
    code = """
import resource, sys, torch
from workbench.kernels.memory import keep_freed
assert sys.argv[1] == "no" or keep_freed()
def step(): return [torch.ones(1 << 24) for _ in range(2)]
for _ in range(12): step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    told = [int(subprocess.check_output([sys.executable, "-c", code, way], cwd=source_folder())) for way in ("no", "yes")]
    assert told[0] > 1000 and told[1] < told[0] / 10
