"""The rows of a run: cached, mixed, split, streamed, and kept as tokens."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from workbench import stages
from workbench.chats import ChatOptions, use_template
from workbench.chats.encoding import Encoder
from workbench.desk import Desk
from workbench.events import EventLog, Note, tail
from workbench.jobs.train.cache import kept
from workbench.jobs.train.rows import Rows, build_rows
from workbench.models import load_tokenizer
from workbench.problems import UserError
from workbench.runs import create
from workbench.sockets import plugins
from workbench.specs import TrainSpec, read_flat
from workbench.workspace import Workspace

SIZES = {"big": 30, "small": 10, "tried": 4}


@pytest.fixture
def desk(workspace: Workspace) -> Iterator[Desk]:
    """A run's desk; three sets whose rows say where they come from."""
    for name, size in SIZES.items():
        rows = [{"instruction": f"{name} {number}", "output": f"{name}"} for number in range(size)]
        (workspace.data / f"{name}.json").write_text(json.dumps(rows), "utf-8")
    entries = {name: {"file_name": f"{name}.json"} for name in SIZES}
    (workspace.data / "dataset_info.json").write_text(json.dumps(entries), "utf-8")
    run = create(workspace, read_flat(TrainSpec, {**GOOD, "dataset": "big", "output_dir": "mine"}).unwrap())
    log = EventLog(run.events)
    yield Desk(run, log, False)
    log.close()


def built(desk: Desk, new_words: Sequence[str] = (), chat_template: str = "", **more: Any) -> tuple[Rows, Any]:
    """The rows of a spec, and the tokenizer that reads them."""
    spec = read_flat(TrainSpec, {**GOOD, "dataset": "big,small", "val_size": 0, **more}).unwrap()
    tokenizer = load_tokenizer(desk.run.workspace.models / "tiny", False)
    use_template(tokenizer, "chatml")
    tokenizer.chat_template = chat_template + tokenizer.chat_template
    tokenizer.add_tokens([*new_words])
    stage = plugins(stages)[spec.stage.stage]
    return build_rows(spec, desk, Encoder(tokenizer, ChatOptions(), stage, spec.stage, spec.data.cutoff_len)), tokenizer


def sources(rows: Any, tokenizer: Any) -> list[str]:
    """From which set each row comes, and its number there."""
    texts = (tokenizer.decode(row["input_ids"]) for row in rows)
    return [text.partition("user\n")[2].partition("<|im_end|>")[0] for text in texts]


def notes(desk: Desk) -> list[str]:
    return [str(one.event.message) for one in tail(desk.run.events, 0)[0] if isinstance(one.event, Note)]


def test_sets_stand_one_after_another(desk: Desk) -> None:
    rows, tokenizer = built(desk)
    assert sources(rows.train, tokenizer) == [f"big {n}" for n in range(30)] + [f"small {n}" for n in range(10)]
    assert rows.held is None
    assert rows.train.column_names == ["input_ids", "labels"]
    assert notes(desk)[-1].startswith("40 rows to learn from, 0 held out; ")


@pytest.mark.parametrize(
    ("strategy", "counts"),
    [
        ("interleave_under", {"big": 10, "small": 10}),
        ("interleave_over", {"big": 30, "small": 30}),
        ("interleave_once", {"big": 30, "small": 10}),
    ],
)
def test_sets_in_turns(strategy: str, counts: dict[str, int], desk: Desk) -> None:
    rows, tokenizer = built(desk, mix_strategy=strategy)
    found = Counter(source.split()[0] for source in sources(rows.train, tokenizer))
    assert all(abs(found[name] - count) <= 1 for name, count in counts.items())
    assert sources(rows.train, tokenizer)[:4] == ["big 0", "small 0", "big 1", "small 1"]


def test_shares_decide_how_often_each_set_is_drawn_the_same_for_a_seed(desk: Desk) -> None:
    mixed = {"mix_strategy": "interleave_over", "interleave_probs": "0.2,0.8"}
    rows, tokenizer = built(desk, **mixed)
    found = Counter(source.split()[0] for source in sources(rows.train, tokenizer))
    assert found["small"] > 2 * found["big"] > 0
    again, _ = built(desk, **mixed)
    assert again.train["input_ids"] == rows.train["input_ids"]
    other, _ = built(desk, seed=7, **mixed)
    assert other.train["input_ids"] != rows.train["input_ids"]


def test_a_row_that_mixing_repeats_is_never_on_both_sides(desk: Desk) -> None:
    rows, tokenizer = built(desk, mix_strategy="interleave_over", val_size=8)
    assert len(rows.held) == 8
    assert not set(sources(rows.held, tokenizer)) & set(sources(rows.train, tokenizer))


