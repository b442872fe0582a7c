"""Who speaks: the base, adapters inside it, learned prompts before the text, whole models beside it. Knows no chat."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workbench.engines import BASE
from workbench.problems import UserError
from workbench.text import Message, Text

PROMPTS = ("PREFIX_TUNING", "P_TUNING", "PROMPT_TUNING")


class Say:
    bad_adapter = Text("Adapter '{name}' does not fit this model: {reason}. Choose the model that it was trained on.")


class Voices:
    """All models of one process by name. One speaks at a time; who that is, ``speaking`` says."""

    def __init__(self, base: Any, folders: Mapping[str, Path], whole: Callable[[Path], Any]) -> None:
        self.names = (BASE, *folders)
        self._base = base
        self._prompts: dict[str, Any] = {}
        self._wholes: dict[str, Any] = {}
        self._keys: dict[str, str] = {}
        kinds = {name: _kind(folder) for name, folder in folders.items()}
        # Prompts first: they look for the base's embeddings, which adapters hide.
        for at, name in enumerate(sorted(folders, key=lambda name: kinds[name] not in PROMPTS)):
            self._add(name, f"adapter{at}", folders[name], kinds[name], whole)
        self._tuned = self.model = self._with_adapters(base, {name: folders[name] for name in self._keys})
        self._name = BASE

    def _add(self, name: str, key: str, folder: Path, kind: str, whole: Callable[[Path], Any]) -> None:
        if not kind:
            self._wholes[name] = whole(folder).eval()
        elif kind in PROMPTS:
            with _misfits_are_said(name):
                self._prompts[name] = _loaded(self._base, folder, key)
        else:
            self._keys[name] = key  # a key may hold no dots, a name may

    def _with_adapters(self, base: Any, folders: Mapping[str, Path]) -> Any:
        model = base
        for name, folder in folders.items():
            with _misfits_are_said(name):
                if model is base:
                    model = _loaded(base, folder, self._keys[name])
                else:
                    model.load_adapter(str(folder), adapter_name=self._keys[name])
        return model.eval()

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
    return Say.bad_adapter(name=name, reason=str(error).splitlines()[0][:200])
