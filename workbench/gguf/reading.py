"""What a GGUF file says of itself: its measures, its tensors, its tokenizer. Knows no engine."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.gguf.families import FAMILIES, Layout
from workbench.gguf.pretokenizers import described
from workbench.problems import UserError
from workbench.text import Text

MAGIC = b"GGUF"


class Say:
    damaged = Text("'{name}' is no whole GGUF file: {reason}. Accepted: a GGUF file of a language model. Get it anew.")
    tokenizer = Text(
        "The tokenizer of '{name}' is of the kind {given}. Accepted: gpt2 and llama, with a pre-tokenizer that is known "
        "here. Choose the model's folder."
    )
    family = Text("An adapter can't be laid over '{name}', a model of the kind {given}. Accepted: {known}. Choose its folder.")


def is_gguf(path: Path) -> bool:
    """Whether it is a file that begins as GGUF does."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == MAGIC


@lru_cache(maxsize=1)
def _reader(path: Path, size: int, changed: int) -> Any:
    import gguf

    try:
        return gguf.GGUFReader(path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(Say.damaged(name=path.name, reason=str(error)[:200]), key="model_name_or_path") from error


def _read(path: Path) -> Any:
    return _reader(path, path.stat().st_size, path.stat().st_mtime_ns)


def value(path: Path, key: str) -> Any:
    """One value of the metadata, None when it is not there; ``{arch}`` in the key stands for the family's name."""
    reader = _read(path)
    field = reader.get_field("general.architecture")
    arch = field.contents() if field is not None else ""
    found = reader.get_field(key.replace("{arch}", arch))
    return None if found is None else found.contents()


def context_of_file(path: Path) -> int:
    """Most tokens of prompt and answer together."""
    return int(value(path, "{arch}.context_length") or 2048)


def shapes_of_file(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Rows and columns of every tensor by name."""
    return {tensor.name: tuple(int(side) for side in reversed(tensor.shape)) for tensor in _read(path).tensors}


def layout_of_file(path: Path) -> Layout:
    """How adapters of transformers are laid over it."""
    arch = str(value(path, "general.architecture"))
    families = {family.arch: family for family in FAMILIES.values()}
    if arch not in families:
        known = ", ".join(sorted(families))
        raise UserError(Say.family(name=path.name, given=arch, known=known), key="adapter_name_or_path")
    heads, key_heads = value(path, "{arch}.attention.head_count"), value(path, "{arch}.attention.head_count_kv")
    return Layout(families[arch], int(heads), int(key_heads or heads), int(value(path, "{arch}.block_count")))


def tokenizer_of_file(path: Path) -> Any:
    """The tokenizer as transformers has them, chat template included."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    told = _backend(path)
    backend = Tokenizer.from_str(json.dumps(told))
    tokens = value(path, "tokenizer.ggml.tokens")
    ends = {}
    for name in ("bos", "eos", "unk", "pad"):
        at = value(path, f"tokenizer.ggml.{'unknown' if name == 'unk' else 'padding' if name == 'pad' else name}_token_id")
        if at is not None and int(at) < len(tokens):
            ends[f"{name}_token"] = AddedToken(tokens[int(at)], special=True, normalized=False)
    found = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=context_of_file(path),
        clean_up_tokenization_spaces=False,
        **ends,
    )
    if template := value(path, "tokenizer.chat_template"):
        found.chat_template = template
    return found


def _backend(path: Path) -> Mapping[str, Any]:
    """The content of a tokenizer.json."""
    kind = value(path, "tokenizer.ggml.model")
    tokens: Sequence[str] = value(path, "tokenizer.ggml.tokens")
    types: Sequence[int] = value(path, "tokenizer.ggml.token_type") or [1] * len(tokens)
    pre = str(value(path, "tokenizer.ggml.pre") or "default")
    cut = described(pre)
    if kind not in ("gpt2", "llama") or (kind == "gpt2" and cut is None):
        raise UserError(Say.tokenizer(name=path.name, given=f"{kind} ({pre})"), key="model_name_or_path")
    added = [
        {"id": at, "content": word, "special": told == 3, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}
        for at, (word, told) in enumerate(zip(tokens, types, strict=True))
        if told in (3, 4)
    ]
    vocabulary = {word: at for at, word in enumerate(tokens)}
    common: dict[str, Any] = {"version": "1.0", "added_tokens": added, "truncation": None, "padding": None, "post_processor": None}
    if kind == "gpt2" and cut is not None:
        pairs = [merge.split(" ") for merge in value(path, "tokenizer.ggml.merges")]
        level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
        model = {"type": "BPE", "vocab": vocabulary, "merges": pairs, "ignore_merges": cut[1]}
        composed = {"type": "NFC"} if pre == "qwen2" else None
        return {**common, "normalizer": composed, "pre_tokenizer": cut[0], "decoder": level, "model": model}
    return {**common, **_pieced(path, vocabulary, value(path, "tokenizer.ggml.scores"))}


def _pieced(path: Path, vocabulary: Mapping[str, int], scores: Sequence[float]) -> Mapping[str, Any]:
    """A vocabulary of SentencePiece: its pairs are found again by the scores of what they join to."""
    ranked = sorted(vocabulary, key=lambda word: (-scores[vocabulary[word]], vocabulary[word]))
    pairs: list[list[str]] = []
    for word in ranked:
        halves = [(word[:at], word[at:]) for at in range(1, len(word))]
        inside = [half for half in halves if half[0] in vocabulary and half[1] in vocabulary]
        pairs += [list(half) for half in sorted(inside, key=lambda half: (vocabulary[half[0]], vocabulary[half[1]]))]
    prefixed = value(path, "tokenizer.ggml.add_space_prefix")
    before = [] if prefixed is not None and not prefixed else [{"type": "Prepend", "prepend": "▁"}]
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    after = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if before else []
    back = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    unknown = value(path, "tokenizer.ggml.unknown_token_id")
    names = {at: word for word, at in vocabulary.items()}
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*before, spaces]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *after]},
        "model": {
            "type": "BPE",
            "vocab": dict(vocabulary),
            "merges": pairs,
            "byte_fallback": True,
            "fuse_unk": True,
            "unk_token": names.get(int(unknown)) if unknown is not None else None,
        },
    }
