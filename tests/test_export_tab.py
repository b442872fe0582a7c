"""The Export tab without a browser: destinations decide, what is drawn is escaped and true, an export can answer in Chat."""

import html
import json
from typing import Any

import gradio as gr
import pytest

from tests.test_chatting import tuned_run
from tests.test_data_tab import EVIL
from workbench.events import EventLog, Finished, Started
from workbench.exporters import Bounds
from workbench.exporting.folder import MADE
from workbench.exporting.proof import PROOF, Compared, Proof, Said
from workbench.problems import UserError
from workbench.runs import Run, create
from workbench.specs import ExportSpec, TrainSpec, read_flat
from workbench.text import ENGLISH
from workbench.ui.desk import Desk
from workbench.ui.exporting.asking import Asking, furnish_asking, plan_line
from workbench.ui.exporting.destinations import ALL, CHOOSER, destination, plain_sight
from workbench.ui.exporting.panel import Panel
from workbench.ui.exporting.taken import taken
from workbench.ui.form import Form
from workbench.ui.loading import answerers, serve_spec, trained_with
from workbench.workspace import Workspace


def exported(workspace: Workspace, files: tuple[str, ...], proof: Proof | None = None, **made: Any) -> Run:
    """An export run that has ended, and the folder that it left."""
    tuned_run(workspace, "one", template="chatml")
    values = {"model_name_or_path": "models/tiny", "adapter_name_or_path": ["saves/tiny/lora/one"], "template": "chatml"}
    run = create(workspace, read_flat(ExportSpec, {**values, CHOOSER: "adapter"}).unwrap())
    log = EventLog(run.events)
    log.write(Started(pid=1))
    log.write(Finished({}))
    log.close()
    folder = workspace.models / "one-adapter"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("{}", "utf-8")
    held = {"run": run.name, "format": "adapter", "engine": "transformers", "model": None, "adapter": None, **made}
    (folder / MADE).write_text(json.dumps(held), "utf-8")
    if proof:
        (folder / PROOF).write_text(json.dumps(proof.to_json()), "utf-8")
    return run


def proof(there: str = "fine", divergence: float = 0.0) -> Proof:
    one = Compared("given", EVIL, Said("fine", "stop"), Said(there, "stop"), True, 4, 4 if there == "fine" else 1, 0, divergence, "same")
    return Proof("transformers", Bounds(1.0, 1e-4), 16, [one])


def body(run: Run) -> str:
    answer = Panel(Desk(run.workspace, "en", None, None)).answer({"run": run.name, "language": "en"})
    assert answer["state"] == "finished"
    return str(answer["parts"]["body"])


@pytest.fixture
def asking(workspace: Workspace) -> Asking:
    with gr.Blocks():
        desk = Desk(workspace, "en", gr.Textbox(), gr.State({}))
        desk.form = Form(desk, TrainSpec)
        for key in ("model_name_or_path", "hub", "template"):
            desk.form.field(key)
        return furnish_asking(desk)


def given(asking: Asking, **values: Any) -> list[Any]:
    """The values of the bar above and of the form, these ones changed."""
    flat = {**asking.form.defaults(), **values}
    return ["models/tiny", "huggingface", "auto", *(flat[key] for key in asking.form.fields)]


class TestDestinations:
    def test_each_has_a_format_that_is_there_and_shows_fields_that_are(self) -> None:
        known = ExportSpec.knobs()
        for one in ALL:
            assert one.offered, one.name
            assert {*one.usual, *one.fixed, *one.fields} <= set(known), one.name
        assert len(ALL) == 6 and set(plain_sight()) <= set(known)

    def test_what_does_not_belong_to_a_destination_is_left_out(self) -> None:
        typed = {CHOOSER: "gguf", "ollama_name": "x", "export_hub_model_id": "me/x", "export_dir": "there", "lm_studio": False}
        assert destination("ollama").settled(typed) == {CHOOSER: "gguf", "ollama_name": "x", "export_dir": "there"}
        assert destination("vllm").settled(typed) == {CHOOSER: "merged", "export_dir": "there"}
        assert destination("lm_studio").settled(typed) == {CHOOSER: "gguf", "export_dir": "there", "lm_studio": True}
        assert destination("hub").settled(typed)["export_hub_model_id"] == "me/x"

    def test_a_form_becomes_a_spec_with_its_run_and_the_others(self, asking: Asking, workspace: Workspace) -> None:
        one, two = (tuned_run(workspace, name) for name in ("one", "two"))
        values = given(asking, export_format="gguf", gguf_kind="q4_k_m", adapter_weights="1, 0.5")
        checked = asking.check(one.name, "ollama", [f"saves/{two.name}"], values)
        assert checked.spec is not None, checked.problems
        assert checked.spec.model.adapter_name_or_path == [f"saves/{one.name}", f"saves/{two.name}"]
        assert checked.spec.flat()["gguf_kind"] == "q4_k_m" and checked.spec.exporting.adapter_weights == [1.0, 0.5]

    def test_the_line_says_where_it_goes_or_what_is_in_the_way(self, asking: Asking, workspace: Workspace) -> None:
        run = tuned_run(workspace, "one")
        line = plan_line(asking.desk, ENGLISH, asking.check(run.name, "vllm", [], given(asking)))
        assert "plan ready" in line and "models/one-merged" in line
        line = plan_line(asking.desk, ENGLISH, asking.check(run.name, "ollama", [], given(asking, ollama_name="<i>x")))
        assert "&lt;i&gt;x" in line and "<i>" not in line
        wrong = plan_line(asking.desk, ENGLISH, asking.check(run.name, "vllm", [], given(asking, export_dir="../x")))
        assert "plan wrong" in wrong and "../x" in wrong
        (workspace.models / "one-merged").mkdir()
        (workspace.models / "one-merged" / MADE).write_text('{"run": "an earlier one"}', "utf-8")
        taken_by = asking.check(run.name, "vllm", [], given(asking))
        assert [problem.key for problem in taken_by.problems] == ["export_dir"]
        line = plan_line(asking.desk, ENGLISH, asking.check(run.name, "vllm", [], given(asking, overwrite_export_dir=True)))
        assert "plan unwise" in line and "is replaced" in line
        assert "plan unwise" in plan_line(asking.desk, ENGLISH, asking.check("", "vllm", [], given(asking)))


