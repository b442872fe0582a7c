"""What an export run has left: its folder, how it is loaded, who would answer in Chat. Knows files, no component."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.exporting.beforehand import usual_name
from workbench.exporting.folder import MADE, export_folder, made_by
from workbench.exporting.proof import Proof, read_proof
from workbench.problems import UserError
from workbench.runs import Run
from workbench.specs import ExportSpec
from workbench.ui.loading import EXPORTED, GGUF


@dataclass(frozen=True)
class Taken:
    """An export that stands whole."""

    run: Run
    spec: ExportSpec
    folder: Path
    made: Mapping[str, Any]
    """What the file in the folder says of how it is loaded."""

    @property
    def shown(self) -> str:
        """The folder's path inside the workspace."""
        return self.folder.relative_to(self.run.workspace.root).as_posix()

    @property
    def proof(self) -> Proof | None:
        return read_proof(self.run.folder) or read_proof(self.folder)

    @property
    def answers(self) -> Mapping[str, str] | None:
        """Who would answer in Chat: ``run`` an adapter or a file, ``model`` a model as it is; None where none can."""
        model, adapter = self._inside("model"), self._inside("adapter")
        if model is None:
            alone = adapter is not None and not adapter.endswith(GGUF) and adapter.startswith(EXPORTED)
            return {"run": adapter, "model": ""} if alone and adapter else None
        return {"run": model, "model": ""} if model.endswith(GGUF) else {"run": "", "model": model}

    def _inside(self, what: str) -> str | None:
        """A path of ``made`` as seen from the workspace; None where it is not there."""
        given = self.made.get(what)
        if not isinstance(given, str):
            return None
        path = self.folder / given
        return path.relative_to(self.run.workspace.root).as_posix() if path.exists() and ".." not in given else None


def taken(run: Run) -> Taken | None:
    """What the run has left; None while there is nothing, or where another run's export took its place."""
    spec = run.read_spec().spec
    if not isinstance(spec, ExportSpec):
        return None
    try:
        folder = export_folder(run.workspace, spec.exporting, usual_name(spec))
        made = json.loads((folder / MADE).read_text("utf-8")) if made_by(folder) == run.name else None
    except (UserError, OSError, ValueError):
        return None
    return Taken(run, spec, folder, made) if isinstance(made, dict) else None
