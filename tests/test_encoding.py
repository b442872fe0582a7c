"""Encoding: which tokens are learned, how a row is brought within the cutoff, and what is said of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import write_model
from workbench import stages
from workbench.chats import ChatOptions, use_template
from workbench.chats.encoding import Encoder, Tally
from workbench.data.counting import counting
from workbench.formats import Role, Sample, ToolCall, Turn
from workbench.models import load_tokenizer
from workbench.sockets import plugins
from workbench.stages import UNTRAINED
from workbench.text import Message


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("model") / "tiny"
    write_model(folder)
    return load_tokenizer(folder, False)


def sample(*turns: tuple[Role, str]) -> Sample:
    return Sample([Turn(role, content) for role, content in turns])


def dialogue(exchanges: int, words: str = "word ") -> Sample:
    """Questions and answers, numbered."""
    turns: list[tuple[Role, str]] = []
    for number in range(exchanges):
        turns += [("user", f"{words * 4}{number}?"), ("assistant", f"{words * 3}{number}.")]
    return sample(*turns)


def encoder(tokenizer: Any, cutoff_len: int = 4096, template: str = "chatml", **fields: Any) -> Encoder:
    use_template(tokenizer, template)
    stage = plugins(stages)["sft"]
    return Encoder(tokenizer, ChatOptions(), stage, stage.Spec(**fields), cutoff_len)


def rows(one: Encoder, *samples: Sample) -> list[Any]:
    return list(one.rows(samples))


def learned(tokenizer: Any, row: Any) -> str:
    return str(tokenizer.decode([label for label in row["labels"] if label != UNTRAINED]))


def test_answers_and_their_ends_are_learned(tokenizer: Any) -> None:
    one = encoder(tokenizer)
    (row,) = rows(one, dialogue(2))
    assert learned(tokenizer, row) == "word word word 0.<|im_end|>word word word 1.<|im_end|>"
    assert row["loss_weights"] is None
    assert (one.tally.rows, one.tally.tokens) == (1, len(row["input_ids"]))
    assert one.tally.trained == sum(label != UNTRAINED for label in row["labels"])


def test_everything_or_only_the_last_answer_can_be_learned(tokenizer: Any) -> None:
    (row,) = rows(encoder(tokenizer, mask_history=True), dialogue(2))
    assert learned(tokenizer, row) == "word word word 1.<|im_end|>"
    (row,) = rows(encoder(tokenizer, train_on_prompt=True), dialogue(2))
    assert learned(tokenizer, row).startswith("<|im_start|>user\nword word word word 0?<|im_end|>")
    assert learned(tokenizer, row).endswith("1.<|im_end|>")


def test_an_answer_may_count_more_or_less_or_not_at_all(tokenizer: Any) -> None:
    turns = [Turn("user", "a"), Turn("assistant", "b", weight=0.0), Turn("user", "c"), Turn("assistant", "d", weight=0.5)]
    one = encoder(tokenizer)
    even, odd = rows(one, dialogue(1), Sample(turns))
    assert even["loss_weights"] is None
    assert learned(tokenizer, odd) == "d<|im_end|>"
    weights = [weight for weight, label in zip(odd["loss_weights"], odd["labels"], strict=True) if label != UNTRAINED]
    assert weights == [0.5] * len(weights)
    assert one.tally.weighted


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_whole_turns_go_from_the_end(kept: int, tokenizer: Any) -> None:
    (wanted,) = rows(encoder(tokenizer), dialogue(kept))
    one = encoder(tokenizer, len(wanted["input_ids"]))
    (row,) = rows(one, dialogue(4))
    assert learned(tokenizer, row) == learned(tokenizer, wanted)
    assert len(row["input_ids"]) <= one.cutoff_len
    assert [str(said) for said in one.tally.messages(one.cutoff_len)] == [
        f"1 conversations are longer than {one.cutoff_len} tokens and lost their last turns."
    ]


def test_where_the_last_answer_is_learned_the_first_turns_go(tokenizer: Any) -> None:
    (whole,) = rows(encoder(tokenizer), dialogue(2))
    one = encoder(tokenizer, len(whole["input_ids"]), mask_history=True)
    (row,) = rows(one, Sample([Turn("system", "S"), *dialogue(5).turns]))
    assert learned(tokenizer, row) == "word word word 4.<|im_end|>"
    text = tokenizer.decode(row["input_ids"])
    assert text.startswith("<|im_start|>system\nS<|im_end|>")
    assert "word 0?" not in text
    assert len(row["input_ids"]) <= one.cutoff_len
    assert (one.tally.forgot, one.tally.shortened, one.tally.cut) == (1, 0, 0)


def test_a_lone_answer_is_cut_and_said(tokenizer: Any) -> None:
    one = encoder(tokenizer, 64)
    short, cut, lost = rows(
        one, dialogue(1), sample(("user", "Q"), ("assistant", "A" * 400)), sample(("user", "Q" * 400), ("assistant", "A"))
    )
    assert len(cut["input_ids"]) == 64
    assert "<|im_end|>" not in learned(tokenizer, cut)
    assert short is not None
    assert lost is None
    assert (one.tally.rows, one.tally.cut, one.tally.untrained) == (2, 1, 1)
    assert len(one.tally.messages(64)) == 2


def test_a_row_that_the_template_refuses_is_told_and_the_others_stay(tokenizer: Any) -> None:
    odd = sample(("user", "Q"), ("system", "late"), ("assistant", "A"))
    one = encoder(tokenizer, template="gemma")
    first, refused, last = rows(one, dialogue(1), odd, dialogue(1))
    assert isinstance(refused, Message)
    assert "refuses" in str(refused)
    assert first == last
    assert one.tally.rows == 2


def test_what_the_models_own_template_does_not_write_is_told(tokenizer: Any) -> None:
    own = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    own += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    call = Turn("assistant", "", tool_calls=[ToolCall("look_up", {"word": "a"})])
    tools = [{"type": "function", "function": {"name": "look_up", "description": "", "parameters": {}}}]
    asked, answer = Turn("user", "Q"), Turn("assistant", "A")
    thought = [asked, Turn("assistant", "A", "\nI think so.\n")]
    some = [Sample([asked, call, Turn("tool", "b"), answer], tools), Sample([asked, answer], tools), Sample(thought)]
    one = encoder(tokenizer)
    assert not any(isinstance(row, Message) for row in rows(one, *some)), "the named template writes them all"
    assert one.tally.messages(999) == []
    one.tokenizer.chat_template = own
    called, *others = rows(one, *some)
    assert isinstance(called, Message) and "no place for tool calls: 'look_up'" in str(called)
    assert [learned(tokenizer, row) for row in others] == ["A<|im_end|>"] * 2
    assert (one.tally.no_tools, one.tally.no_thoughts) == (1, 1)
    assert [str(said)[:26] for said in one.tally.messages(999)] == ["1 answers begin with a tho", "1 rows offer tools that th"]
    one.options = ChatOptions(enable_thinking=False)
    rows(one, some[2])
    assert one.tally.no_thoughts == 1, "thoughts were switched off"


def test_of_rows_that_are_refused_the_first_reason_is_kept(tokenizer: Any) -> None:
    odd = sample(("user", "Q"), ("system", "late"), ("assistant", "A"))
    one = encoder(tokenizer, template="gemma")
    assert all(isinstance(row, Message) for row in rows(one, odd, odd))
    assert len(one.tally.refused) == 1 and "refuses" in str(one.tally.refusal)
    whole = Tally()
    whole.add(one.tally)
    assert whole.refusal == one.tally.refusal and Tally().refusal is None


REWRITES = (
    "{% for message in messages %}{{ '<' + message.role + '>' }}"
    "{{ message.content if loop.last or loop.length < 4 else message.content | upper }}{{ eos_token }}{% endfor %}"
)
"""It writes an answer otherwise when a later one comes."""


def test_a_conversation_whose_answers_cannot_be_told_is_refused_and_the_others_stay(tokenizer: Any) -> None:
    one = encoder(tokenizer)
    tokenizer.chat_template = REWRITES
    first, refused, last = rows(one, dialogue(1), dialogue(2), dialogue(1))
    assert isinstance(refused, Message) and "can't be told" in str(refused)
    assert first == last and one.measure(dialogue(2)) == (0, 0)


def test_a_row_is_shown_as_it_is_learned(tokenizer: Any) -> None:
    long = Sample([Turn("system", "S"), *dialogue(5).turns])
    (whole,) = rows(encoder(tokenizer), dialogue(2))
    cases: Sequence[tuple[dict[str, Any], str, int]] = [
        ({}, "turns", 0), ({"mask_history": True}, "", 8), ({"train_on_prompt": True}, "turns", 0)
    ]  # fmt: skip
    for fields, cut, forgot in cases:
        one = encoder(tokenizer, len(whole["input_ids"]), **fields)
        (shown,) = one.fitted(long)
        (row,) = rows(one, long)
        assert (shown.cut, shown.forgot) == (cut, forgot)
        assert (list(shown.encoded.input_ids), list(shown.encoded.labels)) == (list(row["input_ids"]), list(row["labels"]))
        assert shown.kept < one.cutoff_len
    one = encoder(tokenizer, 16)
    (shown,) = one.fitted(sample(("user", "Q"), ("assistant", "A" * 400)))
    assert (shown.cut, shown.kept) == ("middle", 16) and len(shown.whole.input_ids) > 100


def test_counting_takes_the_longest_text_of_any_shape(tokenizer: Any) -> None:
    use_template(tokenizer, "gemma")
    asked, words = [Turn("user", "Q")], "a much longer answer than the other one"
    count = counting(tokenizer, 64, ChatOptions()).num_tokens
    assert count is not None
    pair = Sample(asked, chosen=[Turn("assistant", "A")], rejected=[Turn("assistant", words)])
    assert count(pair) == count(sample(("user", "Q"), ("assistant", words)))
    text = count(Sample(text=words))
    assert isinstance(text, int) and text > 10
    assert isinstance(count(sample(("user", "Q"), ("system", "x"), ("assistant", "A"))), Message)


def test_many_rows_give_what_each_gives_alone(tokenizer: Any) -> None:
    samples: Sequence[Sample] = [dialogue(1 + number % 3, f"w{number} ") for number in range(600)]
    one = encoder(tokenizer)
    together = rows(one, *samples)
    assert together[::97] == [rows(encoder(tokenizer), single)[0] for single in samples[::97]]
    assert one.tally.rows == 600


def test_measuring_cuts_nothing(tokenizer: Any) -> None:
    one = encoder(tokenizer, 16)
    (whole,) = rows(encoder(tokenizer), dialogue(3))
    assert one.measure(dialogue(3)) == (len(whole["input_ids"]), sum(label != UNTRAINED for label in whole["labels"]))
    assert encoder(tokenizer, template="gemma").measure(sample(("user", "Q"), ("system", "x"), ("assistant", "A"))) == (0, 0)


@pytest.mark.parametrize("cutoff", [64, 300])
@pytest.mark.parametrize("words", ["plain words, ", "数据，很长。", "x", " \n\n ", "<|im_end|> and ", "🙂 don't "])
def test_the_beginning_of_a_very_long_row_gives_what_the_whole_would(words: str, cutoff: int, tokenizer: Any) -> None:
    long = sample(("system", "S"), ("user", "Q"), ("assistant", words * 2000))
    use_template(tokenizer, "chatml")
    (row,) = rows(encoder(tokenizer, cutoff), long)
    (whole,) = encoder(tokenizer).whole(long)
    assert list(row["input_ids"]) == list(whole.input_ids)[:cutoff]
    assert list(row["labels"]) == list(whole.labels)[:cutoff]
