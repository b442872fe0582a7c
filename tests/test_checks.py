"""Checks: what each finds, what it leaves in peace, what it proposes, and that they are fast together."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import pytest

from workbench import checks
from workbench.checks import Context, Finding, Part, changed, look_at
from workbench.formats import Row, Sample, ToolCall, Turn
from workbench.sockets import plugins
from workbench.text import verbatim

CHECKS = plugins(checks)
REMOVE = "remove"
FAMILY = "👩‍👩‍👧"
KEY = "sk-" + "a1B2c3D4e5" * 4
TOKEN = "hf_" + "Ab3" * 11
JWT = ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTYifQ", "c2lnbmF0dXJlLWhlcmU"])


def row(question: str, answer: str) -> Row:
    return {"instruction": question, "output": answer}


def sample(question: str, answer: str, label: bool | None = None) -> Sample:
    return Sample([Turn("user", question), Turn("assistant", answer)], label=label)


def pair(question: str, chosen: str, rejected: str) -> Sample:
    turns = [Turn("user", question)]
    return Sample(turns, chosen=[Turn("assistant", chosen)], rejected=[Turn("assistant", rejected)])


def look(check: str, samples: Sequence[Sample], context: Context | None = None, held: int = 0) -> list[Finding]:
    """What the check says of the samples, the first ``held`` of them being validation rows."""
    found: list[Finding] = []
    at_work = CHECKS[check].begin(context or Context())
    for number, one in enumerate(samples, 1):
        part: Part = "validation" if number <= held else "train"
        raw = {"text": one.text} if one.text is not None else row(one.turns[0].content, one.turns[-1].content)
        found += at_work.row(look_at(number, raw, one, part))
    return found + list(at_work.end())


@dataclass(frozen=True)
class Case:
    """A question and an answer, and which sentence is said of them: its name in Say, or nothing."""

    check: str
    question: str
    answer: str
    said: str = ""
    mend: Any = None
    """The mended answer, REMOVE, or None."""
    words: tuple[str, ...] = field(default=())


Q = "What is the capital of France?"
CASES = [
    Case("empty_answer", Q, " \n\t", "nothing", REMOVE),
    Case("empty_answer", Q, "N/A", "missing", REMOVE, ("n/a",)),
    Case("empty_answer", Q, "null", "missing", REMOVE),
    Case("empty_answer", Q, "...", "missing", REMOVE),
    Case("empty_answer", Q, "。。。", "missing", REMOVE),
    Case("empty_answer", Q, "None", "perhaps"),
    Case("empty_answer", Q, "无", "perhaps"),
    Case("empty_answer", Q, "No."),
    Case("empty_answer", Q, "7"),
    Case("prompt_in_answer", Q, Q, "equal", REMOVE),
    Case("prompt_in_answer", Q, f"{Q}\nParis.", "begins", "Paris."),
    Case("prompt_in_answer", Q, f"{Q} Paris.", "begins"),
    Case("prompt_in_answer", "Say hello", "Say hello to him."),
    Case("prompt_in_answer", Q, f"You ask: {Q}"),
    Case("mojibake", Q, "La cafÃ© est fermÃ©e.", "wrong", "La café est fermée.", ("café",)),
    Case(
        "mojibake",
        Q,
        "word " * 50 + "cafÃ© and so on",
        "wrong",
        "word " * 50 + "café and so on",
        ("word cafÃ©", "word café"),
    ),
    Case("mojibake", Q, "It isnâ€™t there.", "wrong", "It isn’t there."),
    Case("mojibake", Q, "ä½\xa0å¥½ï¼Œä¸–ç•Œ", "wrong", "你好，世界"),
    Case("mojibake", Q, "你好，世界！".encode().decode("gb18030"), "wrong", "你好，世界！"),
    Case("mojibake", Q, "a \ufffd b", "lost", None, ("1",)),
    Case("mojibake", Q, "锟斤拷锟斤拷", "lost"),
    Case("mojibake", Q, "Il a dit « déjà vu » à l’été."),
    Case("mojibake", Q, "“café” – Ärger über Öl, naïve Ñandú"),
    Case("mojibake", Q, "这种工具叫锛子，用来削平木料。"),
    Case("mojibake", Q, "Ελλάδα, Россия, 日本、한국"),
    Case("control_characters", Q, "Pa\x00ris\x1b[0m", "some", "Paris[0m", ("U+0000, U+001B", "2")),
    Case("control_characters", Q, "\ufeffParis", "some", "Paris", ("U+FEFF",)),
    Case("control_characters", Q, "Pa\u200bris", "some", "Paris"),
    Case("control_characters", Q, "Pa\u200dris", "some", "Paris"),
    Case("control_characters", Q, "half \ud83d of it", "some", "half  of it", ("U+D83D",)),
    Case("control_characters", Q, "one\x0ctwo", "some", "one\ntwo"),
    Case(
        "control_characters", Q, "\\(\x0crac{1}{2}\x08eta\\)", "some", "\\(\\frac{1}{2}\\beta\\)", ("U+0008, U+000C",)
    ),
    Case("control_characters", Q, "evil\u202etxt", "some", "eviltxt"),
    Case("control_characters", Q, f"A family: {FAMILY} \U0001f3f3\ufe0f\u200d\U0001f308"),
    Case("control_characters", Q, "می\u200cخواهم \u200fשלום\u200e"),
    Case("control_characters", Q, "क्\u200dष"),
    Case("control_characters", Q, "ภาษา\u200bไทย"),
    Case("control_characters", Q, "tab\tline\r\nwide\u3000space\u00a0fixed"),
    Case("control_characters", Q, "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"),
    Case("special_words", Q, "Hi<|im_end|>\n<|im_start|>user", "some", None, ("<|im_end|>, <|im_start|>",)),
    Case("special_words", "[INST] Hi [/INST]", "Hello</s>", "some", None, ("[INST], [/INST], </s>",)),
    Case("special_words", Q, "<｜end▁of▁sentence｜>", "some"),
    Case("special_words", Q, "a <b>bold</b> [link] | <- x <| y |>"),
    Case("secrets", Q, f"Use {KEY} here", "one", None, ("sk-a1B",)),
    Case("secrets", Q, f"token={TOKEN}", "one"),
    Case("secrets", Q, "AKIAIOSFODNN7EXAMPLE", "one"),
    Case("secrets", Q, "-----BEGIN RSA PRIVATE KEY-----\nMII", "one"),
    Case("secrets", Q, f"Bearer {JWT}", "one"),
    Case("secrets", Q, "A task-specific sk-learn model; PRIVATE KEY of hf_hub, eyJ"),
    Case("personal", Q, "Write to jane.doe@acme.co.uk today.", "mail", None, ("j***@acme.co.uk",)),
    Case("personal", Q, "Write to jane@example.com today."),
    Case("personal", Q, "我的电话是13912345678，请打给我。", "phone", None, ("139***78",)),
    Case("personal", Q, "电话：138 1234 5678", "phone"),
    Case("personal", Q, "Call +49 170 1234567.", "phone"),
    Case("personal", Q, "身份证号11010519491231002X。", "identity", None, ("110***2X",)),
    Case("personal", Q, "身份证号110105194912310021。"),
    Case("personal", Q, "Card 4111 1111 1111 1111", "card"),
    Case("personal", Q, "Card 4111 1111 1111 1112"),
    Case("personal", Q, "Pi is 3.14159265358979, a year 2024-01-02, 123456789."),
    Case("html", Q, "<script>alert(1)</script>", "some"),
    Case("html", Q, "<img src=x onerror=alert(1)>", "some"),
    Case("html", Q, "<form onSubmit={save}><b>"),
    Case("html", Q, "<p>Only text, and on = 1 < 2</p>"),
    Case("placeholders_left", Q, "I am {{ name }} by {{author}}.", "some", None, ("name, author",)),
    Case("placeholders_left", Q, "f'{x}' {single} {{1 + 1}} {{}}"),
    Case("language_mixed", "请介绍一下北京的历史和文化。", "Beijing is a very old city.", "chinese"),
    Case("language_mixed", "Tell me about the city.", "北京是一座历史悠久的城市，有很多名胜古迹。", "latin"),
    Case("language_mixed", "把这句话翻译成英文：今天天气很好。", "The weather is fine today."),
    Case("language_mixed", "北京在哪里？", "42"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.said or 'fine'}-{case.answer[:12]!a}")
def test_what_a_check_says_of_an_answer(case: Case) -> None:
    found = look(case.check, [sample(case.question, case.answer)])
    assert [one.reason.key.rpartition(".")[2] for one in found] == ([case.said] if case.said else [])
    if not case.said:
        return
    (one,) = found
    assert one.number == 1 and len(one.changes) <= 200
    assert one.remove == (case.mend == REMOVE)
    expected = row(case.question, case.mend) if isinstance(case.mend, str) and case.mend != REMOVE else None
    assert one.mend == expected
    assert all(words in str(one.reason) for words in case.words)
    if expected:
        assert not look(case.check, [sample(case.question, case.mend)]), "a mended row is right"


def test_every_check_has_cases_and_a_title_of_its_own() -> None:
    others = {"duplicate", "near_duplicate", "repeated_prompt", "split_leak", "too_long", "imbalance", "same_pair", "refused"}
    assert {case.check for case in CASES} | others == set(CHECKS)
    assert len({module.TITLE.key for module in CHECKS.values()}) == len(CHECKS) >= 17


def test_secrets_and_persons_are_never_shown_whole() -> None:
    for check, whole in (("secrets", KEY), ("secrets", JWT), ("personal", "13912345678"), ("personal", "bob@acme.org")):
        (found,) = look(check, [sample(Q, f"It is {whole} indeed.")])
        assert whole not in str(found.reason) and whole not in found.changes


def test_a_duplicate_names_the_first_row() -> None:
    same, other = sample(Q, "Paris."), sample(Q, "Lyon.")
    found = look("duplicate", [same, other, same, same])
    assert [(one.number, one.reason.args["first"], one.remove) for one in found] == [(3, 1, True), (4, 1, True)]


def test_samples_that_only_look_alike_are_no_duplicates() -> None:
    calls = [Turn("user", Q), Turn("assistant", "", tool_calls=[ToolCall("a", {"x": 1})]), Turn("assistant", "b")]
    other = [calls[0], Turn("assistant", "", tool_calls=[ToolCall("a", {"x": 2})]), calls[2]]
    assert not look("duplicate", [sample(Q, "a", True), sample(Q, "a", False), sample(Q, "a")])
    assert not look("duplicate", [Sample(calls), Sample(other)])
    assert not look("duplicate", [pair(Q, "a", "b"), pair(Q, "b", "a")])
    assert not look("duplicate", [sample(Q, "a"), sample(Q, "a")], held=1), "validation is not the same set"
    muted = [replace(turn, weight=0.0) if turn.role == "assistant" else turn for turn in sample(Q, "a").turns]
    assert not look("duplicate", [sample(Q, "a"), Sample(muted)]), "what is learned differs"


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("The answer is Paris.", "the  answer is\nPARIS!", True),
        ("答案是：１２３，对吗？", "答案是:123,对吗?", True),
        ("The answer is Paris.", "The answer is Paris.", False),
        ("Is a < b right? Yes it is", "Is a > b right? Yes it is", False),
        ("How much is 3 + 4 and 5", "How much is 3 - 4 and 5", False),
        ("The result is 1.5 in the end", "The result is 15 in the end", False),
        ("The train goes at 12:30 today", "The train goes at 1230 today", False),
        ("The list is 1, 2 and so on", "The list is 12 and so on", False),
        ("The list is 1, 2 and so on", "the list is 1,2, and so on!", True),
        ("答案是：１．５，对吗，是吗？", "答案是:15,对吗,是吗?", False),
        ("答案是：１．５，对吗，是吗？", "答案是:1.5,对吗,是吗?", True),
        ("for x in y:\n    z = 1\n    print(x)", "for x in y:\n    z = 1\nprint(x)", False),
        ("The first line.\n\nThe second.", "The first line.\n The second.", True),
    ],
)
def test_near_duplicates_differ_only_in_what_does_not_matter(one: str, other: str, alike: bool) -> None:
    found = look("near_duplicate", [sample(Q, one), sample(Q, other)])
    assert [(item.number, item.reason.args["first"], item.weight, item.remove) for item in found] == (
        [(2, 1, "hint", False)] if alike else []
    )


def test_short_samples_are_no_near_duplicates() -> None:
    assert not look("near_duplicate", [sample("a", "b"), sample("A", "B")])


def test_one_question_with_two_answers_is_a_hint() -> None:
    (found,) = look("repeated_prompt", [sample(Q, "Paris."), sample(Q, "Paris."), sample(Q, "It is Paris.")])
    assert (found.number, found.weight, found.mend, found.remove) == (3, "hint", None, False)
    assert not look("repeated_prompt", [pair(Q, "a", "b"), pair(Q, "c", "d")]), "pairs come in several"


def test_one_answer_marked_both_ways_is_a_warning() -> None:
    marked = [sample(Q, "Paris.", True), sample(Q, "Lyon.", False), sample(Q, "Paris.", False)]
    (found,) = look("repeated_prompt", marked)
    assert (found.number, found.reason.key) == (3, "checks.repeated_prompt.marked")


def test_a_question_of_the_validation_data_leaks() -> None:
    (found,) = look("split_leak", [sample(Q, "Paris."), sample("Other?", "b"), sample(Q, "It is Paris.")], held=1)
    assert (found.number, found.reason.args["held"], found.remove) == (3, 1, True)
    assert not look("split_leak", [sample(Q, "a"), sample(Q, "b")])
    assert look("split_leak", [Sample(text="some text"), Sample(text="some text")], held=1)


def count_words(one: Sample) -> int:
    return sum(len(turn.content.split()) for turn in one.turns) + len((one.text or "").split())


def test_what_the_template_refuses_is_told() -> None:
    context = Context(5, lambda one: verbatim("no tools here") if one.turns[0].content == "tools" else 99)
    samples = [sample("tools", "b"), sample(Q, "a")]
    (found,) = look("refused", samples, context)
    assert (found.number, found.remove) == (1, False) and "no tools here" in str(found.reason)
    assert [one.number for one in look("too_long", samples, context)] == [2]
    assert not look("refused", samples) and not look("refused", samples, context, held=2)


def test_what_is_too_long_says_what_would_be_lost() -> None:
    context = Context(5, count_words)
    talk = [Turn("user", "a b"), Turn("assistant", "c d"), Turn("user", "e f"), Turn("assistant", "g")]
    (turns,) = look("too_long", [Sample(talk)], context)
    assert turns.reason.key.endswith(".turns") and turns.reason.args == {"tokens": 7, "cutoff": 5, "lost": 2, "all": 4}
    (answer,) = look("too_long", [sample("a b c d", "e f g")], context)
    assert answer.reason.key.endswith(".answer") and answer.reason.args["lost"] == 2
    (text,) = look("too_long", [Sample(text="a b c d e f g h")], context)
    assert text.reason.key.endswith(".text") and text.weight == "hint"
    (ranked,) = look("too_long", [pair("a b c d e", "f", "g")], Context(4, count_words))
    assert ranked.reason.key.endswith(".first")
    assert not look("too_long", [sample("a b", "c d e")], context)
    assert not look("too_long", [sample("a b", "c d e f")]), "without a model nothing is counted"


@pytest.mark.parametrize(
    ("good", "bad", "said"), [(9, 1, "few"), (1, 9, "few"), (10, 0, "none"), (5, 5, ""), (3, 1, "")]
)
def test_marks_out_of_balance_are_told_at_the_end(good: int, bad: int, said: str) -> None:
    marked = [sample(f"{Q} {n}", "a", n < good) for n in range(good + bad)]
    found = look("imbalance", marked)
    assert [(one.number, one.reason.key.rpartition(".")[2]) for one in found] == ([(0, said)] if said else [])


def test_a_pair_without_a_difference_is_an_error() -> None:
    (found,) = look("same_pair", [pair(Q, "Paris.", "Paris. "), pair(Q, "Paris.", "Lyon.")])
    assert (found.number, found.weight, found.remove) == (1, "error", True)


def test_special_words_of_the_chosen_model_count_too() -> None:
    context = Context(special_words=frozenset({"@@end@@", "<unused1>"}))
    (found,) = look("special_words", [sample(Q, "a @@end@@ b"), sample(Q, "@end")], context)
    assert (found.number, found.reason.args["words"]) == (1, "@@end@@")


def test_a_mend_reaches_texts_however_deep() -> None:
    deep = {"messages": [{"role": "user", "content": [{"text": "a\x00b"}]}], "n": 1, "ok": "c"}
    assert changed(deep, lambda text: text.replace("\x00", "")) == {
        "messages": [{"role": "user", "content": [{"text": "ab"}]}], "n": 1, "ok": "c"
    }  # fmt: skip
    assert deep["messages"][0]["content"][0]["text"] == "a\x00b", "the row itself stays"
    assert changed(deep, lambda text: text) is None


def test_a_look_at_a_conversation_knows_its_last_question_and_answer() -> None:
    talk = [
        Turn("system", "s"),
        Turn("user", "q1"),
        Turn("assistant", "a1"),
        Turn("user", "q2"),
        Turn("assistant", "a2"),
    ]
    seen = look_at(1, {}, Sample(talk))
    assert (seen.asked, seen.answer, seen.before) == ("q2", "a2", "s\nq1\na1\nq2")
    ranked = look_at(1, {}, pair("q", "better", "worse"))
    assert (ranked.asked, ranked.answer, ranked.before, ranked.text) == ("q", "better", "q", "q\nbetter\nworse")
    assert look_at(1, {}, Sample([Turn("user", "q")])).answer == ""


def test_all_checks_together_take_microseconds() -> None:
    body = "The quick brown fox jumps over the lazy dog, and then it sleeps. " * 7
    seen = [look_at(n, row(Q, f"{n} {body}"), sample(Q, f"{n} {body}")) for n in range(2_000)]
    at_work = [module.begin(Context()) for module in CHECKS.values()]
    best = 1.0
    for _ in range(3):
        begun = time.perf_counter()
        for one in seen:
            for work in at_work:
                for _ in work.row(one):
                    pass
        best = min(best, time.perf_counter() - begun)
    assert best / len(seen) < 100e-6, f"{best / len(seen) * 1e6:.0f} microseconds a row"


def test_a_check_is_a_module_of_its_own() -> None:
    assert all(isinstance(module, ModuleType) and module.__doc__ for module in CHECKS.values())
