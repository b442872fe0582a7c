"""Why a key of a tutorial's file has no effect here, and what happens instead. Knows no key."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from workbench.fields import plain
from workbench.text import Text


class Say:
    by_command = Text("the command chooses what is done")
    by_worker = Text("rows are read, turned into tokens and put together by the worker itself")
    own_processes = Text(
        "the processes of a run are started, joined and told what to do here by 'devices', 'num_processes' and 'distributed'"
    )
    always_counted = Text("tokens are always counted")
    whole_checkpoints = Text("checkpoints are always whole, so that a run can resume")
    by_resume = Text("use 'python app.py runs resume NAME' or the Resume button; nothing is learned twice or left out")
    own_log = Text("the run's own log and page say everything")
    loss_only = Text("a validation tells the stage's own figures and writes no answers")
    less_is_better = Text("of a loss less is better, of any other figure more")
    not_uploaded = Text("nothing is uploaded anywhere")
    in_environment = Text("libraries read it from their own environment variables")
    secret = Text("keys are read from the environment only. Take it out of the file, so that nobody else reads it")
    in_chat = Text("it matters in chat only")
    in_export = Text("it matters in export only")
    elsewhere = Text("this command does not use it")
    not_profiled = Text("steps are not profiled; the page shows tokens a second")
    same_words = Text("no words are added to the model's vocabulary; unknown ones are made of known pieces")
    same_model = Text("the model is computed as it comes")
    goes_on = Text("training goes on from the model's own weights")
    by_itself = Text("what suits the machine and the run is chosen by itself")
    usual_loss = Text("the stage's usual loss is learned")
    usual_settings = Text("the optimiser goes with the settings that have fields of their own")
    together = Text("all layers are moved together, so that a run can resume; that takes more memory")
    whole_layers = Text("BAdam moves whole layers, one after another")
    ordinary_way = Text("training goes the ordinary way, with the same result, in more time and memory")
    last_layers = Text("the layers that 'freeze_trainable_layers' counts from the end are trained")
    own_reference = Text("the reference is the model as it was before training, in the run's own precision")
    ordinary_adapter = Text("what the adapter is saved as is chosen by itself, so that it fits the model")
    bf16_instead = Text("numbers are held in bf16")
    text_only = Text("only text is learned here; pictures, videos and sounds are not read")
    own_words = Text("a benchmark brings its own words around a question, in its own language")
    by_engine = Text("the engine computes as many answers together as 'max_num_seqs' says")
    own_folder = Text("results lie in the run's folder, which 'output_dir' names")
    by_template = Text("the chat template says how tools and thoughts are written")


Fate = Literal["ours", "translated", "no_effect", "other_tools"]


@dataclass(frozen=True)
class Known:
    """What becomes of a key: for ``no_effect`` the reason, for ``other_tools`` what it is for."""

    fate: Fate
    why: str = ""
    quiet: tuple[str, ...] = ()

    @property
    def reason(self) -> Text:
        """Why it has no effect."""
        words: Text = vars(Say)[self.why]
        return words

    def asks_for_nothing(self, value: Any) -> bool:
        """Whether the value asks for what happens anyway."""
        return is_nothing(value) or plain(value).lower() in self.quiet


def is_nothing(value: Any) -> bool:
    """Whether a value says no: nothing, false, 0, or a word for them."""
    return plain(value).strip().lower() in ("", "false", "no", "off", "0", "none", "null")


@cache
def known_keys() -> Mapping[str, Known]:
    """The keys of keys.yaml."""
    table = yaml.safe_load((Path(__file__).parent / "keys.yaml").read_text("utf-8"))
    found = {key: Known(fate) for fate in ("ours", "translated") for key in table[fate]}
    for fate in ("no_effect", "other_tools"):
        for why, keys in table[fate].items():
            for key, quiet in keys.items():
                found[key] = Known(fate, why, tuple(plain(value).lower() for value in quiet))
    return found
