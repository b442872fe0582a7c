"""What the server must know of a chat template: how calls are written, whether the prompt begins a thought. Knows no HTTP."""

from collections.abc import Callable, Sequence
from typing import Any

from workbench.api.reading import THINK
from workbench.api.shapes import ACTIONS, BY_FAMILY, EVERY, CallShape
from workbench.chats import ChatOptions, Refused, render, template_facts

QUESTION = [{"role": "user", "content": "?"}]


def call_shapes(template: str, own: str) -> Sequence[CallShape]:
    """Of a named template as templates.yaml says; of a model's own, whose text is ``own``, by the marks in it."""
    if template != "auto":
        return BY_FAMILY[template_facts()[template].get("tools", "")]
    return (ACTIONS, *EVERY) if "Action Input:" in own else EVERY


def thought_opener(tokenizer: Callable[[], Any], options: ChatOptions) -> Callable[[bool | None], bool]:
    """Whether the prompt ends with the beginning of a thought, with thinking as it was asked for."""
    found: dict[bool | None, bool] = {}

    def opens(asked: bool | None) -> bool:
        if asked not in found:
            chosen = options if asked is None else ChatOptions(asked, options.default_system)
            try:
                text = render(tokenizer(), QUESTION, True, (), chosen).text
            except Refused:
                text = ""
            found[asked] = text.rstrip().endswith(THINK)
        return found[asked]

    return opens
