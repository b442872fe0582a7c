"""The Chat tab: choose who answers, load it, and talk to it, others beside it. Knows no engine and no worker."""

from workbench.text import Text
from workbench.ui.chatdrawer import bind_drawer, furnish_drawer
from workbench.ui.chatkeeping import bind_keeping, furnish_keeping
from workbench.ui.chatroom import furnish
from workbench.ui.conversing import bind_asking
from workbench.ui.desk import Desk
from workbench.ui.seating import Seating, bind_loading
from workbench.ui.serving import bind_serving, furnish_serving


class Say:
    title = Text("Chat")


ORDER = 40
FIRST = False
TITLE = Say.title


def build(desk: Desk) -> None:
    """Who answers above, the conversation below, the settings to its right."""
    room = furnish(desk)
    with room.drawer:
        furnish_drawer(room)
        keeping = furnish_keeping(room)
        panel = furnish_serving(room)
    bind_loading(room)
    bind_asking(room)
    bind_drawer(room)
    bind_keeping(room, keeping)
    bind_serving(panel, Seating(room).loaders)
