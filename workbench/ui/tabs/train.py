"""The Train tab: left what I ask for, right what happens. Knows the form and the live panel, no worker."""

import gradio as gr

from workbench.text import Text
from workbench.ui.asking import build_asking
from workbench.ui.desk import Desk
from workbench.ui.happening import build_happening
from workbench.ui.needs import build_needs
from workbench.ui.preview import build_preview
from workbench.ui.rows import build_rows
from workbench.ui.telling import bind_telling


class Say:
    title = Text("Train")


ORDER = 10
FIRST = True
TITLE = Say.title


def build(desk: Desk) -> None:
    """Two columns; on a phone the right one comes first."""
    with gr.Row(elem_id="train", equal_height=False):
        with gr.Column(scale=9, min_width=340, elem_id="asking"):
            asking = build_asking(desk)
            build_needs(desk, asking)
            build_preview(desk, asking)
            build_rows(desk)
            bind_telling(desk, asking)
        with gr.Column(scale=11, min_width=340, elem_id="happening"):
            build_happening(desk, asking)
