"""The fields of a run, section by section. Knows no plugin and no rule between fields.

The sentence under a field is its tooltip, its line in --help and its row in docs/fields.md.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from workbench.dividing import BY_DEEPSPEED, DIVIDING, WAYS, Way
from workbench.fields import Section, Ui


def as_bits(given: Any) -> Any:
    """A number of bits as text, as files write it without quotes; nothing and 0 mean none."""
    return "none" if given in (None, 0, "", "None", "null") else str(given) if type(given) is int else given


def as_method(given: Any) -> Any:
    """The long name of the library means the short one."""
    return "bnb" if str(given).lower() in ("bitsandbytes", "bnb") else given


Optimiser = Literal[
    "adamw_torch", "adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "adafactor", "sgd",
    "lion_32bit", "lion_8bit", "paged_lion_8bit", "muon", "adam_mini", "galore_adamw", "apollo_adamw",
    "badam",
]  # fmt: skip
Scheduler = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "cosine_with_min_lr",
    "cosine_warmup_with_min_lr", "polynomial", "inverse_sqrt", "warmup_stable_decay", "reduce_lr_on_plateau",
]  # fmt: skip
Tracker = Literal["tensorboard", "wandb", "swanlab", "trackio", "mlflow"]
ADAM = ("optim", *(name for name in get_args(Optimiser) if name not in ("adafactor", "sgd")))
GALORE, APOLLO, BADAM = ("optim", "galore_adamw"), ("optim", "apollo_adamw"), ("optim", "badam")
"""Which optimisers have these settings."""
FEW_BITS, FOUR_BITS = ("quantization_bit", "4", "8"), ("quantization_bit", "4")


class ModelSection(Section):
    """Model"""

    model_name_or_path: Annotated[str, Ui("Model", simple=True, widget="model")] = ""
    """A folder with a model, or an id of a hub such as Qwen/Qwen2.5-0.5B-Instruct, which is then fetched."""
    hub: Annotated[Literal["huggingface", "modelscope"], Ui("Hub")] = "huggingface"
    """Where an id is fetched from. In mainland China ModelScope is usually the faster one."""
    model_revision: Annotated[str, Field(min_length=1), Ui("Revision")] = "main"
    """Branch, tag or commit on the hub. Usual: main."""
    adapter_name_or_path: Annotated[list[str], Ui("Adapter", widget="adapter")] = []
    """A trained adapter to go on from: a run's folder or one of its checkpoints. Empty: a new one."""
    template: Annotated[str, Field(min_length=1), Ui("Chat template", widget="template")] = "auto"
    """How a chat becomes text. auto: the model's own template; a name: that template. Use the same one in chat."""
    enable_thinking: Annotated[bool, Ui("Thinking")] = True
    """For models that can think before they answer. Off: thoughts are neither learned nor asked for."""
    default_system: Annotated[str, Ui("System prompt")] = ""
    """Said first in every conversation that brings no system prompt. Empty: as the template does by itself."""
    trust_remote_code: Annotated[bool, Ui("Run code from the model")] = False
    """Let the model's folder run its own Python code. Only for models that need it and that you trust."""


class SetsSection(Section):
    """Data"""

    dataset: Annotated[list[str], Ui("Datasets", simple=True, widget="dataset")] = []
    """One or more sets of data/dataset_info.json, learned together."""
    dataset_dir: Annotated[str, Field(min_length=1), Ui("Data folder")] = "data"
    """The folder that holds dataset_info.json, inside the workspace. Usual: data."""
    dataset_values: Annotated[dict[str, str], Ui("Values for the set", simple=True, widget="values")] = {}
    """What stands for the placeholders of a set, such as name and author of the identity sets."""
    cutoff_len: Annotated[int, Field(ge=16, le=1_048_576), Ui("Cutoff length", simple=True)] = 1024
    """Most tokens of one conversation; longer ones lose their last turns, and the log says so. Usual: 512 to 4096."""
    max_samples: Annotated[int | None, Field(ge=1), Ui("Max samples")] = None
    """Take only the first so many rows of each set, for a quick try. Empty: all."""


