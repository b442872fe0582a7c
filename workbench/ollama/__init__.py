"""Exports for Ollama: a chat template in Go's language, a Modelfile, a client of a running Ollama. Knows no page and no run."""

from collections.abc import Callable, Mapping, Sequence

Messages = Sequence[Mapping[str, str]]
Write = Callable[[Messages, bool, bool | None], str]
"""A conversation as the training wrote it: the messages, whether it ends where the model is to answer, and whether the
model may think first (None: as it does by itself). ValueError where the template has no place for these messages."""
