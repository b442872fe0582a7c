"""The Chat tab: choose who answers, load it, and talk to it, the base beside it. Knows no engine and no worker."""

from workbench.text import Text
from workbench.ui.chatroom import furnish
from workbench.ui.conversing import bind_asking
from workbench.ui.desk import Desk
from workbench.ui.seating import bind_loading


class Say:
    title = Text("Chat")


ORDER = 40
FIRST = False
TITLE = Say.title


def build(desk: Desk) -> None:
    """Who answers above, the conversation below, the settings to its right."""
    room = furnish(desk)
    bind_loading(room)
    bind_asking(room)