class DataSection(SetsSection):
    """Data"""

    eval_dataset: Annotated[list[str], Ui("Validation sets", widget="dataset")] = []
    """Sets to measure on, which are never learned. They take the place of the validation share."""
    mix_strategy: Annotated[
        Literal["concat", "interleave_under", "interleave_over", "interleave_once"], Ui("Mixing")
    ] = "concat"
    """How several sets become one. concat: one after another; interleave_under: in turns until the shortest ends;
    interleave_over: in turns until the longest ends, shorter ones again; interleave_once: in turns, each row once."""
    interleave_probs: Annotated[list[float], Ui("Shares in the mix")] = []
    """How often each set is drawn when sets are interleaved, one share a set, together 1. Empty: in turns."""
    streaming: Annotated[bool, Ui("Streaming")] = False
    """Turn rows into tokens while the run learns, for sets larger than the disk has room for. Needs 'Max steps'."""
    buffer_size: Annotated[int, Field(ge=1, le=10_000_000), Ui("Shuffle buffer")] = 16_384
    """When streaming: rows among which the next one is drawn. Usual: 1,000 to 100,000."""
    tokenized_path: Annotated[str, Ui("Token folder")] = ""
    """A folder in the workspace that keeps the rows as tokens: written when it is new, taken as it is when not."""
    overwrite_cache: Annotated[bool, Ui("Tokenise anew")] = False
    """Turn rows into tokens again, though an earlier run left the same ones in the cache."""
    val_size: Annotated[float, Field(ge=0), Ui("Validation share", simple=True)] = 0.05
    """Rows held out to measure what was really learned: a share below 1, or a count. 0: none. Usual: 0.05 to 0.1."""