class TestPanel:
    def test_a_proof_is_green_with_its_evidence_escaped(self, workspace: Workspace) -> None:
        drawn = body(exported(workspace, ("adapter_config.json",), proof(), adapter="."))
        assert 'class="light green"' in drawn and "proved" in drawn
        assert html.escape(EVIL) in drawn and EVIL not in drawn
        assert "adapter_config.json" in drawn and 'data-action="chat"' in drawn

    def test_no_proof_and_a_failed_one_are_never_green(self, workspace: Workspace) -> None:
        run = exported(workspace, ("config.json",), proof("other", 2.0), model=".")
        drawn = body(run)
        assert 'class="light red"' in drawn and "NOT proved" in drawn and "light green" not in drawn
        for damaged in ("{", '{"compared": []}', None):
            file = workspace.models / "one-adapter" / PROOF
            file.unlink() if damaged is None else file.write_text(damaged, "utf-8")
            assert 'class="light grey"' in body(run) and "light green" not in body(run)

    def test_nothing_stands_there_where_another_run_took_the_folder(self, workspace: Workspace) -> None:
        run = exported(workspace, ("config.json",), proof(), model=".")
        (workspace.models / "one-adapter" / MADE).write_text(json.dumps({"run": "another"}), "utf-8")
        assert body(run) == "" and taken(run) is None

    @pytest.mark.parametrize("name", ["", "no/such/run", "../outside"])
    def test_no_run_is_told_in_words(self, name: str, workspace: Workspace) -> None:
        answer = Panel(Desk(workspace, "en", None, None)).answer({"run": name})
        assert answer["state"] == "none" and "empty" in answer["parts"]["head"]


class TestAnswering:
    @pytest.mark.parametrize(
        ("made", "wanted"),
        [
            ({"model": "."}, {"run": "", "model": "models/one-adapter"}),
            ({"model": "a.gguf", "engine": "llamacpp"}, {"run": "models/one-adapter/a.gguf", "model": ""}),
            ({"adapter": "."}, {"run": "models/one-adapter", "model": ""}),
            ({"adapter": "a.lora.gguf", "engine": "llamacpp"}, None),
            ({"model": "../../outside"}, None),
        ],
    )
    def test_who_answers_follows_from_how_it_is_loaded(self, made: Any, wanted: Any, workspace: Workspace) -> None:
        (workspace.root / "outside").mkdir()
        found = taken(exported(workspace, ("a.gguf", "a.lora.gguf"), **made))
        assert found is not None and found.answers == wanted

    def test_an_exported_adapter_is_offered_and_loaded_over_its_base(self, workspace: Workspace) -> None:
        run = exported(workspace, ("adapter_config.json",), adapter=".")
        assert ("exported adapter one-adapter", "models/one-adapter") in answerers(workspace, ENGLISH)
        spec = serve_spec(workspace, "models/one-adapter", {"infer_backend": "echo"})
        assert spec.model.adapter_name_or_path == ["models/one-adapter"] and spec.model.template == "chatml"
        run.delete()
        with pytest.raises(UserError, match="adapter_config"):
            trained_with(workspace, "models/one-adapter")
        config = {"base_model_name_or_path": "models/tiny"}
        (workspace.models / "one-adapter" / "adapter_config.json").write_text(json.dumps(config), "utf-8")
        assert trained_with(workspace, "models/one-adapter")["model_name_or_path"] == "models/tiny"

    def test_files_in_a_layout_of_lm_studio_are_found_and_half_written_ones_are_not(self, workspace: Workspace) -> None:
        for folder in ("x/publisher/model", ".x.part"):
            path = workspace.models / folder / "a.gguf"
            path.parent.mkdir(parents=True)
            path.write_bytes(b"GGUF")
        values = [value for _, value in answerers(workspace, ENGLISH)]
        assert [one for one in values if one.endswith(".gguf")] == ["models/x/publisher/model/a.gguf"]
