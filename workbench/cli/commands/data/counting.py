"""What ``data check`` may count with the model that a person named. Loads a tokenizer, never a model."""

from workbench.chats import ChatOptions, check_template, use_template
from workbench.checks import Context
from workbench.cli.commands.data.words import Words
from workbench.data.counting import counting
from workbench.fields import plain
from workbench.models import load_tokenizer, local_folder
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Text
from workbench.workspace import Workspace


class Say:
    no_model = Text(
        "The model '{given}' is not on this machine. Accepted: a folder, or a name in models/. Fetch it first."
    )
    model_first = Text("--{flag} needs a model. Accepted: --model_name_or_path M beside it. Add it.")


def context_of(workspace: Workspace, words: Words) -> Context:
    """What the checks may count: nothing without a model."""
    given = words.flag("model_name_or_path")
    if not given:
        lonely = [flag for flag in ("cutoff_len", "template") if words.flag(flag)]
        if lonely:
            raise UserError(*(Say.model_first(flag=flag) for flag in lonely), key="model_name_or_path")
        return Context()
    knob = TrainSpec.knobs()["cutoff_len"]
    cutoff = words.number("cutoff_len", knob.default)
    template = check_template(words.flag("template", "auto"))
    folder = local_folder(workspace, given)
    if folder is None:
        raise UserError(Say.no_model(given=plain(given)), key="model_name_or_path")
    tokenizer = load_tokenizer(folder, False)
    use_template(tokenizer, template)
    return counting(tokenizer, cutoff, ChatOptions())
