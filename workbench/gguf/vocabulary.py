"""A tokenizer as GGUF says it: tokens, how they join, special ones, the chat template. Knows no weights and no family."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.gguf.pretokenizers import name_of
from workbench.problems import UserError
from workbench.text import Text

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
MARK = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")
"""Our marks around what is trained; llama.cpp's Jinja has no word for them."""
NO_SCORE = -1e6
"""For tokens that no pair joins to."""


class Say:
    kind = Text("The tokenizer is of the kind {given}. Accepted: BPE, by bytes or with byte fallback. Choose the engine transformers.")


def write_vocabulary(writer: Any, tokenizer: Any, size: int, stop_ids: Sequence[int]) -> None:
    """Add the tokenizer to a GGUFWriter. ``size``: rows of the words' matrix, of which a tokenizer may know fewer.

    ``stop_ids`` end an answer; the first that is not the tokenizer's own end is written as the end of a turn.
    """
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    model = told["model"]
    kind, cut = _kind(told)
    pieced = kind == "llama"
    tokens, types = _tokens(told, size, pieced)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if pieced:
        writer.add_token_scores(scores(tokens, model["merges"]))
        writer.add_add_space_prefix(_prefixed(told))
    else:
        writer.add_token_merges([" ".join(_pair(pair)) for pair in model["merges"]])
    _write_ends(writer, tokenizer, size, stop_ids)
    if isinstance(tokenizer.chat_template, dict):
        own = {name: MARK.sub(r"{#\1 \2#}", one) for name, one in tokenizer.chat_template.items()}
        writer.add_chat_template([{"name": name, "template": one} for name, one in own.items()])
    elif tokenizer.chat_template:
        writer.add_chat_template(MARK.sub(r"{#\1 \2#}", tokenizer.chat_template))


def check_tokenizer(tokenizer: Any) -> None:
    """UserError when llama.cpp has no name for such a tokenizer."""
    _kind(json.loads(tokenizer.backend_tokenizer.to_str()))


def _kind(told: Mapping[str, Any]) -> tuple[str, str]:
    """llama.cpp's names for a tokenizer and for the way in which it cuts text into words."""
    model = told["model"]
    if model["type"] != "BPE":
        raise UserError(Say.kind(given=model["type"]), key="model_name_or_path")
    if model.get("byte_fallback"):
        return "llama", "default"
    return "gpt2", name_of(told["pre_tokenizer"], bool(model.get("ignore_merges")))


def _tokens(told: Mapping[str, Any], size: int, pieced: bool) -> tuple[list[str], list[int]]:
    """Every token's text by its number, and what kind of token it is."""
    import gguf

    kinds = gguf.TokenType
    tokens = [f"[PAD{at}]" for at in range(size)]
    types = [int(kinds.UNUSED)] * size
    for word, at in told["model"]["vocab"].items():
        if at < size:
            tokens[at] = word
            types[at] = int(kinds.BYTE if pieced and BYTE.fullmatch(word) else kinds.NORMAL)
    for added in told["added_tokens"]:
        at = added["id"]
        if at < size:
            tokens[at] = added["content"]
            types[at] = int(kinds.CONTROL if added["special"] else kinds.USER_DEFINED)
    unknown = told["model"].get("unk_token")
    if pieced and unknown in told["model"]["vocab"]:
        types[told["model"]["vocab"][unknown]] = int(kinds.UNKNOWN)
    return tokens, types


def scores(tokens: Sequence[str], merges: Sequence[Any]) -> list[float]:
    """A score for each token: the sooner a pair is joined, the higher. llama.cpp joins the highest first."""
    rank: dict[str, int] = {}
    for at, pair in enumerate(merges):
        rank.setdefault("".join(_pair(pair)), at)
    return [float(-rank[word]) if word in rank else NO_SCORE for word in tokens]


def _pair(pair: Any) -> Sequence[str]:
    return pair.split(" ") if isinstance(pair, str) else pair


def _prefixed(told: Mapping[str, Any]) -> bool:
    """Whether a space is put before the text."""
    steps = [step for step in (told["normalizer"], told["pre_tokenizer"]) if step]
    steps += [inner for step in steps for inner in step.get("normalizers", step.get("pretokenizers", []))]
    return any(
        step["type"] == "Prepend" or (step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never")
        for step in steps
    )


def _write_ends(writer: Any, tokenizer: Any, size: int, stop_ids: Sequence[int]) -> None:
    found = {
        writer.add_bos_token_id: tokenizer.bos_token_id,
        writer.add_eos_token_id: tokenizer.eos_token_id,
        writer.add_unk_token_id: tokenizer.unk_token_id,
        writer.add_pad_token_id: tokenizer.pad_token_id,
        writer.add_eot_token_id: next((one for one in stop_ids if one != tokenizer.eos_token_id), None),
    }
    for add, token in found.items():
        if token is not None and token < size:
            add(token)
    written = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(bool(written) and written[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(len(written) > 1 and written[-1] == tokenizer.eos_token_id)
