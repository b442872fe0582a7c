"""How a question is asked: the fields of a chat, apart from who answers. Knows no page, no server and no engine."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from workbench.engines import Sampling
from workbench.fields import Section, Ui
from workbench.sections import DrawingSection
from workbench.specs import Spec


class SystemSection(Section):
    """Answers"""

    system: Annotated[str, Ui("System prompt")] = ""
    """What the model is told before the chat begins. Empty: what its chat template says."""


class SamplingSection(DrawingSection, SystemSection):
    """Answers"""

    thinking: Annotated[Literal["auto", "on", "off"], Ui("Thinks first")] = "auto"
    """Whether a model that can think does so before it answers. Auto: as it was loaded."""


class SamplingSpec(Spec):
    """Sampling"""

    JOB: ClassVar[str] = "chat"

    sampling: SamplingSection = SamplingSection()


def sampling_of(section: DrawingSection) -> Sampling:
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
