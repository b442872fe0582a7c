"""Bad input on the terminal in every form, and overrides; nothing is started."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bad_inputs import BAD_INPUTS, GOOD, Bad
from tests.conftest import Tell
from workbench.checking import check_train
from workbench.cli.flags import lay_over, read_words
from workbench.problems import UserError
from workbench.runs import Run
from workbench.specs import TrainSpec, read_flat
from workbench.text import verbatim
from workbench.workspace import Workspace


def as_words(flat: Mapping[str, Any]) -> list[str]:
    """Half of the values as key=value, half as flags; mappings one value at a time."""
    words: list[str] = []
    for number, (key, value) in enumerate(flat.items()):
        if isinstance(value, dict):
            words += [f"{key}.{name}={one}" for name, one in value.items()]
        elif isinstance(value, str) and "\n" in value:
            words.append(f"{key}={json.dumps(value.splitlines())}")
        else:
            words += [f"{key}={value}"] if number % 2 else [f"--{key}", str(value)]
    return words


def spec_file(workspace: Workspace, text: str) -> str:
    (workspace.root / "spec.yaml").write_text(text, "utf-8")
    return "spec.yaml"


def no_run_was_made(workspace: Workspace) -> bool:
    return not list(workspace.saves.glob("**/events.jsonl"))


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_bad_value_is_told_beside_its_key(bad: Bad, tell: Tell, workspace: Workspace) -> None:
    bad.lay(workspace)
    code, out, err = tell("train", *as_words({**GOOD, **bad.flat}))
    lines = err.splitlines()
    assert code == 2
    assert out == ""
    assert [line for line in lines if not line.startswith(f"{bad.key}: ")] == [], "one problem, beside its key"
    for word in bad.words:
        assert word in lines[0]
    assert no_run_was_made(workspace)


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_bad_value_in_a_file_is_told_alike(bad: Bad, tell: Tell, workspace: Workspace) -> None:
    bad.lay(workspace)
    flat = dict(bad.flat)
    if "watch_prompts" in flat:
        flat["watch_prompts"] = flat["watch_prompts"].splitlines()
    code, _, err = tell("train", spec_file(workspace, yaml.safe_dump({**GOOD, **flat})))
    assert code == 2
    assert err.startswith(f"{bad.key}: ")
    assert all(word in err for word in bad.words)


def test_the_good_values_below_the_table_are_good(workspace: Workspace) -> None:
    assert check_train(workspace, GOOD).unwrap().data.dataset == ["plain"]
    assert len(BAD_INPUTS) >= 55
    assert len({bad.name for bad in BAD_INPUTS}) == len(BAD_INPUTS)


WORDS: tuple[tuple[str, list[str], str], ...] = (
    (
        "a misspelt key",
        ["learning_rat=1"],
        "learning_rat: Unknown key 'learning_rat'. Nearest known key: learning_rate.",
    ),
    ("a misspelt flag", ["--lerning-rate", "1"], "lerning-rate: Unknown key"),
    ("a key of nothing", ["colour=red"], "colour: Unknown key 'colour', and no known key is near it."),
    ("a section before the key", ["optim.learning_rate=1e-4"], "optim.learning_rate: Unknown key"),
    ("bf16 and fp16", ["bf16=true", "--fp16", "True"], "precision: Both bf16 and fp16 are true."),
    ("a flag without a value", ["--learning_rate"], "learning_rate: '--learning_rate' has no value."),
    ("a flag before a flag", ["--learning_rate", "--seed", "1"], "learning_rate: '--learning_rate' has no value."),
    ("no key", ["=1e-4"], "'=1e-4' has no key before '='."),
    ("no key in a flag", ["--=1e-4"], "'--=1e-4' has no key before '='."),
    ("one dash", ["-learning_rate", "1"], "'-learning_rate' begins with one dash."),
    ("a value for a switch", ["--plot_loss", "perhaps"], "plot_loss: Draw training_loss.png is 'perhaps'."),
    ("a list for a number", ["learning_rate=[1, 2]"], "learning_rate: Learning rate is '1, 2'."),
    ("a mapping for a number", ["lora_rank={a: 1}"], "lora_rank: LoRA rank is '{\"a\": 1}'."),
    ("a list for a choice", ["stage=[sft]"], "stage: stage is 'sft'."),
    ("words for a mapping", ["dataset_values=Aurora"], "dataset_values: Values for the set is 'Aurora'."),
    ("a value of no mapping", ["dataset_values=x", "dataset_values.name=A"], "dataset_values: 'dataset_values.name'"),
    ("a newer spec", ["version=99"], "version: The spec has version 99."),
    ("another job", ["job=serve"], "job: The spec is for 'serve'."),
    ("a run's name for a file", ["nowhere.yaml"], "There is no file 'nowhere.yaml'."),
    ("a folder for a file", ["data"], "'data' is a folder."),
    ("two files", ["spec.yaml", "more.yaml"], "'more.yaml' is out of place."),
)


@pytest.mark.parametrize(("words", "said"), [case[1:] for case in WORDS], ids=[case[0] for case in WORDS])
def test_a_bad_command_line(words: list[str], said: str, tell: Tell, workspace: Workspace) -> None:
    spec_file(workspace, yaml.safe_dump(dict(GOOD)))
    good = [] if words[0].endswith(".yaml") else as_words(GOOD)
    code, out, err = tell("train", *good, *words)
    assert code == 2
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1, err
    assert no_run_was_made(workspace)


FILES: tuple[tuple[str, bytes, str], ...] = (
    ("YAML that is a list", b"- a\n- b\n", "The spec is list a, b. Accepted: lines of 'key: value'."),
    ("YAML that is a word", b"train\n", "The spec is str train."),
    ("an empty file", b"", "The spec is NoneType"),
    ("YAML with a syntax error", b"seed: 1\nstage: [sft\n", "The spec is not YAML: line 3, column 1:"),
    ("YAML with a tab", b"seed: 1\n\tstage: sft\n", "The spec is not YAML: line 2, column 1:"),
    ("YAML that makes objects", b"seed: !!python/object/apply:os.getcwd []\n", "The spec is not YAML: line 1"),
    ("not UTF-8", b"dataset: \xff\xfe\n", "'spec.yaml' can't be read"),
    (
        "a misspelt key",
        b"learning_rat: 1\n",
        "learning_rat: Unknown key 'learning_rat'. Nearest known key: learning_rate.",
    ),
    ("a key that is no word", b"1: 2\n", "1: Unknown key '1'"),
    ("a wrong type", b"lora_rank: [8]\n", "lora_rank: LoRA rank is '8'. Accepted: a whole number"),
    ("nothing for a number", b"lora_rank:\n", "lora_rank: LoRA rank is 'nothing'. Accepted: a whole number"),
    ("a date for a number", b"seed: 2026-01-01\n", "seed: Seed is '2026-01-01'."),
    ("a newer version", b"version: 2\nnew_key: 1\n", "version: The spec has version 2."),
    ("another job", b"job: export\n", "job: The spec is for 'export'. Accepted here: 'train'."),
)


@pytest.mark.parametrize(("content", "said"), [case[1:] for case in FILES], ids=[case[0] for case in FILES])
def test_a_bad_spec_file(content: bytes, said: str, tell: Tell, workspace: Workspace) -> None:
    (workspace.root / "spec.yaml").write_bytes(content)
    good = as_words(GOOD)
    code, out, err = tell("train", "spec.yaml", *good)
    assert code == 2
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1, err


def test_all_problems_are_told_at_once(tell: Tell, workspace: Workspace) -> None:
    file = spec_file(workspace, "model_name_or_path: models/none\nlearning_rat: 1\nseed: -1\n")
    code, _, err = tell("train", file, "dataset=plian", "--val_size", "-1", "output_dir=../x", "=3")
    keys = [line.partition(":")[0] for line in err.splitlines()]
    assert code == 2
    assert sorted(keys[1:]) == ["dataset", "learning_rat", "model_name_or_path", "output_dir", "seed", "val_size"]
    assert "has no key" in keys[0]


def test_what_has_no_effect_is_a_warning(tell: Tell, workspace: Workspace) -> None:
    code, _, err = tell("train", "dataset=none", "--do_train", "True", "preprocessing_num_workers=16", "--overwrite_cache")
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert code == 2
    assert len(warnings) == 1
    assert "'preprocessing_num_workers: 16' has no effect" in warnings[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "api, chat, data, doctor, eval, export, replay, report, runs, train. Did you mean train?"),
        (["measure"], "'measure' is no command. Accepted: api, chat, data, doctor, eval, export, replay, report, runs, train."),
        (["runs"], "Nothing was asked for. Accepted: list, show, stop, resume, extend, bundle, delete."),
        (["runs", "shwo", "a"], "'shwo' can't be done with runs. Accepted: list, show, stop, resume, extend, bundle, delete. Did you"),
        (["runs", "show"], "No run is named."),
        (["runs", "show", "nowhere"], "No run named 'nowhere'. Known: -."),
        (["runs", "show", "../../etc"], "No run named '../../etc'."),
        (["runs", "show", "/etc"], "No run named '/etc'."),
        (["runs", "show", "a", "b"], "2 runs are named. Accepted: one."),
        (["runs", "delete", "a", "b"], "No run named 'b'."),
        (["runs", "delete", "a", "--force"], "'--force' is no flag of runs delete. Accepted: --yes."),
        (["doctor", "now"], "'now' is out of place. Accepted: nothing more."),
        (["chat"], "model_name_or_path: No model is chosen."),
        (["chat", "nobody"], "No run named 'nobody'."),
        (["chat", "models/tiny", "temperature=hot"], "temperature: Temperature is 'hot'."),
        (["chat", "tiny", "--template", "qwne"], "template: No chat template named 'qwne'."),
        (["chat", "tiny", "twice"], "'twice' is out of place."),
        (["api", "--model_name_or_path", "models/none"], "model_name_or_path: There is no model at 'models/none'."),
        (["api", "tiny.yaml"], "There is no file 'tiny.yaml'."),
        (["api", "model_name_or_path=models/tiny", "api_port=70000"], "api_port: Port is '70000'."),
        (["train", "--lang", "tlh"], "lang: Language is 'tlh'. Accepted: en"),
        (["train", "--lang"], "lang: --lang has no value."),
    ],
    ids=" ".join,
)
def test_bad_words_of_other_commands(words: list[str], said: str, tell: Tell) -> None:
    code, out, err = tell(*words)
    assert code == 2
    assert out == ""
    assert said in err


def test_later_values_win(workspace: Workspace, tmp_path: Path) -> None:
    base = {"learning_rate": 1e-4, "seed": 1, "dataset_values": {"name": "Ada", "author": "Bo"}}
    words = ["seed=2", "--seed", "3", "--learning-rate=2e-4", "dataset_values.name=Aurora", "--plot_loss", "seed=4"]
    flat = lay_over(base, read_words(words, TrainSpec.knobs()), TrainSpec.knobs())
    spec = read_flat(TrainSpec, flat).unwrap()
    assert (spec.optim.seed, spec.optim.learning_rate, spec.saving.plot_loss) == (4, 2e-4, True)
    assert spec.data.dataset_values == {"name": "Aurora", "author": "Bo"}


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["learning_rate=1e-4"], "learning_rate", 1e-4),
        (["--learning_rate", "1e-4"], "learning_rate", 1e-4),
        (["--learning_rate=1e-4"], "learning_rate", 1e-4),
        (["--learning-rate", "1e-4"], "learning_rate", 1e-4),
        (["--overwrite_output_dir"], "overwrite_output_dir", True),
        (["--overwrite_output_dir", "False"], "overwrite_output_dir", False),
        (["--overwrite_output_dir", "seed=1"], "overwrite_output_dir", True),
        (["--dataset", "a,b"], "dataset", ["a", "b"]),
        (["dataset=[a, b]"], "dataset", ["a", "b"]),
        (["lora_alpha="], "lora_alpha", None),
        (["max_steps=none"], "max_steps", None),
        (["watch_prompts=Well, who are you?"], "watch_prompts", ["Well, who are you?"]),
        (['watch_prompts=["a, b", "c"]'], "watch_prompts", ["a, b", "c"]),
        (['dataset_values={"name": "A=B"}'], "dataset_values", {"name": "A=B"}),
        (["dataset_values.name=A=B"], "dataset_values", {"name": "A=B"}),
        (["dataset_values.name={{x}}"], "dataset_values", {"name": "{{x}}"}),
        (["--max_steps", "-1"], "max_steps", None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_every_way_to_write_a_value(words: list[str], key: str, value: Any) -> None:
    given = read_words(words, TrainSpec.knobs())
    assert given.problems == []
    assert read_flat(TrainSpec, lay_over({}, given, TrainSpec.knobs())).unwrap().flat()[key] == value


def test_a_path_is_meant_from_where_the_terminal_is(
    tell: Tell, workspace: Workspace, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[TrainSpec] = []

    def no_create(home: Workspace, spec: TrainSpec) -> Run:
        made.append(spec)
        raise UserError(verbatim("enough"))

    monkeypatch.setattr("workbench.runs.create", no_create)
    monkeypatch.chdir(tiny_model.parent)
    tell("train", "model_name_or_path=tiny", "dataset=plain")
    tell("train", "model_name_or_path=models/tiny", "dataset=plain")
    assert [spec.model.model_name_or_path for spec in made] == [str(tiny_model), "models/tiny"]
