"""How far an export is, and how it ended, as HTML. Knows events, no form and no file."""

from workbench.events import State
from workbench.text import Locale, Text
from workbench.ui.evaluating.progress import Watched, act_buttons, heading, message, usual_acts


class Say:
    sure = Text("Delete {name}? What it has exported stays where it is.")
    lost = Text("The worker ended without a word; nothing half-written is left under the export's name. Press Resume: it begins anew.")
    stopped = Text("Stopped; nothing half-written is left. Press Resume: an export that stands whole is only proved, else it begins anew.")


ENDINGS = {"lost": Say.lost, "stopped": Say.stopped}


def head(watched: Watched, state: State, stopping: bool, locale: Locale) -> str:
    """Name, state and buttons; while it goes on or was broken off also how far it is."""
    name = watched.run.name
    buttons = act_buttons(usual_acts(state, stopping), locale(Say.sure(name=name)), locale)
    return heading(watched, state, stopping, locale, name, buttons) + message(watched, state, locale, ENDINGS)
