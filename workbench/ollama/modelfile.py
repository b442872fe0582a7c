"""What Ollama is told of a model, and the Modelfile that tells it. Knows neither folders nor a server.

A Modelfile knows no escapes: a text stands between three quotes, and characters that can't be printed are dropped by
whoever reads it. A TEMPLATE is written so that neither matters; other texts are looked at first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.problems import UserError
from workbench.text import Text

Parameter = float | int | str | Sequence[str]
QUOTES = '"""'
RENAMED: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Keys of generation_config.json, and what Ollama calls them."""


class Say:
    path = Text("The file '{given}' can't be named in a Modelfile. Accepted: a name without line breaks and quotes. Rename it.")


@dataclass(frozen=True)
class About:
    """What is said of a model, whichever way it comes to Ollama."""

    template: str
    stop: Sequence[str] = ()
    system: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    licences: Sequence[str] = ()

    def options(self) -> dict[str, Parameter]:
        """The parameters with the stop words among them."""
        return {**self.parameters, **({"stop": list(self.stop)} if self.stop else {})}


def modelfile(base: str, about: About, adapter: str = "") -> str:
    """The Modelfile's text. ``base`` and ``adapter``: paths from the folder in which it lies, or a name in Ollama."""
    return "\n".join(_lines(base, about, adapter)) + "\n"


def parameters_of(config: Mapping[str, object]) -> dict[str, Parameter]:
    """What a model's generation_config.json says, in Ollama's words.

    The penalty on repetition is always named: older versions of Ollama set one by themselves.
    """
    given = {RENAMED[key]: value for key, value in config.items() if key in RENAMED and isinstance(value, int | float)}
    return {"repeat_penalty": 1.0, **{key: value for key, value in given.items() if not isinstance(value, bool)}}


def carries(text: str) -> bool:
    """Whether a Modelfile can carry the text as it is."""
    whole = QUOTES not in text and not text.startswith('"') and not text.endswith('"')
    return whole and all(one.isprintable() or one in "\n\t" for one in text)


def _lines(base: str, about: About, adapter: str) -> Iterator[str]:
    yield f"FROM {_path(base)}"
    if adapter:
        yield f"ADAPTER {_path(adapter)}"
    yield f"TEMPLATE {QUOTES}{about.template}{QUOTES}"
    for word in about.stop:
        yield f"PARAMETER stop {_quoted(word)}"
    for key, value in about.parameters.items():
        yield f"PARAMETER {key} {value}"
    if about.system:
        yield f"SYSTEM {_quoted(about.system)}"
    for licence in about.licences:
        yield f"LICENSE {_quoted(licence)}"


def _path(path: str) -> str:
    if any(not one.isprintable() or one == '"' for one in path):
        raise UserError(Say.path(given=path), key="export_dir")
    return path


def _quoted(text: str) -> str:
    return f"{QUOTES}{text}{QUOTES}" if "\n" in text or '"' in text else f'"{text}"'
