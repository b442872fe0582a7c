"""What each file of an export is, and what to copy where: sentences for a person who sees such a folder for the first time.

Looks at names and sizes alone; knows no run and no page.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.text import Message, Text
from workbench.wording import command_line


class Say:
    weights = Text("The weights: all that the model has learned. By far the largest part; without it the other files are of no use.")
    shard = Text("Part {part} of {parts} of the weights. The parts belong together: copy all of them.")
    index = Text("Says which of the parts holds which weight. Belongs to the parts.")
    config = Text("The plan of the model: its family, how many layers, how wide. Every program reads it first.")
    generation = Text("How an answer is drawn unless somebody asks otherwise, and which tokens end it.")
    vocabulary = Text("The vocabulary: which piece of text has which number. Belongs to the tokenizer.")
    merges = Text("Which letters are joined into pieces, in which order. Belongs to the tokenizer.")
    tokenizer = Text("The whole tokenizer: turns text into the numbers that the model reads, and back.")
    pieces = Text("The tokenizer in the form of SentencePiece, for programs that don't read tokenizer.json.")
    tokenizer_config = Text("What programs must know of the tokenizer: its class, its longest text, its special tokens.")
    special = Text("The special tokens by their task: beginning, end, padding. They mark turns and are never shown.")
    template = Text("The chat template, the one of the training: how messages become the text that the model reads.")
    modelfile = Text("For Ollama: from which file to make the model, with template, stop words and system prompt.")
    card = Text("The model's card: what it was made from and with, its licence, its scores, how to load it. For you and for hubs.")
    licence = Text("The licence of the base model. It holds for this model too: pass it on with the files.")
    notice = Text("Whom the base model names as its authors, and what was changed. Pass it on with the files.")
    gguf = Text("The whole model in one file, with tokenizer and chat template: for llama.cpp, Ollama and LM Studio.")
    gguf_adapter = Text("The adapter in one file, for use over a GGUF file of its base: llama.cpp takes it with --lora.")
    gguf_part = Text("Part {part} of {parts} of the model in GGUF. Programs are given the first, and look for the others beside it.")
    adapter = Text("The adapter's weights: what training added. Small, and of use over its base model alone.")
    adapter_config = Text("What the adapter is: its base, its kind, on which layers it lies.")
    quantised = Text("How the weights were turned into fewer bits. Belongs to the weights.")
    made = Text("Which run of the workbench made this folder, and how it is loaded. No other program needs it.")
    proof = Text("The proof: what the model said here and what the export says, and how far they are alike. No other program needs it.")
    start_api = Text("A double click opens the model's API for other programs, as long as this folder lies in the workbench's.")
    start_chat = Text("A double click opens a chat with the model in a terminal, as long as this folder lies in the workbench's.")
    start = Text("What the start scripts open. May be edited; no other program needs it.")
    code = Text("Python code of the base model, which programs run only if they are told to trust it.")
    other = Text("Came with the model or belongs to it; kept as it was.")

    use_ollama = Text("Ollama: in this folder run {create} and then {run}.")
    use_studio = Text("LM Studio: copy {file} into {folder} inside its models folder ('My Models' shows where that is).")
    use_studio_laid = Text(
        "LM Studio: copy the folder {folder}, with what is in it, into its models folder ('My Models' shows where that is)."
    )
    use_vllm = Text("vLLM: copy the folder as it is and run {command}.")
    use_vllm_adapter = Text("vLLM: copy the folder as it is and run {command}; BASE is the base model.")
    use_llama = Text("llama.cpp: copy {file} alone and run {command}.")
    use_llama_adapter = Text("llama.cpp: copy {file} alone and run {command}; BASE.gguf is the base model in GGUF.")
    use_transformers = Text(
        "transformers, LLaMA-Factory and others that read Hugging Face folders: copy the folder as it is and name it as the model."
    )
    use_peft = Text(
        "PEFT, LLaMA-Factory and others that read adapters: copy the folder as it is and name it as the adapter over its base."
    )
    use_nextchat = Text(
        "NextChat and other clients of OpenAI's API copy nothing: run {script}, then enter http://127.0.0.1:8000 as the address "
        "and {model} as the model."
    )


@dataclass(frozen=True)
class Entry:
    """One file of an export."""

    path: str
    """Inside the folder, with forward slashes."""
    num_bytes: int
    said: Message


PART = re.compile(r"-(\d{5})-of-(\d{5})\.(safetensors|gguf)$")
KNOWN: Sequence[tuple[str, Text]] = (
    (r"adapter_model.*\.safetensors", Say.adapter),
    (r"adapter_config\.json", Say.adapter_config),
    (r".*\.safetensors\.index\.json", Say.index),
    (r".*\.safetensors", Say.weights),
    (r".*\.lora\.gguf", Say.gguf_adapter),
    (r".*\.gguf", Say.gguf),
    (r"config\.json", Say.config),
    (r"generation_config\.json", Say.generation),
    (r"vocab\.(json|txt)", Say.vocabulary),
    (r"merges\.txt", Say.merges),
    (r"tokenizer\.json", Say.tokenizer),
    (r".*\.model", Say.pieces),
    (r"tokenizer_config\.json", Say.tokenizer_config),
    (r"(special_tokens_map|added_tokens)\.json", Say.special),
    (r"chat_template\.(jinja|json)", Say.template),
    (r"Modelfile", Say.modelfile),
    (r"README\.md", Say.card),
    (r"(LICEN[CS]E|COPYING|USE_POLICY)(\..*)?", Say.licence),
    (r"NOTICE(\..*)?", Say.notice),
    (r"(quantize|quant|quantization)_config\.json", Say.quantised),
    (r"export\.json", Say.made),
    (r"proof\.json", Say.proof),
    (r"start_api\.(sh|bat)", Say.start_api),
    (r"start_chat\.(sh|bat)", Say.start_chat),
    (r"start\.yaml", Say.start),
    (r".*\.py", Say.code),
)
"""The first that fits a file's name says what it is."""