def test_validation_sets_are_not_learned(desk: Desk) -> None:
    rows, tokenizer = built(desk, eval_dataset="tried", val_size=0.5)
    assert sources(rows.held, tokenizer) == [f"tried {n}" for n in range(4)]
    assert len(rows.train) == 40
    assert "Validation rows come from tried; the validation share is not used." in notes(desk)


def test_the_tokens_of_an_earlier_run_are_taken_until_something_changes(desk: Desk) -> None:
    def from_cache(**more: Any) -> int:
        before = len(notes(desk))
        built(desk, **more)
        return sum("the tokens of an earlier run were taken" in note for note in notes(desk)[before:])

    assert [from_cache(), from_cache(), from_cache(learning_rate=1e-5)] == [0, 2, 2]
    assert [from_cache(cutoff_len=100), from_cache(train_on_prompt=True), from_cache(max_samples=5)] == [0, 0, 0]
    assert from_cache(overwrite_cache=True) == 0
    file = desk.run.workspace.data / "small.json"
    file.write_text(file.read_text().replace("small 3", "small three"))
    assert from_cache() == 1
    first, _ = built(desk)
    again, tokenizer = built(desk)
    assert again.train["labels"] == first.train["labels"]
    assert "small three" in sources(again.train, tokenizer)


def test_a_damaged_cache_is_made_anew(desk: Desk) -> None:
    rows, _ = built(desk)
    tokens = list(rows.train["input_ids"])
    first, second = desk.run.workspace.cache.glob("tokens/*")
    (first / "facts.json").write_text("{")
    (second / "rows.arrow").unlink()
    (second / "rows.arrow").write_bytes(b"torn")
    again, _ = built(desk)
    assert list(again.train["input_ids"]) == tokens
    assert not list(desk.run.workspace.cache.glob("tokens/*.part"))


def test_what_is_left_out_is_told_again_from_the_cache(desk: Desk) -> None:
    rows: list[dict[str, Any]] = [{"instruction": f"Q{n}", "output": "" if n % 2 else "A"} for n in range(30)]
    (desk.run.workspace.data / "small.json").write_text(json.dumps(rows), "utf-8")
    built(desk)
    first = notes(desk)
    built(desk)
    second = notes(desk)[len(first) :]
    for said in (first, second):
        assert sum("is left out" in note for note in said) == 10
        assert "5 more rows are left out or were put right; worker.log lists every one." in said


def test_when_the_template_refuses_every_row_the_run_ends_with_its_reason(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = "{{ raise_exception('No talk on Sundays.') }}{% generation %}{% endgeneration %}"
    monkeypatch.setattr("workbench.chats.template_text", lambda name: refusing)
    for _ in ("at first", "from the cache"):
        with pytest.raises(UserError, match=r"The first reason: .* No talk on Sundays\.") as caught:
            built(desk)
        assert caught.value.problems[0].key == "template"


def test_tokens_are_kept_in_a_folder_of_the_persons_choice(desk: Desk) -> None:
    first, _ = built(desk, tokenized_path="saves/tokens", val_size=4)
    assert "The tokens are kept in saves/tokens; the next run with it starts from there." in notes(desk)
    again, _ = built(desk, dataset="none", tokenized_path="saves/tokens")
    assert again.train["input_ids"] == first.train["input_ids"]
    assert again.held["labels"] == first.held["labels"]
    (desk.run.workspace.saves / "other").mkdir()
    for given, words in (("saves/other", "holds no tokens"), ("../x", "outside")):
        with pytest.raises(UserError, match=words) as caught:
            built(desk, tokenized_path=given)
        assert caught.value.problems[0].key == "tokenized_path"


def test_streaming_gives_every_row_once_an_epoch(desk: Desk) -> None:
    rows, tokenizer = built(desk, streaming=True, max_steps=5, val_size=6, buffer_size=8)
    held, learned = sources(rows.held, tokenizer), sources(rows.train, tokenizer)
    assert held == [f"big {n}" for n in range(6)]
    assert sorted([*held, *learned]) == sorted(f"{name} {n}" for name in ("big", "small") for n in range(SIZES[name]))
    assert learned == sources(rows.train, tokenizer), "the same each time"
    assert learned != [f"big {n}" for n in range(6, 30)] + [f"small {n}" for n in range(10)], "shuffled"
    assert not desk.run.workspace.cache.exists()


def test_nothing_left_to_learn_is_told(desk: Desk) -> None:
    with pytest.raises(UserError, match="Within 16 tokens nothing is left") as caught:
        built(desk, cutoff_len=16)
    assert caught.value.problems[0].key == "cutoff_len"


LONG = "word " * 400


def lay(desk: Desk, name: str, rows: Sequence[dict[str, Any]], **more: Any) -> None:
    """Put a set of these rows into the workspace, or others into one that is there."""
    info = desk.run.workspace.data / "dataset_info.json"
    (info.parent / f"{name}.json").write_text(json.dumps(rows), "utf-8")
    info.write_text(json.dumps({**json.loads(info.read_text()), name: {"file_name": f"{name}.json", **more}}), "utf-8")


def asked(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"instruction": question, "output": answer} for question, answer in pairs]