class OptimSection(Section):
    """Optimisation"""

    learning_rate: Annotated[float, Field(gt=0, lt=1), Ui("Learning rate", simple=True)] = 3e-4
    """Peak learning rate, reached at the end of warm-up. Usual: 1e-4 to 5e-4 for LoRA."""
    num_train_epochs: Annotated[float, Field(gt=0, le=10_000), Ui("Epochs", simple=True)] = 5.0
    """How often every row is seen. Usual: 1 to 3 for thousands of rows, 5 to 10 for a hundred."""
    max_steps: Annotated[int | None, Field(ge=1), Ui("Max steps")] = None
    """Stop after so many optimiser steps, whatever the epochs. Empty: by epochs."""
    per_device_train_batch_size: Annotated[int, Field(ge=1, le=1024), Ui("Batch size", simple=True)] = 4
    """Rows computed at once. More is faster until memory ends. Usual: 1 to 16."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=4096), Ui("Accumulation", simple=True)] = 2
    """Batches added up before each optimiser step: effective batch = batch size x this. Usual: 1 to 16."""
    auto_find_batch_size: Annotated[bool, Ui("Smaller batches when memory ends")] = False
    """When memory ends, go on with half the batch size and twice the accumulation, from the last checkpoint or the start:
    the effective batch stays as it is. The log says so."""
    per_device_eval_batch_size: Annotated[int, Field(ge=1, le=1024), Ui("Validation batch size")] = 4
    """Rows computed at once while validating. It changes speed and memory, not the result."""
    lr_scheduler_type: Annotated[Scheduler, Ui("Scheduler")] = "cosine"
    """How the learning rate changes over the run. reduce_lr_on_plateau follows the validation loss. Usual: cosine or
    linear."""
    lr_scheduler_kwargs: Annotated[dict[str, str], Ui("Scheduler settings")] = {}
    """Further settings of the scheduler, as transformers calls them, such as min_lr_rate 0.1 or num_cycles 2."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1), Ui("Warm-up share")] = 0.05
    """Share of the steps in which the learning rate rises from zero. Usual: 0.03 to 0.1."""
    warmup_steps: Annotated[int, Field(ge=0), Ui("Warm-up steps")] = 0
    """Steps in which the learning rate rises; above 0 it takes the place of the share."""
    weight_decay: Annotated[float, Field(ge=0, lt=1), Ui("Weight decay")] = 0.0
    """Pull of the trained weights towards zero. Usual: 0 to 0.1."""
    max_grad_norm: Annotated[float, Field(gt=0, le=1e6), Ui("Gradient clipping")] = 1.0
    """Longer gradients are scaled down to this norm. Usual: 1."""
    optim: Annotated[Optimiser, Ui("Optimiser")] = "adamw_torch"
    """The rule that moves the weights. 8bit: a quarter of its memory; paged: spills to the machine's memory on a card;
    galore, apollo and badam: full fine-tuning in little memory. Usual: adamw_torch."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1), Ui("Beta 1", when=ADAM)] = 0.9
    """How long Adam remembers the gradient's direction. Usual: 0.9."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1), Ui("Beta 2", when=ADAM)] = 0.999
    """How long Adam remembers the gradient's size. Usual: 0.95 to 0.999."""
    adam_epsilon: Annotated[float, Field(gt=0, lt=1), Ui("Epsilon", when=ADAM)] = 1e-8
    """A small number that keeps Adam from dividing by zero. Usual: 1e-8."""
    neftune_noise_alpha: Annotated[float | None, Field(gt=0, le=100), Ui("Noise (NEFTune)")] = None
    """Noise added to what the model reads while it learns, which can make its answers better. Empty: none. Usual: 5."""
    galore_target: Annotated[list[str], Field(min_length=1), Ui("GaLore layers", when=GALORE)] = ["all"]
    """Linear layers whose gradients are projected, by the end of their names. all: every one but the head."""
    galore_rank: Annotated[int, Field(ge=1, le=8192), Ui("GaLore rank", when=GALORE)] = 16
    """Size of the space that gradients are projected into. More learns better and takes more memory. Usual: 16 to 256."""
    galore_update_interval: Annotated[int, Field(ge=1), Ui("GaLore interval", when=GALORE)] = 200
    """Steps between new projections. Usual: 50 to 1000."""
    galore_scale: Annotated[float, Field(gt=0, le=1000), Ui("GaLore scale", when=GALORE)] = 2.0
    """What the projected update is multiplied by. Usual: 0.25 to 4."""
    galore_proj_type: Annotated[
        Literal["std", "reverse_std", "right", "left", "full"], Ui("GaLore side", when=GALORE)
    ] = "std"
    """Which side of the gradient is projected. std: the shorter one."""
    apollo_target: Annotated[list[str], Field(min_length=1), Ui("APOLLO layers", when=APOLLO)] = ["all"]
    """Linear layers whose gradients are projected, by the end of their names. all: every one but the head."""
    apollo_rank: Annotated[int, Field(ge=1, le=8192), Ui("APOLLO rank", when=APOLLO)] = 16
    """Size of the space in which gradients are measured; APOLLO gets along with 1. Usual: 1 to 256."""
    apollo_update_interval: Annotated[int, Field(ge=1), Ui("APOLLO interval", when=APOLLO)] = 200
    """Steps between new projections. Usual: 50 to 1000."""
    apollo_scale: Annotated[float, Field(gt=0, le=10_000), Ui("APOLLO scale", when=APOLLO)] = 32.0
    """What the update is multiplied by, its square root in effect. Usual: 1 to 128, more for a lower rank."""
    apollo_proj: Annotated[Literal["random", "svd"], Ui("APOLLO projection", when=APOLLO)] = "random"
    """How projections are made. random: fast and as good; svd: from the gradient."""
    apollo_proj_type: Annotated[Literal["std", "right", "left"], Ui("APOLLO side", when=APOLLO)] = "std"
    """Which side of the gradient is projected. std: the shorter one."""
    apollo_scale_type: Annotated[Literal["channel", "tensor"], Ui("APOLLO scaling", when=APOLLO)] = "channel"
    """What shares one learning rate: each channel, or with rank 1 each whole tensor."""
    apollo_scale_front: Annotated[bool, Ui("APOLLO limits first", when=APOLLO)] = False
    """Limit how fast the update grows before it is scaled instead of after it."""
    badam_switch_mode: Annotated[
        Literal["ascending", "descending", "random", "fixed"], Ui("Order of layers", when=BADAM)
    ] = "ascending"
    """BAdam moves one layer at a time: from the first, from the last, by lot, or one only."""
    badam_switch_interval: Annotated[int | None, Field(ge=1), Ui("Steps a layer", when=BADAM)] = 50
    """Steps before the next layer's turn. Empty: it never comes. Usual: 50 to 200."""
    badam_start_block: Annotated[int | None, Field(ge=0), Ui("First layer", when=BADAM)] = None
    """The layer to begin with, counted from 0. Empty: the first of the order."""
    train_sampling_strategy: Annotated[Literal["random", "group_by_length", "sequential"], Ui("Order of rows")] = (
        "random"
    )
    """group_by_length: rows of like length together, for less padding; sequential: as they stand in the sets."""
    seed: Annotated[int, Field(ge=0, lt=2**32), Ui("Seed")] = 42
    """Start of all random numbers: the same seed gives the same run."""
    data_seed: Annotated[int | None, Field(ge=0, lt=2**32), Ui("Seed of the order")] = None
    """Start of the random numbers that order the rows. Empty: as the seed."""


