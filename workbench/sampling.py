"""How a question is asked: the fields of a chat, apart from who answers. Knows no page, no server and no engine."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from workbench.engines import Sampling
from workbench.fields import Section, Ui
from workbench.specs import Spec


class SamplingSection(Section):
    """Answers"""

    system: Annotated[str, Ui("System prompt")] = ""
    """What the model is told before the chat begins. Empty: what its chat template says."""
    temperature: Annotated[float, Field(ge=0, le=5), Ui("Temperature", simple=True)] = 0.7
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
    thinking: Annotated[Literal["auto", "on", "off"], Ui("Thinks first")] = "auto"
    """Whether a model that can think does so before it answers. Auto: as it was loaded."""


class SamplingSpec(Spec):
    """Sampling"""

    JOB: ClassVar[str] = "chat"

    sampling: SamplingSection = SamplingSection()


def sampling_of(section: SamplingSection) -> Sampling:
    """As engines and servers take it."""
    return Sampling(
        max_tokens=section.max_new_tokens,
        temperature=section.temperature,
        top_p=section.top_p,
        seed=section.sampling_seed,
        stop=section.stop,
        top_k=section.top_k,
        min_p=section.min_p,
        repetition_penalty=section.repetition_penalty,
        presence_penalty=section.presence_penalty,
        frequency_penalty=section.frequency_penalty,
    )


def thinks(section: SamplingSection) -> bool | None:
    """Whether it is to think first; None: as the server was told."""
    return {"auto": None, "on": True, "off": False}[section.thinking]


PRESETS: Mapping[str, Mapping[str, float]] = {
    "exact": {"temperature": 0.0, "top_p": 1.0},
    "balanced": {"temperature": 0.7, "top_p": 0.9},
    "lively": {"temperature": 1.1, "top_p": 1.0, "min_p": 0.05},
}
"""Ways to draw by name; what one does not name stands at what changes nothing."""
DRAWING = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
"""The fields that a preset sets."""


def preset(name: str) -> dict[str, float]:
    """All fields that the preset sets, with their values."""
    neutral = vars(Sampling())
    return {**{key: neutral[key] for key in DRAWING}, **PRESETS[name]}


def with_system(section: SamplingSection, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The chat with the system prompt, if there is one, before it."""
    head = [{"role": "system", "content": section.system}] if section.system.strip() else []
    return [*head, *messages]