def test_rows_beyond_the_cutoff_are_told_by_their_number(desk: Desk) -> None:
    lay(desk, "big", asked(("a", "b"), (LONG, "lost"), ("c", "d")))
    built(desk, dataset="big", cutoff_len=64)
    said = "Dataset 'big', row 2 is left out: within 64 tokens nothing of its answer is left. Raise 'Cutoff length'."
    assert said in notes(desk)


def test_streaming_tells_what_the_cutoff_takes_once(desk: Desk) -> None:
    lay(desk, "big", asked(("a", "b"), (LONG, "lost"), ("c", LONG), ("d", "e"), ("f", LONG)))
    rows, _ = built(desk, dataset="big", cutoff_len=64, streaming=True, max_steps=5)
    assert [len(list(rows.train)) for _ in range(3)] == [4, 4, 4]
    told = [note for note in notes(desk) if "Dataset 'big'" in note]
    assert sum("row 2 is left out: within 64 tokens" in note for note in told) == 1
    assert sum("1 rows are left out: within 64 tokens" in note for note in told) == 1
    assert sum("2 answers are longer than 64 tokens and were cut" in note for note in told) == 1


def test_a_stream_that_is_never_read_to_its_end_tells_of_cut_answers_too(desk: Desk) -> None:
    lay(desk, "big", asked(*((f"{n}", LONG) for n in range(600))))
    rows, _ = built(desk, dataset="big", cutoff_len=64, streaming=True, max_steps=5, buffer_size=8)
    next(iter(rows.train))
    told = [note for note in notes(desk) if "answers are longer than 64 tokens and were cut" in note]
    assert [note[:32] for note in told] == ["Dataset 'big', after 1 rows: 256"]
    assert len(list(rows.train)) == 600
    assert notes(desk)[-1].startswith("Dataset 'big', all rows: 600 answers are longer")


def test_an_empty_stream_is_told(desk: Desk) -> None:
    with pytest.raises(UserError, match="Within 16 tokens nothing is left") as caught:
        built(desk, cutoff_len=16, streaming=True, max_steps=5)
    assert caught.value.problems[0].key == "cutoff_len"


def test_a_stream_of_rows_that_are_all_left_out_says_why(desk: Desk) -> None:
    lay(desk, "big", [{"instruction": "Q", "output": ""}] * 3 + asked((LONG, "lost")))
    lay(desk, "small", [{"instruction": "", "output": "A"}, {"instruction": "Q", "output": " "}, {"instruction": "Q"}])
    with pytest.raises(UserError) as caught:
        built(desk, cutoff_len=64, streaming=True, max_steps=5)
    (problem,) = caught.value.problems
    words = str(problem.message)
    assert words.startswith("No row can be learned from. In 5 of them: No answer: 'output' is ")
    assert "In 1 of them: within 64 tokens nothing of its answer is left." in words and problem.key == "dataset"


def test_a_template_without_a_place_for_any_row_is_told_while_streaming(desk: Desk) -> None:
    no_system = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    lay(desk, "big", [{"instruction": "Q", "output": "A", "system": "S"}] * 4)
    with pytest.raises(UserError, match="In 4 of them: .*no system") as caught:
        built(desk, dataset="big", streaming=True, max_steps=5, chat_template=no_system)
    assert caught.value.problems[0].key == "template"


def test_a_stream_that_is_held_out_whole_is_told(desk: Desk) -> None:
    with pytest.raises(UserError, match="All 10 rows are held out") as caught:
        built(desk, dataset="small", streaming=True, max_steps=5, val_size=10)
    assert caught.value.problems[0].key == "val_size"


@pytest.mark.parametrize("strategy", ["concat", "interleave_under", "interleave_over", "interleave_once"])
@pytest.mark.parametrize("shares", ["", "0.8,0.2"])
def test_a_row_that_streaming_holds_out_is_not_learned(strategy: str, shares: str, desk: Desk) -> None:
    more = {"mix_strategy": strategy, "interleave_probs": shares}
    rows, tokenizer = built(desk, streaming=True, max_steps=5, val_size=8, buffer_size=4, **more)
    held = sources(rows.held, tokenizer)
    assert len(held) == len(set(held)) == 8
    assert not set(held) & set(sources(rows.train, tokenizer))
    if strategy != "concat":
        big = 6 if shares else 4
        assert Counter(one.split()[0] for one in held) == {"big": big, "small": 8 - big}


