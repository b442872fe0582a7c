"""Scripts that open a model's API by a double click, beside the run that it came from. Knows no key and no server."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from workbench.exporting.launching import HERE, plain_name, write_scripts
from workbench.models import gguf_file, local_folder
from workbench.ports import is_loopback
from workbench.specs import ServeSpec
from workbench.workspace import Workspace

PORT = 8000


def write_launchers(workspace: Workspace, spec: ServeSpec, run: str) -> Sequence[Path]:
    """A spec file and the scripts for sh and for Windows, beside the run or the model, else in saves/; the three paths."""
    folder = _home(workspace, spec, run)
    name = plain_name(PurePath(run or spec.model.model_name_or_path or "model").name)
    asks = not is_loopback(spec.serving.api_host) and not spec.serving.api_key_file
    laid = spec.model_copy(update={"serving": spec.serving.model_copy(update={"api_port": spec.serving.api_port or PORT})})
    stem = f"start_api_{name}"
    about = f"Opens the API of {name} until Ctrl-C or the window is closed. What it serves stands in the file beside it."
    scripts = write_scripts(folder, stem, about, ["api", f"{HERE}/{stem}.yaml"], asks)
    told = folder / f"{stem}.yaml"
    told.write_bytes(laid.to_yaml().encode())
    return [told, *scripts]


def _home(workspace: Workspace, spec: ServeSpec, run: str) -> Path:
    """Where it is looked for: in the run's folder, beside a model of this workspace, else in saves/."""
    given = spec.model.model_name_or_path
    if run:
        return workspace.inside(workspace.saves, run)
    found = gguf_file(workspace, given) or local_folder(workspace, given) if given else None
    home = found.parent if found and found.is_file() else found
    inside = home is not None and Path(os.path.abspath(home)).is_relative_to(os.path.abspath(workspace.root))
    if home is not None and inside:
        return home
    workspace.saves.mkdir(parents=True, exist_ok=True)
    return workspace.saves
