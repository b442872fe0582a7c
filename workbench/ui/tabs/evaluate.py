"""The Evaluate tab: left what is measured on what, right what came of it. Knows its parts, no job and no metric."""

import gradio as gr

from workbench.text import Text
from workbench.ui.desk import Desk
from workbench.ui.evaluating.asking import furnish_asking
from workbench.ui.evaluating.happening import furnish_happening
from workbench.ui.evaluating.pressing import bind_pressing
from workbench.ui.evaluating.preview import furnish_preview


class Say:
    title = Text("Evaluate")


ORDER = 30
FIRST = False
TITLE = Say.title


def build(desk: Desk) -> None:
    """Two columns; on a phone the results come first once there are any."""
    with gr.Row(elem_id="evaluate", equal_height=False):
        with gr.Column(scale=0, min_width=340, elem_id="eval-asking"):
            asking = furnish_asking(desk)
            preview = furnish_preview(desk)
        with gr.Column(scale=1, min_width=340, elem_id="eval-happening"):
            side = furnish_happening(desk)
    desk.finishings.append(lambda: bind_pressing(asking, side, preview))
