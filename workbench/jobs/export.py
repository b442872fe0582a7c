"""Export: make it, lay it in its folder whole, and prove that it answers as it did here. Knows no exporter by name.

A worker that goes on begins a half-written export anew; one that stands whole is only proved.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench import exporters, pushing
from workbench.desk import Desk
from workbench.exporters import Bounds, Made, Source, Trained
from workbench.exporting import beforehand, for_ollama
from workbench.exporting.calibration import calibration_texts
from workbench.exporting.companions import accompany
from workbench.exporting.folder import MADE, beside, check_folder, check_room, export_folder, made_as, mark_of
from workbench.exporting.for_studio import lay_out
from workbench.exporting.proof import Proof
from workbench.fields import plain
from workbench.merging import lacking
from workbench.opening import prepare
from workbench.problems import UserError
from workbench.proving.settling import figures, settle
from workbench.sockets import plugins
from workbench.specs import ExportSpec
from workbench.text import Text


class Say:
    whole = Text("The export stands whole in {folder} from before: it is only proved.")
    done = Text("The export lies in {folder}.")
    kept_back = Text("The export was not sent to {given}, since it did not prove itself.")


def run(spec: ExportSpec, desk: Desk) -> dict[str, float]:
    """Make, keep and prove the export; its size in bytes, and whether it is proved."""
    desk.phase("reading")
    workspace = desk.run.workspace
    if problems := beforehand.problems_of(workspace, spec, mark_of(desk.run.folder)):
        raise UserError(*problems)
    for_ollama.check_ollama(spec, desk.run.folder)
    opening = prepare(spec.model, desk)
    folder = export_folder(workspace, spec.exporting, beforehand.usual_name(spec))
    module = plugins(exporters)[spec.exporter.export_format]
    weights = spec.exporting.adapter_weights or [1.0] * len(opening.adapters)
    trained = [Trained(path, weight) for path, weight in zip(opening.adapters.values(), weights, strict=True)]
    source = Source(opening, trained, folder.name, lambda given: calibration_texts(workspace, opening, given))
    for note in lacking(trained):
        desk.note(note, "warning")
    if made_as(folder) == mark_of(desk.run.folder):
        desk.note(Say.whole(folder=folder.name))
        made = read_made(folder)
    else:
        made = make(spec, source, module, folder, desk)
    desk.note(Say.done(folder=str(folder.relative_to(workspace.root))))
    proof = settle(spec, source, made, folder, desk)
    send(spec, source, made, folder, proof, desk)
    return {"bytes": float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())), **figures(proof)}


def send(spec: ExportSpec, source: Source, made: Made, folder: Path, proof: Proof, desk: Desk) -> None:
    """Create the export in Ollama and push it to the hub, where that is asked for and it has proved itself."""
    given, name = spec.exporting.export_hub_model_id.strip(), spec.exporting.ollama_name.strip()
    if not proof.proved:
        for one in filter(None, (name, given)):
            desk.note(Say.kept_back(given=plain(one)), "warning")
        return
    for_ollama.create(folder, spec, source, made, desk.note, lambda done, total: desk.phase("sending", done, total))
    if not given:
        return
    desk.phase("sending")
    desk.note(pushing.Say.pushed(page=pushing.push(spec.model.hub, given, folder, spec.exporting.export_hub_private)))


def make(spec: ExportSpec, source: Source, module: Any, folder: Path, desk: Desk) -> Made:
    """The export, whole under its final name."""
    check_folder(folder, spec.exporting, [source.opening.folder(), *(one.folder for one in source.trained)])
    needed = module.needs(spec.exporter, source)
    desk.phase("exporting")
    with beside(folder, desk.run.workspace.cache / "exports") as part:
        check_room(part, needed)
        made: Made = module.export(spec.exporter, source, part)
        if spec.exporting.lm_studio:
            made = lay_out(part, made, folder.name, desk.note)
        for note in for_ollama.write_modelfile(part, spec, source, made, folder):
            desk.note(note, "warning")
        for note in accompany(part, spec, source, made, folder.relative_to(desk.run.workspace.root)):
            desk.note(note, "warning")
        held = {"run": desk.run.name, "mark": mark_of(desk.run.folder), "format": spec.exporter.export_format, **asdict(made)}
        (part / MADE).write_text(json.dumps(held, indent=1, default=Path.as_posix) + "\n", "utf-8")
    return made


def read_made(folder: Path) -> Made:
    """What the file in an export's folder says of how it is loaded."""
    held = json.loads((folder / MADE).read_text("utf-8"))
    paths = {key: None if held[key] is None else Path(held[key]) for key in ("model", "adapter")}
    return Made(held["engine"], paths["model"], paths["adapter"], Bounds(**held["bounds"]), held.get("original", False))
