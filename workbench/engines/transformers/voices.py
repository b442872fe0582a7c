"""Who speaks: the base, adapters inside it, learned prompts before the text, whole models beside it. Knows no chat."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.engines import BASE
from workbench.problems import UserError, first_line
from workbench.text import Message, Text

PROMPTS = ("PREFIX_TUNING", "P_TUNING", "PROMPT_TUNING")


class Say:
    bad_adapter = Text("Adapter '{name}' does not fit this model: {reason}. Choose the model that it was trained on.")
    prompt_too_late = Text(
        "Adapter '{name}' is a learned prompt, and adapters of other kinds are loaded already. Accepted: learned prompts "
        "first. Load the model anew with all of them."
    )


class Voices:
    """All models of one process by name. One speaks at a time; who that is, ``speaking`` says."""

    def __init__(self, base: Any, folders: Mapping[str, Path], whole: Callable[[Path], Any]) -> None:
        self._base, self._whole = base, whole
        self._tuned = self.model = base.eval()
        self._names: list[str] = [BASE]
        self._prompts: dict[str, Any] = {}
        self._wholes: dict[str, Any] = {}
        self._keys: dict[str, str] = {}
        self._count = 0
        self._name = BASE
        # Prompts first: they look for the base's embeddings, which adapters hide.
        for name in sorted(folders, key=lambda name: _kind(folders[name]) not in PROMPTS):
            self.add(name, folders[name])
        self._names = [BASE, *folders]

    @property
    def names(self) -> Sequence[str]:
        """``base``, then the others in the order in which they came."""
        return tuple(self._names)

    def add(self, name: str, folder: Path) -> None:
        """One more voice; UserError beside ``adapter_name_or_path`` when it does not fit the base."""
        kind, key = _kind(folder), f"adapter{self._count}"  # a key may hold no dots, a name may
        self._count += 1
        with _misfits_are_said(name):
            if not kind:
                self._wholes[name] = self._whole(folder).eval()
            elif kind in PROMPTS:
                if self._keys:
                    raise UserError(Say.prompt_too_late(name=name), key="adapter_name_or_path")
                self._prompts[name] = _loaded(self._base, folder, key)
            else:
                self._load(name, key, folder)
        self._names.append(name)

    def _load(self, name: str, key: str, folder: Path) -> None:
        if self._tuned is self._base:
            self._tuned = _loaded(self._base, folder, key).eval()
        else:
            self._tuned.load_adapter(str(folder), adapter_name=key)
            self._tuned.eval()
        self._keys[name] = key
        self.model = self._tuned

    def remove(self, name: str) -> None:
        """That voice is gone, and what it held is free."""
        self._names.remove(name)
        if name in self._keys:
            key = self._keys.pop(name)
            if self._keys:
                self._tuned.delete_adapter(key)
            else:
                self._tuned = self.model = self._base = self._tuned.unload()
        self._prompts.pop(name, None)
        self._wholes.pop(name, None)

    def apart(self, name: str) -> bool:
        """Whether it computes by itself: a whole model, or one with a learned prompt before its text."""
        return name in self._wholes or name in self._prompts

    @contextmanager
    def speaking(self, name: str) -> Iterator[None]:
        """The model of that name in its place, the others out of it."""
        self._name, self.model = name, self._wholes.get(name, self._tuned)
        try:
            if name in self._keys:
                self._tuned.set_adapter(self._keys[name], inference_mode=True)
                yield
            elif self._keys and name not in self._wholes:
                with self._tuned.disable_adapter():
                    yield
            else:
                yield
        finally:
            self._name, self.model = BASE, self._tuned

    def taken(self, name: str) -> int:
        """Places of the context that a learned prompt fills."""
        return int(self._prompts[name].active_peft_config.num_virtual_tokens) if name in self._prompts else 0

    def begin(self) -> Any:
        """The cache at the beginning of an answer of the one who speaks: empty, or with the learned prompt in it."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache(config=self.model.config if self._name in self._wholes else self._base.config)
        prompt = self._prompts.get(self._name)
        if prompt is None:
            return cache
        with torch.inference_mode():
            learned = prompt.get_prompt(batch_size=1)
            if prompt.active_peft_config.peft_type.value == "PREFIX_TUNING":
                return learned
            learned = learned.to(self._base.get_input_embeddings().weight.dtype)
            self.model(inputs_embeds=learned, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache


def _kind(folder: Path) -> str:
    """PEFT's name of the adapter's kind; empty for a whole model."""
    file = folder / "adapter_config.json"
    return str(json.loads(file.read_text("utf-8")).get("peft_type", "LORA")) if file.is_file() else ""


def _loaded(base: Any, folder: Path, key: str) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(base, str(folder), adapter_name=key)


@contextmanager
def _misfits_are_said(name: str) -> Iterator[None]:
    """Turn an adapter that is damaged, or of another model, into words."""
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            warnings.filterwarnings("ignore", message="Unsupported layer type")
            yield
    except (RuntimeError, ValueError, OSError, SafetensorError, UserWarning) as error:
        raise UserError(_bad_adapter(name, error), key="adapter_name_or_path") from error


def _bad_adapter(name: str, error: Exception) -> Message:
    return Say.bad_adapter(name=name, reason=first_line(error))
