"""How a server is to behave: who may come in, how many at once, which names it takes. Knows no engine and no HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.api.shapes import EVERY, CallShape
from workbench.engines import BASE
from workbench.fields import plain
from workbench.problems import UserError
from workbench.text import Text


class Say:
    unknown_model = Text("There is no model '{given}' here. Accepted: {known}. Choose one of these.")


class UnknownModel(UserError):
    """A model name that this server does not answer to."""


def _every_shape() -> Sequence[CallShape]:
    return EVERY


def _no_thought(asked: bool | None) -> bool:
    return False


@dataclass(frozen=True)
class Rules:
    """What was chosen for a server, and what it must know of the model's chat template."""

    keys: Sequence[str] = ()
    """One of these a client must send; none: all come in."""
    local: bool = True
    """Only this machine can reach it."""
    origins: Sequence[str] = ()
    """Pages that may call it; none: any page on this machine, no page elsewhere."""
    any_model_name: bool = True
    """A name that is not known means the default model, since clients come with names of their own."""
    max_requests: int = 256
    """Most answers that are computed or wait."""
    base_name: str = ""
    """What the base is called elsewhere; it answers to that too."""
    shapes: Callable[[], Sequence[CallShape]] = _every_shape
    """How the template writes calls."""
    opens_thought: Callable[[bool | None], bool] = _no_thought
    """Whether the template begins a thought in the prompt, with thinking as it was asked for."""
    adapter: Callable[[str, str], Path] | None = None
    """The folder of an adapter, by the name it is to have and what was given; UserError when there is none."""

    def allowed_origins(self) -> Sequence[str]:
        """As the header of answers to pages has it."""
        return self.origins or (["*"] if self.local else [])

    def choose_model(self, known: Sequence[str], given: str | None) -> str:
        """The model that a name means; without one the default: the first adapter if there is one, else the base."""
        if given is not None and given in known:
            return given
        if given and given == self.base_name:
            return BASE
        if given and not self.any_model_name:
            raise UnknownModel(Say.unknown_model(given=plain(given), known=", ".join(known)), key="model")
        return next((name for name in known if name != BASE), BASE)
