"""LoRA: small low-rank matrices beside frozen weights (arXiv 2106.09685). Knows nothing of data or runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.adapting import adapted, targets, task_of, ties, transposed, whole_modules
from workbench.fields import Ui
from workbench.problems import Problem
from workbench.text import Text
from workbench.tuning import AdapterSpec
from workbench.tuning.lora.starts import begin_at

EMBEDDINGS = ("embed_tokens", "wte", "word_embeddings")


class Say:
    two_starts = Text(
        "'PiSSA' is on, and 'LoRA start' is '{given}'. Accepted: one of them. Leave 'LoRA start' on default."
    )
    start_dora = Text("DoRA does not begin at {start}. Accepted: one of them. Turn one off.")
    start_quantised = Text(
        "{start} needs weights of 16 or 32 bits, and these have 4 or 8. Accepted: another start. Set 'LoRA start' to default."
    )
    start_embedding = Text(
        "{start} begins at linear layers, and '{given}' is an embedding. Accepted: all, or names of linear layers. Take it "
        "out, or write it under 'Modules trained whole'."
    )
    odd_rank = Text("LoRA start orthogonal needs an even rank, and the rank is {given}. Enter, for example, {example}.")
    iterations = Text("PiSSA iterations is 0. Accepted: -1 for the exact way, or 1 and more. Enter, for example, 16.")


class Spec(AdapterSpec):
    """LoRA"""

    QUANTISED: ClassVar[bool] = True

    finetuning_type: Literal["lora"] = "lora"
    lora_rank: Annotated[int, Field(ge=1, le=1024), Ui("LoRA rank", simple=True)] = 8
    """Width of the adapter: more can hold more and takes more memory. Usual: 8 to 64."""
    lora_alpha: Annotated[int | None, Field(ge=1, le=4096), Ui("LoRA alpha")] = None
    """Strength of the adapter; what it adds is multiplied by alpha / rank. Empty: twice the rank."""
    lora_dropout: Annotated[float, Field(ge=0, lt=1), Ui("LoRA dropout")] = 0.0
    """Share of the adapter's inputs that is left out at random while training. Usual: 0 to 0.1."""
    lora_target: Annotated[list[str], Field(min_length=1), Ui("LoRA modules")] = ["all"]
    """Modules that get an adapter, by name, such as q_proj,v_proj; all means every linear layer. Usual: all."""
    use_rslora: Annotated[bool, Ui("Rank-stabilised")] = False
    """rsLoRA: multiply by alpha / root of the rank instead, which keeps large ranks strong (arXiv 2312.03732)."""
    use_dora: Annotated[bool, Ui("DoRA")] = False
    """Train the length of each weight vector apart from its direction (arXiv 2402.09353). Better at small ranks, slower."""
    pissa_init: Annotated[bool, Ui("PiSSA")] = False
    """Begin at the strongest directions of the weights (arXiv 2404.02948). It learns faster; the adapter is saved twice as wide."""
    pissa_iter: Annotated[int, Field(ge=-1, le=1000), Ui("PiSSA iterations", when=("pissa_init", "true"))] = 16
    """Rounds of the quick search for these directions; -1 computes them exactly, which takes longer. Usual: 4 to 16."""
    init_lora_weights: Annotated[Literal["default", "gaussian", "orthogonal", "olora"], Ui("LoRA start")] = "default"
    """Where the adapter begins. default and gaussian: at nothing, drawn by lot; orthogonal: at nothing, in directions
    that differ; olora: at directions of the weights themselves (arXiv 2406.01775), saved twice as wide."""
    loraplus_lr_ratio: Annotated[float | None, Field(ge=1, le=1000), Ui("LoRA+ ratio")] = None
    """How much faster than the rest the adapter's second matrix learns (arXiv 2402.12354). Empty: alike. Usual: 4 to 16."""
    loraplus_lr_embedding: Annotated[float, Field(gt=0, lt=1), Ui("LoRA+ rate of embeddings")] = 1e-6
    """With LoRA+: learning rate of adapters that lie on embeddings. Usual: 1e-6."""

    @property
    def start(self) -> str:
        """PEFT's word for where the adapter begins, of ours 'pissa' and 'olora'."""
        return "pissa" if self.pissa_init else self.init_lora_weights

    def problems(self, quantised: bool, adapters: int) -> list[Problem]:
        found = super().problems(quantised, adapters)
        if self.pissa_init and self.init_lora_weights != "default":
            found.append(Problem(Say.two_starts(given=self.init_lora_weights), "init_lora_weights"))
        if self.pissa_init and not self.pissa_iter:
            found.append(Problem(Say.iterations(), "pissa_iter"))
        key = "pissa_init" if self.pissa_init else "init_lora_weights"
        if self.start in ("pissa", "olora"):
            if embeddings := [name for name in self.lora_target if name in EMBEDDINGS]:
                found.append(Problem(Say.start_embedding(start=self.start, given=", ".join(embeddings)), "lora_target"))
            if self.use_dora:
                found.append(Problem(Say.start_dora(start=self.start), "use_dora"))
            if quantised:
                found.append(Problem(Say.start_quantised(start=self.start), key))
        if self.start == "orthogonal" and self.lora_rank % 2:
            found.append(Problem(Say.odd_rank(given=self.lora_rank, example=self.lora_rank + 1), "lora_rank"))
        return found

    def rates(self, model: Any, learning_rate: float) -> Mapping[str, float]:
        if self.loraplus_lr_ratio is None:
            return {}
        fast, embedding = learning_rate * self.loraplus_lr_ratio, self.loraplus_lr_embedding
        trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        fasts = {name: fast for name, weight in trained.items() if "lora_B" in name or weight.ndim == 1}
        return fasts | {name: embedding for name in trained if "lora_embedding" in name}


def apply(model: Any, spec: Spec, adapters: Sequence[Path]) -> Any:
    """A PeftModel whose adapter alone is trainable, with the modules that are to be trained whole."""
    tuned = adapted(model, _config(model, spec), adapters, spec.create_new_adapter)
    if spec.start in ("pissa", "olora") and (spec.create_new_adapter or not adapters):
        begin_at(tuned, spec.start, spec.pissa_iter)
    return tuned


def _config(model: Any, spec: Spec) -> Any:
    from peft import LoraConfig

    chosen = targets(model, spec.lora_target, "lora_target", EMBEDDINGS)
    return LoraConfig(
        task_type=task_of(model),
        r=spec.lora_rank,
        lora_alpha=spec.lora_alpha or 2 * spec.lora_rank,
        lora_dropout=spec.lora_dropout,
        target_modules=chosen,
        modules_to_save=whole_modules(model, spec.additional_target, keeps_ties=True),
        ensure_weight_tying=ties(model, [*chosen, *spec.additional_target]),
        use_rslora=spec.use_rslora,
        use_dora=spec.use_dora,
        init_lora_weights=spec.start if spec.start in ("gaussian", "orthogonal") else True,
        fan_in_fan_out=transposed(model),
    )
