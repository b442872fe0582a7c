"""The page: ways to write a spec and to read events in a browser."""

import workbench.ui.importing  # noqa: F401 - before anything here imports Gradio