class MemorySection(Section):
    """Numbers and memory"""

    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16", "pure_bf16"], Ui("Precision")] = "auto"
    """How numbers are held. auto: the fastest that this machine computes well; the log says which and why. pure_bf16: also
    the trained weights, for half of their memory; small updates get lost."""
    gradient_checkpointing: Annotated[bool, Ui("Gradient checkpointing")] = False
    """Compute parts twice to save memory; about 30 % slower. Turn it on when memory ends."""
    quantization_bit: Annotated[Literal["none", "4", "8"], BeforeValidator(as_bits), Ui("Quantisation")] = "none"
    """Hold the frozen weights in 4 or 8 bits: a quarter or half of the memory (QLoRA, arXiv 2305.14314), a little less
    exact. Only for methods that leave the model's own weights as they are. none: as they come."""
    quantization_method: Annotated[Literal["bnb"], BeforeValidator(as_method), Ui("Quantised by", when=FEW_BITS)] = (
        "bnb"
    )
    """What makes the few bits while the model is loaded. bnb: bitsandbytes."""
    quantization_type: Annotated[Literal["nf4", "fp4"], Ui("Kind of 4 bits", when=FOUR_BITS)] = "nf4"
    """How 4 bits are shared out. nf4: where weights usually lie, the more exact one; fp4: like small floats."""
    double_quantization: Annotated[bool, Ui("Quantise twice", when=FOUR_BITS)] = True
    """With 4 bits: quantise the scales too, which saves another 0.4 bit a weight."""
    use_reentrant_gc: Annotated[bool, Ui("Older checkpointing", when=("gradient_checkpointing", "true"))] = False
    """The reentrant kind of gradient checkpointing, for models that run into trouble with the newer one."""
    flash_attn: Annotated[Literal["auto", "disabled", "sdpa", "fa2", "fa3"], Ui("Attention")] = "auto"
    """How attention is computed. auto: torch's own fast way, sdpa, where the model has it; disabled: the plain one; fa2
    and fa3: the package flash-attn, on its cards."""
    enable_liger_kernel: Annotated[bool, Ui("Liger kernels")] = False
    """Fused kernels of the package liger-kernel: faster and in less memory, on NVIDIA and AMD cards only."""
    fast_kernels: Annotated[bool, Ui("Fast kernels")] = True
    """On a processor: compute LoRA, gated layers, norms, attention, loss and Adam in fewer passes, in less memory, without padding, and
    what rows begin with alike once; the same up to rounding. Off: as transformers, PEFT and TRL do it, to compare."""
    torch_compile: Annotated[bool, Ui("Compile")] = False
    """Compile the model with torch.compile: slow to begin, then faster on a card; no gain on a processor."""
    dataloader_num_workers: Annotated[int, Field(ge=0, le=64), Ui("Loader processes")] = 0
    """Processes that put batches together while the model computes. Rows are tokens already, so 0 does nearly always."""


