"""The Export tab: left what goes where, right what came of it. Knows its parts, no job and no exporter."""

import gradio as gr

from workbench.text import Text
from workbench.ui.desk import Desk
from workbench.ui.evaluating.preview import furnish_preview
from workbench.ui.exporting.asking import furnish_asking
from workbench.ui.exporting.happening import furnish_happening
from workbench.ui.exporting.pressing import bind_pressing


class Say:
    title = Text("Export")
    the_spec = Text("The spec of this export")


ORDER = 50
FIRST = False
TITLE = Say.title


def build(desk: Desk) -> None:
    """Two columns; on a phone the results come first once there are any."""
    with gr.Row(elem_id="export", equal_height=False):
        with gr.Column(scale=0, min_width=340, elem_id="export-asking"):
            asking = furnish_asking(desk)
            preview = furnish_preview(desk, Say.the_spec, "export")
        with gr.Column(scale=1, min_width=340, elem_id="export-happening"):
            side = furnish_happening(desk)
    desk.finishings.append(lambda: bind_pressing(asking, side, preview))
