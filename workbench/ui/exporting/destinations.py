"""Where a model can go, in a person's words: the formats that suit it, its usual values, the fields that matter there.

Knows exporters and their fields by name, as far as they are there; no component.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench import exporters
from workbench.sockets import plugins
from workbench.specs import ExportSpec
from workbench.text import Text

CHOOSER = "export_format"
SPECIAL = ("ollama_name", "ollama_url", "system_prompt", "lm_studio", "export_hub_model_id", "export_hub_private")
"""Fields that have an effect at some destinations only; elsewhere they keep their defaults and are not seen."""
ORDER = ("merged", "gguf", "adapter", "quantized")


class Say:
    ollama = Text("Ollama")
    lm_studio = Text("LM Studio")
    client = Text("A chat client")
    vllm = Text("vLLM")
    hub = Text("A hub")
    folder = Text("A folder")
    to_ollama = Text(
        "One GGUF file and a Modelfile. With a name below it is also created in the Ollama that runs here; without one you find "
        "the two lines to type on the right at the end."
    )
    to_lm_studio = Text("One GGUF file, in folders as LM Studio wants them: copy what is inside into its models folder.")
    to_client = Text(
        "NextChat, Chatbox, Cherry Studio and Open WebUI talk to an API. One GGUF file, which answers quickly without a card; at "
        "the end 'Start API' opens it and says what to enter."
    )
    to_vllm = Text("A folder for 'vllm serve'. Merged suits every version; the adapter alone keeps one base for several.")
    to_hub = Text(
        "A folder with a model card, pushed to the hub chosen in the bar above once it is made and proved. The token is read from "
        "the environment."
    )
    to_folder = Text("A folder on this machine, in the format you choose.")


@dataclass(frozen=True)
class Destination:
    """A place to take a model to."""

    name: str
    words: Text
    told: Text
    formats: Sequence[str] = ()
    """What suits it, the usual one first; empty: any."""
    usual: Mapping[str, Any] = field(default_factory=dict)
    """Values that the form gets when it is chosen, beside the first format."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Values that it always has; their fields are not shown."""
    fields: Sequence[str] = ()
    """Those of SPECIAL that belong there."""

    @property
    def offered(self) -> list[str]:
        """Of the formats that suit it those that there are."""
        there = list(plugins(exporters))
        return [one for one in self.formats or [*ORDER, *(name for name in there if name not in ORDER)] if one in there]

    def shows(self, key: str) -> bool:
        """Whether a field may be seen there."""
        if key == CHOOSER:
            return len(self.offered) > 1
        return key not in self.fixed and (key not in SPECIAL or key in self.fields)

    def settled(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a form as they count there: those of fields that are not shown are left out."""
        chosen = flat.get(CHOOSER) if flat.get(CHOOSER) in self.offered else self.offered[0]
        return {**{key: value for key, value in flat.items() if self.shows(key)}, CHOOSER: chosen, **self.fixed}


SMALL: Mapping[str, Any] = {"gguf_kind": "q4_k_m"}
ALL: Sequence[Destination] = (
    Destination("ollama", Say.ollama, Say.to_ollama, ("gguf",), SMALL, fields=("ollama_name", "ollama_url", "system_prompt")),
    Destination("lm_studio", Say.lm_studio, Say.to_lm_studio, ("gguf",), SMALL, {"lm_studio": True}),
    Destination("client", Say.client, Say.to_client, ("gguf", "merged"), {"gguf_kind": "q8_0"}),
    Destination("vllm", Say.vllm, Say.to_vllm, ("merged", "adapter", "quantized")),
    Destination("hub", Say.hub, Say.to_hub, fields=("export_hub_model_id", "export_hub_private", "system_prompt")),
    Destination("folder", Say.folder, Say.to_folder, fields=("system_prompt",)),
)


def destinations() -> list[Destination]:
    """Those for which an exporter is there, in the order of the page."""
    return [one for one in ALL if one.offered]


def destination(name: str | None) -> Destination:
    """The one of that name; the folder for every other."""
    return next((one for one in ALL if one.name == name), ALL[-1])


def plain_sight() -> list[str]:
    """The fields that stand above the folds: the format, what it needs to be told first, where the export goes."""
    own = [key for key, knob in ExportSpec.knobs().items() if knob.place == "exporter" and key != CHOOSER and knob.ui.simple]
    special = [key for key in SPECIAL if key not in ("ollama_url", "lm_studio")]
    return [CHOOSER, *own, *special, "export_dir", "overwrite_export_dir"]