class SharingSection(Section):
    """Several devices"""

    devices: Annotated[list[str], Ui("Cards", widget="cards")] = []
    """Numbers of the cards to compute on, such as 0, 1: each gets a process of its own. Empty: the first one, or as many
    as there are processes."""
    num_processes: Annotated[int | None, Field(ge=1, le=64), Ui("Processes")] = None
    """How many processes learn together, each from rows of its own: a step sees so many times more rows. Empty: one for
    each chosen card."""
    distributed: Annotated[Way, Ui("Shared as")] = "ddp"
    """ddp: each holds the whole model, the fastest way when it fits; fsdp2: weights, gradients and optimiser are divided;
    zero2 and zero3: DeepSpeed, which divides the optimiser's share, or all."""
    offload: Annotated[bool, Ui("Rest in memory", when=("distributed", *DIVIDING))] = False
    """Keep what a card does not need at the moment in the machine's memory: much slower, and room for larger models."""
    deepspeed: Annotated[str, Ui("DeepSpeed file", when=("distributed", *BY_DEEPSPEED))] = ""
    """A JSON file with DeepSpeed's own settings, inside the workspace. Empty: the usual ones."""
    ddp_timeout: Annotated[int, Field(ge=1), Ui("Patience")] = 1800
    """Seconds that a process waits for the others before the run is given up. Usual: 1800."""
    ddp_find_unused_parameters: Annotated[bool, Ui("Look for idle weights", when=("distributed", "ddp"))] = False
    """For models of which a part may take no part in a step, such as some mixtures of experts: a little slower."""

    @property
    def processes(self) -> int:
        """How many processes learn together."""
        return self.num_processes or max(1, len(self.devices))

    @property
    def way(self) -> Way | Literal[""]:
        """How the model is shared out; empty: one process has it alone, and shares it with no memory beside its card's."""
        rests = self.offload and bool(WAYS[self.distributed].zero_stage)
        return self.distributed if self.processes > 1 or rests else ""


class PlaceSection(Section):
    """Place"""

    output_dir: Annotated[str, Ui("Run name")] = ""
    """Name of the run's folder inside saves/. Empty: made from the set and the time."""
    overwrite_output_dir: Annotated[bool, Ui("Overwrite the run")] = False
    """Delete what a run of this name has left, and start anew."""


class SavingSection(PlaceSection):
    """Watching and saving"""

    watch_prompts: Annotated[list[str], Field(max_length=3), Ui("Watch it learn", simple=True, widget="lines")] = []
    """Up to three questions, one a line, answered before training and at each validation, so that you see it learn."""
    watch_max_tokens: Annotated[int, Field(ge=1, le=1024), Ui("Watched tokens")] = 48
    """Most tokens of a watched answer. Usual: 32 to 128."""
    logging_steps: Annotated[int, Field(ge=1), Ui("Log every")] = 1
    """Steps between points of the curve. Usual: 1 to 10."""
    logging_first_step: Annotated[bool, Ui("Log the first step")] = False
    """A point of the curve also for step 1, where there are several steps between points."""
    eval_strategy: Annotated[Literal["steps", "epoch", "no"], Ui("Validate by")] = "steps"
    """When the rows held out are tried: every so many steps, at the end of each epoch, or never."""
    eval_steps: Annotated[int | None, Field(ge=1), Ui("Validate every", when=("eval_strategy", "steps"))] = None
    """Steps between validations. Empty: about eight times in a run."""
    save_strategy: Annotated[Literal["steps", "epoch", "no"], Ui("Save by")] = "steps"
    """When a checkpoint to resume from is saved. no: only when the run is stopped."""
    save_steps: Annotated[int | None, Field(ge=1), Ui("Save every", when=("save_strategy", "steps"))] = None
    """Steps between checkpoints to resume from. Empty: about four times in a run."""
    save_total_limit: Annotated[int | None, Field(ge=1), Ui("Keep checkpoints")] = 2
    """How many checkpoints are kept; older ones are deleted. Empty: all."""
    load_best_model_at_end: Annotated[bool, Ui("Keep the best")] = False
    """End with the weights of the best validation instead of the last ones. A checkpoint is then saved at each
    validation, and the best one is never deleted."""
    metric_for_best_model: Annotated[str, Field(min_length=1), Ui("Best by")] = "loss"
    """Which figure of the validation says what is best, also for early stopping. Of a loss less is better. Usual: loss."""
    early_stopping_steps: Annotated[int | None, Field(ge=1, le=1000), Ui("Early stopping")] = None
    """End the run after so many validations without a better one. Empty: never. Usual: 2 to 5."""
    report_to: Annotated[list[Tracker], Ui("Trackers")] = []
    """Where figures are sent beside this page. Keys are read from the environment, never from here. Empty: nowhere."""
    run_name: Annotated[str, Ui("Name at the tracker")] = ""
    """What the run is called there. Empty: as its folder."""
    project: Annotated[str, Ui("Project at the tracker")] = ""
    """Under which project it is listed there. Empty: as the tracker's own settings say."""
    report_at_end: Annotated[bool, Ui("Report at the end", simple=True)] = False
    """When the run has finished, measure what it learned, kept and memorised. It takes a few minutes more."""
    plot_loss: Annotated[bool, Ui("Draw training_loss.png")] = True
    """Draw the curve into the run's folder at the end."""
    resume_from_checkpoint: Annotated[str | None, Ui("Go on from")] = None
    """A checkpoint of another run, or a run that has one, to go on from with its optimiser, at its place in the data and in
    the schedule. Empty: from the start. A run of its own goes on by Resume."""


