"""Chats as text and tokens: exactly the answers with their end of turn are learned, on named templates and models' own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bad_inputs import GOOD
from workbench import stages
from workbench.chats import (
    check_template,
    render,
    render_with_answers,
    stop_tokens,
    template_facts,
    template_names,
    to_tokens,
    use_template,
)
from workbench.events import EventLog, Note, tail
from workbench.formats import Role, Sample, Turn
from workbench.jobs import Desk
from workbench.jobs.train.encoding import encode_samples, write_excluded
from workbench.models import load_tokenizer
from workbench.problems import UserError
from workbench.runs import create
from workbench.sockets import plugins
from workbench.specs import TrainSpec, read_flat
from workbench.stages import Encoded
from workbench.text import verbatim
from workbench.workspace import Workspace, source_folder

STARTER = source_folder() / "models" / "SmolLM2-135M-Instruct"
ANSWERS = ("Hello 🙂!", "Line one\n\nline two.")
CHAT = [("user", "Hi 你好"), ("assistant", ANSWERS[0]), ("user", "And  now?"), ("assistant", ANSWERS[1])]


def sample(*turns: tuple[Role, str]) -> Sample:
    return Sample([Turn(role, content) for role, content in turns])


WHOLE = Sample([Turn(role, content) for role, content in CHAT])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def starter() -> Any:
    """The starter model's own tokenizer, which ./start.sh and ./test.sh make."""
    assert (STARTER / "tokenizer.json").is_file(), "run ./test.sh once: it makes the starter model"
    return load_tokenizer(STARTER, False)


@pytest.fixture
def tokenizer(starter: Any) -> Iterator[Any]:
    """The same with its own template, whatever a test does to it."""
    own = starter.chat_template
    yield starter
    starter.chat_template = own


@pytest.fixture
def desk(workspace: Workspace) -> Iterator[Desk]:
    run = create(workspace, read_flat(TrainSpec, {**GOOD, "output_dir": "mine"}).unwrap())
    log = EventLog(run.events)
    yield Desk(run, log, False)
    log.close()


def notes(desk: Desk) -> list[str]:
    return [str(one.event.message) for one in tail(desk.run.events, 0)[0] if isinstance(one.event, Note)]


def encoded(desk: Desk, tokenizer: Any, samples: Sequence[Sample], **more: Any) -> list[Encoded]:
    spec = read_flat(TrainSpec, {**GOOD, **more}).unwrap()
    use_template(tokenizer, spec.model.template)
    return encode_samples(spec, plugins(stages)["sft"], tokenizer, samples, desk)


def learned(tokenizer: Any, row: Encoded) -> str:
    """The text of the tokens that are learned."""
    assert len(row.labels) == len(row.input_ids)
    kept = [token for token, label in zip(row.input_ids, row.labels, strict=True) if label != -100]
    assert kept == [label for label in row.labels if label != -100]
    return str(tokenizer.decode(kept))


# Templates


def test_auto_and_every_file_and_alias_are_templates() -> None:
    assert check_template("auto") == "auto"
    assert len(template_names()) >= 20
    for name in template_names():
        assert check_template(name) == name
        for alias in template_facts()[name].get("aliases", []):
            assert check_template(alias) == name
    with pytest.raises(UserError, match="No chat template named 'qwne'. Accepted: auto, ") as caught:
        check_template("qwne")
    assert caught.value.problems[0].key == "template"


def test_a_model_without_a_template_needs_a_named_one(tokenizer: Any) -> None:
    tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template of its own"):
        use_template(tokenizer, "auto")
    use_template(tokenizer, "qwen")
    assert "endgeneration" in tokenizer.chat_template


def test_a_template_that_rewrites_earlier_turns_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ loop.revindex }}{{ m.content }}{% endfor %}"
    with pytest.raises(UserError, match="rewrites earlier turns") as caught:
        render_with_answers(tokenizer, WHOLE.messages())
    assert caught.value.problems[0].key == "template"


@pytest.mark.parametrize("name", ["auto", *template_names()])
def test_the_answers_with_their_end_are_learned_and_nothing_else(name: str, tokenizer: Any, desk: Desk) -> None:
    (row,) = encoded(desk, tokenizer, [WHOLE], template=name)
    text, spans = render_with_answers(tokenizer, WHOLE.messages())
    ids, places = to_tokens(tokenizer, text)
    assert list(row.input_ids) == ids
    assert tokenizer.decode(ids) == text
    facts = template_facts().get(name, {})
    lead = f"{facts.get('no_thought', '')}{facts.get('lead', '')}"
    for (start, _), answer in zip(spans, ANSWERS, strict=True):
        assert text[start:].startswith(lead + answer)
    across = 0
    for label, (left, right) in zip(row.labels, places, strict=True):
        inside = any(start <= left and right <= end for start, end in spans)
        outside = all(right <= start or end <= left for start, end in spans)
        across += not inside and not outside
        assert label != -100 or not inside, text[left:right]
        assert label == -100 or not outside, text[left:right]
    if "<|im_start|>user" in text:
        assert across == 0, "the marks of this template are tokens of this model"
        assert learned(tokenizer, row) == "".join(text[start:end] for start, end in spans)


