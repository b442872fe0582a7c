"""What stands in an export's way, as far as it can be told without loading a model. Knows no page and no terminal."""

from workbench import pushing
from workbench.answering import answer_problems
from workbench.chats import check_template
from workbench.exporting.folder import check_folder, export_folder, made_as
from workbench.models import adapter_folder, check_model, local_folder, model_name
from workbench.ollama.names import check_name
from workbench.problems import Problem, UserError
from workbench.specs import ExportSpec
from workbench.text import Text
from workbench.workspace import Workspace


class Say:
    weights = Text("{given} weights are given for {count} adapters. Accepted: one for each, or none. Give as many as adapters.")


def usual_name(spec: ExportSpec) -> str:
    """What the export's folder is called where nobody has named it: after what was trained, and the format."""
    given = [_called(one) for one in spec.model.adapter_name_or_path]
    return "-".join([*(given or [model_name(spec.model.model_name_or_path)]), spec.exporter.export_format])


def _called(given: str) -> str:
    """The run's own name; a checkpoint has its run's before its number."""
    parts = given.rstrip("/\\").replace("\\", "/").split("/")
    return "-".join(parts[-2:] if parts[-1].startswith("checkpoint-") else parts[-1:])


def problems_of(workspace: Workspace, spec: ExportSpec, mark: str = "") -> list[Problem]:
    """Every problem, each beside its field. ``mark``: whose export stands in no way, since it is the asker's own."""
    problems = [*check_model(workspace, spec.model), *answer_problems(workspace, spec.model)]
    problems += pushing.problems_of(spec.model.hub, spec.exporting.export_hub_model_id.strip())
    weights, count = len(spec.exporting.adapter_weights), len(spec.model.adapter_name_or_path)
    if weights and weights != count:
        problems.append(Problem(Say.weights(given=weights, count=count), "adapter_weights"))
    try:
        if name := spec.exporting.ollama_name.strip():
            check_name(name)
        check_template(spec.model.template)
        folder = export_folder(workspace, spec.exporting, usual_name(spec))
        if not mark or made_as(folder) != mark:
            sources = [local_folder(workspace, spec.model.model_name_or_path)]
            sources += [adapter_folder(workspace, one) for one in spec.model.adapter_name_or_path]
            check_folder(folder, spec.exporting, [one for one in sources if one])
    except UserError as error:
        problems += error.problems
    return problems