class ServingSection(Section):
    """Serving"""

    api_host: Annotated[str, Field(min_length=1), Ui("Host")] = "127.0.0.1"
    """Address to listen on. Other than loopback needs a key in the environment variable API_KEY, or in a file."""
    api_port: Annotated[int, Field(ge=0, le=65535), Ui("Port")] = 0
    """Port to listen on. 0: a free one."""
    api_key_file: Annotated[str, Ui("File of keys")] = ""
    """A file with a key in each line, one of which clients must send, besides those in API_KEY. Empty: only these."""
    any_model_name: Annotated[bool | None, Ui("Any model name")] = None
    """Whether a name that is not known, such as gpt-4, means the default model. Empty: on this machine only."""
    api_max_requests: Annotated[int, Field(ge=1, le=4096), Ui("Requests at once")] = 256
    """Most answers that are computed or wait. Whoever comes beyond that is told when to ask again."""
    api_allowed_origins: Annotated[list[str], Ui("Pages that may call")] = []
    """Origins such as https://chat.example, or * for all. Empty: any page on this machine, no page elsewhere."""


class DrawingSection(Section):
    """Answers"""

    temperature: Annotated[float, Field(ge=0, le=2), Ui("Temperature", simple=True)] = 0.7
    """How freely words are drawn; 0 always takes the likeliest. Usual: 0 to 1."""
    top_p: Annotated[float, Field(gt=0, le=1), Ui("Top-p", simple=True)] = 0.9
    """Draw only from the likeliest words that together have this share. Usual: 0.8 to 1."""
    top_k: Annotated[int, Field(ge=0, le=1_000_000), Ui("Top-k")] = 0
    """Draw only from so many of the likeliest words; 0: from all. Usual: 0 or 20 to 50."""
    min_p: Annotated[float, Field(ge=0, le=1), Ui("Min-p")] = 0.0
    """Leave out words less likely than this share of the likeliest one. Usual: 0 to 0.1."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10), Ui("Repetition penalty")] = 1.0
    """Above 1 makes all words of question and answer less likely to come again. Usual: 1 to 1.2."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2), Ui("Presence penalty")] = 0.0
    """Above 0 makes words of the answer less likely once they were said. Usual: 0 to 1."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2), Ui("Frequency penalty")] = 0.0
    """Above 0 makes words of the answer less likely each time they are said. Usual: 0 to 1."""
    max_new_tokens: Annotated[int, Field(ge=1, le=131_072), Ui("Longest answer", simple=True)] = 1024
    """Most tokens of an answer. Usual: 256 to 4096."""
    sampling_seed: Annotated[int | None, Field(ge=0, lt=2**32), Ui("Seed of the answer")] = None
    """With a seed the same question gets the same answer. Empty: a new one each time."""
    stop: Annotated[list[str], Ui("Stop strings", widget="lines")] = []
    """The answer ends before any of these, one on each line. Usual: none."""
