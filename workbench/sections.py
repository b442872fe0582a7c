"""The fields of a run, section by section. Knows no plugin and no rule between fields.

The sentence under a field is its tooltip, its line in --help and its row in docs/fields.md.
"""

from typing import Annotated, Literal

from pydantic import Field

from workbench.fields import Section, Ui


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
    trust_remote_code: Annotated[bool, Ui("Run code from the model")] = False
    """Let the model's folder run its own Python code. Only for models that need it and that you trust."""


class DataSection(Section):
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
    per_device_eval_batch_size: Annotated[int, Field(ge=1, le=1024), Ui("Validation batch size")] = 4
    """Rows computed at once while validating. It changes speed and memory, not the result."""
    lr_scheduler_type: Annotated[
        Literal["cosine", "linear", "constant", "constant_with_warmup", "polynomial", "inverse_sqrt"], Ui("Scheduler")
    ] = "cosine"
    """How the learning rate changes over the run. Usual: cosine or linear."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1), Ui("Warm-up share")] = 0.05
    """Share of the steps in which the learning rate rises from zero. Usual: 0.03 to 0.1."""
    warmup_steps: Annotated[int, Field(ge=0), Ui("Warm-up steps")] = 0
    """Steps in which the learning rate rises; above 0 it takes the place of the share."""
    weight_decay: Annotated[float, Field(ge=0, lt=1), Ui("Weight decay")] = 0.0
    """Pull of the trained weights towards zero. Usual: 0 to 0.1."""
    max_grad_norm: Annotated[float, Field(gt=0, le=1e6), Ui("Gradient clipping")] = 1.0
    """Longer gradients are scaled down to this norm. Usual: 1."""
    optim: Annotated[Literal["adamw_torch", "adafactor", "sgd"], Ui("Optimiser")] = "adamw_torch"
    """The rule that moves the weights. Usual: adamw_torch."""
    seed: Annotated[int, Field(ge=0, lt=2**32), Ui("Seed")] = 42
    """Start of all random numbers: the same seed gives the same run."""


class MemorySection(Section):
    """Numbers and memory"""

    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Ui("Precision")] = "auto"
    """How numbers are held. auto: the fastest that this machine computes well; the log says which and why."""
    gradient_checkpointing: Annotated[bool, Ui("Gradient checkpointing")] = False
    """Compute parts twice to save memory; about 30 % slower. Turn it on when memory ends."""


class SavingSection(Section):
    """Watching and saving"""

    watch_prompts: Annotated[list[str], Field(max_length=3), Ui("Watch it learn", simple=True, widget="lines")] = []
    """Up to three questions, one a line, answered before training and at each validation, so that you see it learn."""
    watch_max_tokens: Annotated[int, Field(ge=1, le=1024), Ui("Watched tokens")] = 48
    """Most tokens of a watched answer. Usual: 32 to 128."""
    logging_steps: Annotated[int, Field(ge=1), Ui("Log every")] = 1
    """Steps between points of the curve. Usual: 1 to 10."""
    eval_steps: Annotated[int | None, Field(ge=1), Ui("Validate every")] = None
    """Steps between validations. Empty: about eight times in a run."""
    save_steps: Annotated[int | None, Field(ge=1), Ui("Save every")] = None
    """Steps between checkpoints to resume from. Empty: about four times in a run."""
    save_total_limit: Annotated[int | None, Field(ge=1), Ui("Keep checkpoints")] = 2
    """How many checkpoints are kept; older ones are deleted. Empty: all."""
    plot_loss: Annotated[bool, Ui("Draw training_loss.png")] = True
    """Draw the curve into the run's folder at the end."""
    output_dir: Annotated[str, Ui("Run name")] = ""
    """Name of the run's folder inside saves/. Empty: made from the set and the time."""
    overwrite_output_dir: Annotated[bool, Ui("Overwrite the run")] = False
    """Delete what a run of this name has left, and start anew."""


class ServingSection(Section):
    """Serving"""

    api_host: Annotated[str, Field(min_length=1), Ui("Host")] = "127.0.0.1"
    """Address to listen on. Other than loopback needs a key in the environment variable API_KEY."""
    api_port: Annotated[int, Field(ge=0, le=65535), Ui("Port")] = 0
    """Port to listen on. 0: a free one."""
