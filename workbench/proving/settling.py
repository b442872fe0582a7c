"""Prove an export, keep the verdict where it is looked for, and say it. Knows no page and no terminal."""

import json
from pathlib import Path

from workbench.desk import Desk
from workbench.evaluating.records import write_whole
from workbench.exporters import Made, Source
from workbench.exporting.companions import write_card
from workbench.exporting.proof import PROOF, Proof, evidence, reasons_told, remarks, verdict
from workbench.proving import prove
from workbench.specs import ExportSpec
from workbench.text import Text


class Say:
    stays = Text("The export stays in its folder. Compare the answers in {file} before you rely on it.")


def settle(spec: ExportSpec, source: Source, made: Made, folder: Path, desk: Desk) -> Proof:
    """The proof, written into the run's folder and into the export's, and told."""
    proof = prove(spec, source, made, folder, desk)
    text = json.dumps(proof.to_json(), ensure_ascii=False, indent=1) + "\n"
    for home in (desk.run.folder, folder):
        write_whole(home / PROOF, text)
    write_card(folder, spec, source, proof)
    for remark in remarks(proof):
        desk.note(remark)
    if proof.proved:
        desk.note(verdict(proof, folder.name))
        return proof
    desk.note(verdict(proof, folder.name), "warning")
    for message in [*reasons_told(proof)[1:], *evidence(proof)]:
        desk.note(message, "warning")
    desk.note(Say.stays(file=PROOF))
    return proof


def figures(proof: Proof) -> dict[str, float]:
    """The closing figures of a proof."""
    return {"proved": float(proof.proved), "same_tokens": proof.share, "divergence": proof.divergence}