def guide(folder: Path) -> list[Entry]:
    """Every file with its size and what it is, the largest first, those of the workbench's own last."""
    own = {Say.made.key, Say.proof.key, Say.start.key, Say.start_api.key, Say.start_chat.key}
    found = [
        Entry(path.relative_to(folder).as_posix(), path.stat().st_size, said_of(path.name))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda one: (one.said.key in own, -one.num_bytes, one.path))


def said_of(name: str) -> Message:
    """What a file of this name is."""
    if part := PART.search(name):
        say = Say.gguf_part if part[3] == "gguf" else Say.shard
        return say(part=int(part[1]), parts=int(part[2]))
    return next((say() for pattern, say in KNOWN if re.fullmatch(pattern, name)), Say.other())


def uses(folder: Path, publisher: str = "workbench") -> list[Message]:
    """What to copy where, program by program; those alone that can use the folder."""
    return list(_uses(folder, publisher))


def _uses(folder: Path, publisher: str) -> Iterator[Message]:
    name = folder.name
    files = sorted(path for path in folder.rglob("*.gguf") if path.is_file())
    whole = [path for path in files if not path.name.endswith(".lora.gguf")]
    first = whole[0].relative_to(folder) if whole else None
    if (folder / "Modelfile").is_file():
        create = command_line(["ollama", "create", ollama_name(name), "-f", "Modelfile"])
        yield Say.use_ollama(create=create, run=command_line(["ollama", "run", ollama_name(name)]))
    if first and len(first.parts) == 3:  # laid out as LM Studio has it
        yield Say.use_studio_laid(folder=first.parts[0])
    elif first:
        yield Say.use_studio(file=first.name, folder=f"{publisher}/{name}/")
    if first:
        yield Say.use_llama(file=first.name, command=command_line(["llama-server", "-m", first.name]))
    elif files:
        command = command_line(["llama-server", "-m", "BASE.gguf", "--lora", files[0].name])
        yield Say.use_llama_adapter(file=files[0].name, command=command)
    elif (folder / "adapter_config.json").is_file():
        command = command_line(["vllm", "serve", "BASE", "--enable-lora", "--lora-modules", f"{name}={name}"])
        yield Say.use_vllm_adapter(command=command)
        yield Say.use_peft()
    elif (folder / "config.json").is_file():
        yield Say.use_vllm(command=command_line(["vllm", "serve", name]))
        yield Say.use_transformers()
    if (folder / "start_api.sh").is_file():
        model = name if (folder / "adapter_config.json").is_file() else "base"
        yield Say.use_nextchat(script="start_api", model=model)


def ollama_name(name: str) -> str:
    """A folder's name as Ollama takes it: small letters, digits, dots, - and _."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:80] or "model"
