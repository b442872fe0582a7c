"""A workbench for fine-tuning language models: write a spec, watch a run, take the model home."""

VERSION = "0.1.0"