def test_on_the_starters_own_template_an_answer_ends_with_its_end_of_turn(tokenizer: Any, desk: Desk) -> None:
    (row,) = encoded(desk, tokenizer, [WHOLE])
    assert learned(tokenizer, row) == "Hello 🙂!<|im_end|>Line one\n\nline two.<|im_end|>"
    assert tokenizer.decode(row.input_ids).startswith("<|im_start|>system\nYou are a helpful AI assistant")
    assert row.input_ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 5, "no begin token is added twice"
    (other,) = encoded(desk, tokenizer, [sample(("system", "Be brief."), ("user", "Q"), ("assistant", "A"))])
    assert tokenizer.decode(other.input_ids).startswith("<|im_start|>system\nBe brief.<|im_end|>")
    assert learned(tokenizer, other) == "A<|im_end|>"


def test_the_answer_begins_where_the_model_is_asked(tokenizer: Any, desk: Desk) -> None:
    for name in ("auto", "qwen", "alpaca"):
        (row,) = encoded(desk, tokenizer, [sample(("user", "Q"), ("assistant", "A"))], template=name)
        asked = to_tokens(tokenizer, render(tokenizer, [{"role": "user", "content": "Q"}], ask=True))[0]
        first = next(place for place, label in enumerate(row.labels) if label != -100)
        assert list(row.input_ids[:first]) == asked


def test_the_prompt_may_be_learned_too(tokenizer: Any, desk: Desk) -> None:
    (row,) = encoded(desk, tokenizer, [WHOLE], train_on_prompt=True)
    assert learned(tokenizer, row) == tokenizer.decode(row.input_ids).rstrip("\n")


def test_only_the_last_answer_may_be_learned(tokenizer: Any, desk: Desk) -> None:
    (row,) = encoded(desk, tokenizer, [WHOLE], mask_history=True)
    assert learned(tokenizer, row) == "Line one\n\nline two.<|im_end|>"


def test_stop_tokens_are_single_tokens_that_the_model_knows(tokenizer: Any) -> None:
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert stop_tokens(tokenizer, "auto") == sorted({end, tokenizer.eos_token_id})
    for name in template_names():
        assert tokenizer.unk_token_id not in stop_tokens(tokenizer, name)
        assert tokenizer.eos_token_id in stop_tokens(tokenizer, name)


def test_the_padding_token_of_a_tokenizer_without_one(tmp_path: Path, tiny_model: Path) -> None:
    assert load_tokenizer(tiny_model, False).pad_token is not None


# Cutting off


def lengths(rows: Sequence[Encoded]) -> list[int]:
    return [len(row.input_ids) for row in rows]


def test_a_long_conversation_loses_whole_turns_from_its_end(tokenizer: Any, desk: Desk) -> None:
    turns: list[tuple[Role, str]] = [("system", "S")]
    for at in range(6):
        turns += [("user", f"Question {at}?"), ("assistant", f"Answer {at}.")]
    (whole,) = encoded(desk, tokenizer, [sample(*turns)], cutoff_len=1024)
    for kept in range(1, 7):
        (wanted,) = encoded(desk, tokenizer, [sample(*turns[: 1 + 2 * kept])], cutoff_len=1024)
        (row,) = encoded(desk, tokenizer, [sample(*turns)], cutoff_len=len(wanted.input_ids))
        assert row == wanted
        assert learned(tokenizer, row) == "".join(f"Answer {at}.<|im_end|>" for at in range(kept))
    assert len(whole.input_ids) > 16
    assert [note for note in notes(desk) if "lost their last turns" in note][0].startswith(
        "1 conversations are longer than"
    )


def test_a_lone_answer_is_cut_and_told(tokenizer: Any, desk: Desk) -> None:
    short, long = sample(("user", "Q"), ("assistant", "A")), sample(("user", "Q"), ("assistant", "word " * 100))
    rows = encoded(desk, tokenizer, [short, long], cutoff_len=64)
    assert lengths(rows)[1] == 64
    assert not learned(tokenizer, rows[1]).endswith("<|im_end|>")
    assert notes(desk) == [
        "1 answers are longer than 64 tokens and were cut, so their end is not learned. Raise 'Cutoff length'."
    ]


def test_a_row_whose_answer_is_cut_away_is_left_out_and_told(tokenizer: Any, desk: Desk) -> None:
    short, lost = sample(("user", "Q"), ("assistant", "A")), sample(("user", "word " * 200), ("assistant", "A"))
    rows = encoded(desk, tokenizer, [short, lost, short], cutoff_len=64)
    assert len(rows) == 2
    assert notes(desk) == ["1 rows are left out: within 64 tokens nothing of their answers is left."]
    with pytest.raises(UserError, match="nothing is left to learn in any row") as caught:
        encoded(desk, tokenizer, [lost, lost], cutoff_len=64)
    assert caught.value.problems[0].key == "cutoff_len"


def test_one_row_is_enough(tokenizer: Any, desk: Desk) -> None:
    assert len(encoded(desk, tokenizer, [sample(("user", "Q"), ("assistant", "A"))], cutoff_len=64)) == 1


def test_rows_left_out_are_told_few_by_few_and_printed_all(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    write_excluded(desk, [verbatim(f"row {row}") for row in range(1, 26)])
    assert notes(desk) == [
        *(f"row {row}" for row in range(1, 11)),
        "15 more rows are left out for such reasons; worker.log lists every one.",
    ]
    assert capsys.readouterr().out.splitlines() == [f"row {row}" for row in range(1, 26)]
