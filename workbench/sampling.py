"""How a question is asked: the fields of a chat, apart from who answers. Knows no page, no server and no engine."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

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
    max_new_tokens: Annotated[int, Field(ge=1, le=131_072), Ui("Longest answer", simple=True)] = 1024
    """Most tokens of an answer. Usual: 256 to 4096."""
    sampling_seed: Annotated[int | None, Field(ge=0, lt=2**32), Ui("Seed of the answer")] = None
    """With a seed the same question gets the same answer. Empty: a new one each time."""


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
    )


def with_system(section: SamplingSection, messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The chat with the system prompt, if there is one, before it."""
    head = [{"role": "system", "content": section.system}] if section.system.strip() else []
    return [*head, *messages]
