"""A run as one zip: the same bytes twice, no path of this machine, and nothing unpacked that was changed or leads out."""

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.bad_inputs import GOOD
from tests.conftest import Tell
from workbench.bundles import bundle_run
from workbench.data.datasets import chosen_entries, read_catalogue
from workbench.events import EventLog, Failed, Finished, Note, Sample, Started, Step
from workbench.exporting.bundle import FACTS, SPEC
from workbench.exporting.unbundle import compare, differences, read, to_train
from workbench.problems import Problem, UserError
from workbench.runs import Run, create
from workbench.specs import TrainSpec, read_flat, read_yaml
from workbench.text import verbatim
from workbench.workspace import Workspace

Entries = dict[str, bytes]


def finished_run(workspace: Workspace, name: str = "mine", ended: bool = True) -> Run:
    """A run's folder as a finished training leaves it, with paths of this machine in it."""
    model = str(workspace.models / "tiny")
    values = {**GOOD, "output_dir": name, "model_name_or_path": model, "deepspeed": "", "watch_prompts": ["Who?"]}
    run = create(workspace, read_flat(TrainSpec, {key: value for key, value in values.items() if value != ""}).unwrap())
    log = EventLog(run.events)
    log.write(Started(pid=1))
    log.write(Failed([Problem(verbatim("no"), "")], f"Traceback in {workspace.root}/x.py"))
    log.close()
    log = EventLog(run.events)
    log.write(Started(pid=2))
    log.write(Note(verbatim(f"Weights: {workspace.saves}/tiny")))
    for step, loss in ((1, 2.5), (2, 2.25)):
        log.write(Step(step=step, total=2, loss=loss))
    log.write(Sample(step=2, prompt="Who?", answer="It is secret 7."))
    if ended:
        log.write(Finished({"loss": 2.25}))
    log.close()
    (run.folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": model}), "utf-8")
    (run.folder / "adapter_model.safetensors").write_bytes(b"weights" * 100)
    part = {"name": "learned", "light": "green", "evidence": [{"prompt": "Who?", "reference": "It is secret 7."}]}
    (run.folder / "report.json").write_text(json.dumps({"where": f"{run.folder}/x", "parts": [part]}), "utf-8")
    return run


def entries(file: Path) -> Entries:
    with zipfile.ZipFile(file) as held:
        return {name: held.read(name) for name in held.namelist()}


def written(file: Path, held: Mapping[str, bytes], renamed: bool = True) -> Path:
    """A zip with these entries; ``renamed``: its list of hashes fits them."""
    facts = json.loads(held[FACTS])
    if renamed:
        facts["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in held.items() if name != FACTS}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in held.items():
            zipped.writestr(name, json.dumps(facts) if name == FACTS else content)
    return file


def test_the_same_run_gives_the_same_bytes_without_a_path_of_this_machine(workspace: Workspace, tmp_path: Path) -> None:
    run = finished_run(workspace)
    for name in ("one.zip", "two.zip"):
        bundle_run(run, tmp_path / name, data=True)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    held = entries(tmp_path / "one.zip")
    assert {FACTS, SPEC, "events.jsonl", "report.json", "weights/adapter_model.safetensors", "data/plain.json"} <= set(held)
    for name, content in held.items():
        for path in (str(workspace.root), str(Path.home()) + "/", str(tmp_path)):
            assert path.encode() not in content, (name, path)
    assert b"Traceback" not in held["events.jsonl"]
    spec = read_yaml(TrainSpec, held[SPEC].decode()).unwrap()
    assert spec.model.model_name_or_path == "models/tiny"
    assert list(json.loads(held["data/dataset_info.json"])) == ["plain"]


def test_a_bundle_is_whole_and_tells_what_differs(workspace: Workspace, tmp_path: Path) -> None:
    run, file = finished_run(workspace), tmp_path / "a.zip"
    bundle_run(run, file)
    bundle = read(file)
    assert not bundle.with_data and list(differences(workspace, bundle)) == []
    assert [(one.set, one.path) for one in bundle.facts.data] == [("plain", "plain.json")]
    (workspace.data / "plain.json").write_text("[]", "utf-8")
    (workspace.models / "tiny" / "config.json").write_text("{}", "utf-8")
    held = entries(file)
    facts = json.loads(held[FACTS])
    facts["libraries"] |= {"torch": "0.1", "nosuch": "1"}
    told = {one.key.rpartition(".")[2] for one in differences(workspace, read(written(file, {**held, FACTS: json.dumps(facts).encode()})))}
    assert told == {"library", "no_library", "other_rows", "other_base"}
    (workspace.data / "plain.json").unlink()
    assert "no_rows" in {one.key.rpartition(".")[2] for one in differences(workspace, read(file))}


def test_its_own_rows_are_laid_into_the_cache_and_learned_from_there(workspace: Workspace, tmp_path: Path) -> None:
    run, file = finished_run(workspace), tmp_path / "a.zip"
    bundle_run(run, file, data=True)
    rows = (workspace.data / "plain.json").read_bytes()
    (workspace.data / "plain.json").unlink()
    spec = to_train(workspace, read(file))
    assert (workspace.root / spec.data.dataset_dir / "plain.json").read_bytes() == rows
    assert spec.data.dataset_dir.startswith("cache/bundles/") and spec.saving.output_dir == ""


def test_what_rows_say_is_in_it_only_with_the_rows(workspace: Workspace, tmp_path: Path) -> None:
    run = finished_run(workspace)
    for data, file in ((False, tmp_path / "without.zip"), (True, tmp_path / "with.zip")):
        bundle_run(run, file, data=data)
        held = entries(file)
        assert (b"secret 7" in held["report.json"], b"secret 7" in held["events.jsonl"]) == (data, data)
        assert json.loads(held["report.json"])["parts"][0]["light"] == "green" and b'"step"' in held["events.jsonl"]


def test_every_file_of_a_set_lies_at_its_place_however_its_entry_is_written(workspace: Workspace, tmp_path: Path) -> None:
    for place in ("sub/one/deep/er/and/er/and/er", "sub/two"):
        folder = workspace.data / place
        folder.mkdir(parents=True)
        (folder / "rows.json").write_text(json.dumps([{"instruction": place, "output": "x"}] * 20), "utf-8")
    info = workspace.data / "dataset_info.json"
    known = json.loads(info.read_text("utf-8"))
    info.write_text(json.dumps({**known, "plain": {"file_name": str(workspace.data / "sub")}}), "utf-8")
    file = tmp_path / "a.zip"
    bundle_run(finished_run(workspace), file, data=True)
    assert {"data/sub/one/deep/er/and/er/and/er/rows.json", "data/sub/two/rows.json"} <= set(entries(file))
    spec = to_train(workspace, read(file))
    (entry,) = chosen_entries(read_catalogue(workspace, spec.data.dataset_dir), ["plain"])
    assert len(entry.files()) == 2 and workspace.cache in entry.place.parents


@pytest.mark.parametrize(("line", "named"), [
    ("trust_remote_code: true", "trust_remote_code: true"),
    ("report_to: [wandb, tensorboard]", "report_to: wandb;"),
    ("stage: grpo\njudge_url: HTTPS://evil.example/v1", "judge_url: HTTPS://evil.example/v1"),
    ("stage: ppo\nreward_model: http://evil.example/" + "x" * 90, "reward_model: http://evil.example/" + "x" * 90),
])  # fmt: skip
def test_a_strangers_spec_reaches_nowhere_unless_it_is_trusted(line: str, named: str, workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    bundle_run(finished_run(workspace), file)
    held = entries(file)
    spec = {**yaml.safe_load(held[SPEC]), **yaml.safe_load(line)}
    bundle = read(written(tmp_path / "b.zip", {**held, SPEC: yaml.safe_dump(spec).encode()}))
    with pytest.raises(UserError) as caught:
        to_train(workspace, bundle)
    assert named in f"{caught.value.problems[0].message.args['given']};" and "--trust" in str(caught.value)
    assert to_train(workspace, bundle, trusted=True).flat().keys() == bundle.spec.flat().keys()


Spoil = Callable[[Entries], Entries]
SPOILT: Mapping[str, tuple[Spoil, str]] = {
    "leads out": (lambda held: {**held, "data/../../evil": b"x"}, "odd_name"),
    "absolute": (lambda held: {**held, "/tmp/evil": b"x"}, "odd_name"),
    "drive": (lambda held: {**held, "data/C:evil": b"x"}, "odd_name"),
    "backslash": (lambda held: {**held, "data/..\\evil": b"x"}, "odd_name"),
    "foreign": (lambda held: {**held, "run_me.sh": b"x"}, "odd_name"),
    "swells": (lambda held: {**held, "data/zeros.json": bytes(50_000_000)}, "swells"),
    "no spec": (lambda held: {name: one for name, one in held.items() if name != SPEC}, "no_facts"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_no_bundle_is_refused_before_anything_is_unpacked(name: str, workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    bundle_run(finished_run(workspace), file)
    spoil, said = SPOILT[name]
    with pytest.raises(UserError) as caught:
        read(written(file, spoil(entries(file))))
    assert caught.value.problems[0].message.args["what"].key.endswith(f".{said}")
    assert not (workspace.cache / "bundles").exists()


def test_a_changed_file_an_unnamed_one_and_a_link_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    bundle_run(finished_run(workspace), file)
    held = entries(file)
    for change, said in (({"events.jsonl": b""}, "changed"), ({"data/more.json": b"[]"}, "unnamed")):
        with pytest.raises(UserError) as caught:
            read(written(tmp_path / "b.zip", {**held, **change}, renamed=False))
        assert caught.value.problems[0].message.args["what"].key.endswith(said)
    link = zipfile.ZipInfo("data/link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "a") as zipped:
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="data/link.json"):
        read(file)


def test_an_unknown_key_of_the_spec_or_of_the_facts_is_named(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    bundle_run(finished_run(workspace), file)
    held = entries(file)
    with pytest.raises(UserError, match="learning_rat"):
        read(written(tmp_path / "b.zip", {**held, SPEC: held[SPEC] + b"learning_rat: 1\n"}))
    facts = {**json.loads(held[FACTS]), "run_after": "rm"}
    with pytest.raises(UserError, match="run_after"):
        read(written(tmp_path / "c.zip", {**held, FACTS: json.dumps(facts).encode()}))


def test_losses_are_the_same_to_the_last_bit_or_within_a_share() -> None:
    there = {1: 2.0, 2: 1.0}
    assert compare(there, dict(there)).equal
    near = compare(there, {1: 2.0, 2: 1.001})
    assert not near.equal and near.within(0.0011) and not near.within(0.0009) and near.at == 2
    assert not compare(there, {1: 2.0}).within(1) and not compare({}, {}).within(1)


def test_the_terminal_bundles_a_finished_run_and_checks_it(tell: Tell, workspace: Workspace, tmp_path: Path) -> None:
    finished_run(workspace)
    finished_run(workspace, "half", ended=False)
    code, out, err = tell("runs", "bundle", "mine", "--data", "--out", str(tmp_path / "a.zip"))
    assert (code, err) == (0, "") and "a.zip" in out
    code, out, _ = tell("replay", str(tmp_path / "a.zip"), "--check")
    assert code == 0 and "mine is whole" in out and "Nothing differs" in out
    held = entries(tmp_path / "a.zip")
    written(tmp_path / "b.zip", {**held, SPEC: held[SPEC].replace(b"trust_remote_code: false", b"trust_remote_code: true")})
    code, out, err = tell("replay", str(tmp_path / "b.zip"), "--check")
    assert code == 0 and "trust_remote_code: true" in out + err
    assert "--trust" not in "".join(tell("replay", str(tmp_path / "b.zip"), "--check", "--trust")[1:])
    for words, said in (
        (("replay", str(tmp_path / "b.zip")), "trust_remote_code: true"),
        (("runs", "bundle", "half"), "finished"),
        (("runs", "bundle", "mine", "--out", str(tmp_path / "a.zip")), "already"),
        (("runs", "bundle", "mine", "--out", "a.tar"), ".zip"),
        (("replay", str(tmp_path / "none.zip")), "none.zip"),
        (("replay",), "Accepted: one"),
        (("replay", "a.zip", "--within", "2"), "--within"),
    ):
        code, _, err = tell(*words)
        assert code == 2 and said in err, (words, err)