def test_sets_too_short_for_their_part_of_the_rows_held_out(desk: Desk) -> None:
    more = {"mix_strategy": "interleave_once", "interleave_probs": "0.5,0.5", "dataset": "small,big"}
    rows, tokenizer = built(desk, streaming=True, max_steps=5, val_size=24, **more)
    held, learned = sources(rows.held, tokenizer), sources(rows.train, tokenizer)
    assert (len(held), len(learned)) == (24, 16)
    assert "Dataset 'small' has no row to learn from, so it is left out of the mix." in notes(desk)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_set_without_a_row_leaves_the_mix_with_its_share(streaming: bool, desk: Desk) -> None:
    lay(desk, "lost", asked((LONG, "lost")))
    more = {"mix_strategy": "interleave_over", "interleave_probs": "0.2,0.5,0.3", "cutoff_len": 64, "max_steps": 5}
    rows, tokenizer = built(desk, dataset="big,lost,small", streaming=streaming, **more)
    found = Counter(source.split()[0] for source in sources(rows.train, tokenizer))
    assert set(found) == {"big", "small"}
    assert "Dataset 'lost' has no row to learn from, so it is left out of the mix." in notes(desk)
    assert "The shares in the mix are now 0.4, 0.6." in notes(desk)


def test_validation_sets_without_a_row(desk: Desk) -> None:
    lay(desk, "lost", asked((LONG, "lost")))
    rows, tokenizer = built(desk, eval_dataset="lost,tried", cutoff_len=64)
    assert len(sources(rows.held, tokenizer)) == 4
    rows, _ = built(desk, eval_dataset="lost", cutoff_len=64)
    assert rows.held is None
    assert "No row of lost can be tried, so nothing is held out." in notes(desk)


def test_what_is_said_of_many_rows_is_kept_in_a_file(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    lay(desk, "big", [{"instruction": number, "output": "A"} for number in range(2000)])
    built(desk, dataset="big")
    built(desk, dataset="big")
    (folder,) = desk.run.workspace.cache.glob("tokens/*")
    assert (folder / "facts.json").stat().st_size < 2_000
    found = kept(folder)
    assert found is not None
    assert (found[2].count, len(found[2].first)) == (2000, 10)
    assert capsys.readouterr().out.count("was put right") == 4000, "every one is in worker.log, from the cache too"
    assert sum("was put right" in note for note in notes(desk)) == 20
    (folder / "said.jsonl").write_text("torn", "utf-8")
    assert kept(folder) is None


PAIRS = [{"prompt": f"Q{n}", "chosen": "A", "rejected": "B"} for n in range(6)]


@pytest.mark.parametrize("stage", ["dpo", "kto"])
def test_tokens_of_every_stage_are_taken_again(stage: str, desk: Desk) -> None:
    if stage == "dpo":
        lay(desk, "pairs", PAIRS, ranking=True, formatting="preference")
    else:
        marks = [{"prompt": f"Q{n}", "completion": "A", "label": n % 2} for n in range(6)]
        lay(desk, "pairs", marks, formatting="kto")
    more = {"dataset": "pairs", "stage": stage, "tokenized_path": "saves/tokens", "val_size": 2}
    first, _ = built(desk, **more)
    again, _ = built(desk, **more)
    assert list(again.train) == list(first.train)
    assert list(again.held) == list(first.held)
    assert not any("was put right" in note for note in notes(desk))


def test_tokens_of_another_stage_or_tokenizer_are_refused(desk: Desk) -> None:
    built(desk, tokenized_path="saves/tokens")
    for more, words in (
        ({"stage": "kto"}, "are for the stage sft, and this run is kto"),
        ({"new_words": ["strange-word"]}, "made by another tokenizer"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            built(desk, tokenized_path="saves/tokens", **more)
        assert caught.value.problems[0].key == "tokenized_path"


def test_tokens_of_llama_factory_are_taken_for_the_stages_that_they_fit(desk: Desk) -> None:
    from datasets import Dataset, DatasetDict

    def lay_tokens(name: str, **columns: Any) -> str:
        folder: Path = desk.run.workspace.saves / name
        DatasetDict({"train": Dataset.from_dict(columns)}).save_to_disk(str(folder))
        return f"saves/{name}"

    masks = {"attention_mask": [[1, 1]]}
    both = lay_tokens("both", input_ids=[[1, 2]], labels=[[1, 2]], images=[None], **masks)
    ids = lay_tokens("ids", input_ids=[[1, 2]], **masks)
    assert built(desk, tokenized_path=both)[0].train.column_names == ["input_ids", "labels"]
    assert built(desk, tokenized_path=ids, stage="pt")[0].train.column_names == ["input_ids"]
    for folder, stage, missing in ((ids, "sft", "labels"), (both, "dpo", "chosen_ids"), (both, "kto", "good")):
        with pytest.raises(UserError, match=f"have no {missing}"):
            built(desk, tokenized_path=folder, stage=stage)
