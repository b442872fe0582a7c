"""Evaluations that do not go smoothly: stopped, gone on with, rows that can't be asked, benchmarks that fail. The echo answers."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.test_evaluate import begun, read
from workbench import suite
from workbench.chats import Refused
from workbench.chats.encoding import Encoder
from workbench.desk import Desk, StopAsked
from workbench.engines import BASE, Chat, Frame, Piece, Prompt, Sampling, TooLong, echo
from workbench.evaluating import telling
from workbench.evaluating.ledger import Ledger
from workbench.evaluating.records import ANSWERS, RESULTS, SAMPLES, Answer, Kept, Loss, Question, write_whole
from workbench.evaluating.results import samples_of, summary
from workbench.evaluating.section import EvaluatingSection
from workbench.events import EventLog
from workbench.examining.flight import NobodyWaits, fly, hear
from workbench.formats import Sample
from workbench.jobs import evaluate
from workbench.problems import UserError
from workbench.text import ENGLISH, Text, verbatim
from workbench.workspace import Workspace

ROWS = 12
Streaming = Callable[[Prompt, Callable[[], Iterator[Piece]], Callable[[], bool]], Iterator[Piece]]
GREEDY = Sampling(8, 0.0)


class Say:
    wrong = Text("Wrong in itself.")


def streaming(patch: pytest.MonkeyPatch, told: Streaming) -> None:
    """Let the echo's answers come otherwise: told the question, the echo's own pieces, and whether nobody waits."""
    stream = echo.Echo.stream

    def other(
        self: echo.Echo, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]
    ) -> Iterator[Piece]:
        return told(prompt, lambda: stream(self, model, prompt, sampling, gone), gone)

    patch.setattr(echo.Echo, "stream", other)


def words(prompt: Prompt) -> str:
    return echo.last_words(prompt)


def again(desk: Desk) -> Desk:
    """The desk of the worker that goes on."""
    desk.run.stop_file.unlink(missing_ok=True)
    return Desk(desk.run, EventLog(desk.run.events), True)


def notes(desk: Desk) -> list[str]:
    return [str(note.message) for note in desk.run.view().notes]


def lay(workspace: Workspace, rows: Sequence[dict[str, str]], **entry: Any) -> None:
    (workspace.data / "plain.json").write_text(json.dumps(rows), "utf-8")
    (workspace.data / "dataset_info.json").write_text(json.dumps({"plain": {"file_name": "plain.json", **entry}}), "utf-8")


# Stop and resume


@pytest.mark.slow
def test_stopped_midway_and_resumed_is_as_never_stopped(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_spec, whole = begun(workspace, max_samples=ROWS, output_dir="whole")
    evaluate.run(whole_spec, whole)
    spec, desk = begun(workspace, max_samples=ROWS, output_dir="stopped")
    turn, asked = threading.Lock(), list[str]()

    def slow(prompt: Prompt, pieces: Callable[[], Iterator[Piece]], gone: Callable[[], bool]) -> Iterator[Piece]:
        with turn:
            asked.append(words(prompt))
            number = len(asked)
        if number == 4:
            while len(asked) < ROWS:  # all are in flight before it is stopped
                time.sleep(0.001)
            desk.run.stop_file.touch()
        yield from pieces() if number <= 4 else ()
        if number > 4:
            yield Piece("half of an ans")
            while not gone():
                time.sleep(0.001)
            yield from pieces()

    with monkeypatch.context() as patch, pytest.raises(StopAsked):
        streaming(patch, slow)
        evaluate.run(spec, desk)
    assert len(asked) == ROWS, "all were in flight"
    held = Ledger(desk.run.folder / ANSWERS).read()
    assert 1 <= len(held) <= 4 and {one["finish"] for one in held} == {"stop"}
    evaluate.run(spec, again(desk))
    for name in (SAMPLES, "generated_predictions.jsonl"):
        assert (desk.run.folder / name).read_bytes() == (whole.run.folder / name).read_bytes()
    assert any(f"{len(held)} answers and 0 losses are kept from before" in note for note in notes(desk))
    found, wanted = read(desk.run, RESULTS), read(whole.run, RESULTS)
    assert wanted["seconds"]["base"] > 0 and found == {**wanted, "seconds": {}}
    assert "predict_samples_per_second" in read(whole.run, "predict_results.json")
    assert set(read(whole.run, "predict_results.json")) - set(read(desk.run, "predict_results.json")) == {
        "predict_runtime", "predict_samples_per_second",
    }  # fmt: skip


def test_what_one_question_ends_on_gives_up_the_others() -> None:
    given_up, kept, started = list[int](), list[int](), threading.Barrier(3)

    def ask(item: int, gone: Callable[[], bool]) -> None:
        started.wait(10)
        if item == 1:
            raise UserError(Say.wrong())
        while not gone():
            time.sleep(0.001)
        given_up.append(item)

    with pytest.raises(UserError, match="Wrong in itself"):
        fly([0, 1, 2], ask, kept.append)
    assert (sorted(given_up), kept) == ([0, 2], [])


class Breaking(echo.Echo):
    """Ends its answers as it is told."""

    finish: Any = "cancelled"

    def stream(self, model: str, prompt: Prompt, sampling: Sampling, gone: Callable[[], bool]) -> Iterator[Piece]:
        return iter([Piece("half of an"), Piece(" answer", self.finish, 1, 2)])


def test_half_an_answer_is_none() -> None:
    engine, prompt = Breaking((BASE,), 0.0), Chat([{"role": "user", "content": "q"}])
    with pytest.raises(UserError, match="broke off an answer"):
        hear(engine, BASE, prompt, GREEDY, lambda: False)
    for finish in ("stop", "cancelled"):
        engine.finish = finish
        with pytest.raises(NobodyWaits):
            hear(engine, BASE, prompt, GREEDY, lambda: True)
    engine.finish = "length"
    heard = hear(engine, BASE, prompt, GREEDY, lambda: False)
    assert (heard.text, heard.finish, heard.tokens) == ("half of an answer", "length", 2)


# Rows


@pytest.mark.slow
def test_rows_that_can_not_be_asked_are_told_and_not_scored(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refusing(prompt: Prompt, pieces: Callable[[], Iterator[Piece]], gone: Callable[[], bool]) -> Iterator[Piece]:
        asked.append(words(prompt))
        if words(prompt) == "How much is 0 and 3?":
            raise TooLong(verbatim("It is too long."), key="messages")
        if words(prompt) == "How much is 1 and 1?":
            raise UserError(verbatim("The template refuses it."), key="messages")
        return pieces()

    streaming(monkeypatch, refusing)
    spec, desk = begun(workspace, max_samples=ROWS, own_checks=["contains How"])
    evaluate.run(spec, desk)
    held = read(desk.run, RESULTS)
    assert (held["samples"], held["unanswered"]) == (ROWS, {"base": 2})
    assert (held["metrics"]["contains How"]["base"]["mean"], held["metrics"]["contains How"]["base"]["count"]) == (1.0, ROWS - 2)
    lines = [json.loads(line) for line in (desk.run.folder / SAMPLES).read_bytes().splitlines()]
    lost = {one["row"]: one["base"] for one in lines if one["base"]["finish"] == "unanswered"}
    assert set(lost) == {4, 7} and all(set(one["scores"].values()) == {None} for one in lost.values())
    assert "'plain', row 4 has no answer of base and is not scored: It is too long." in notes(desk)
    assert "'plain', row 7 has no answer of base and is not scored: The template refuses it." in notes(desk)
    assert len((desk.run.folder / "generated_predictions.jsonl").read_bytes().splitlines()) == ROWS
    assert len(notes(desk)) == 2, "nothing is said of slow checks"
    told = list(telling.lines(desk.run.folder, ENGLISH))
    assert any(line.startswith("2 of them have no answer of base") for line in told)
    assert any(line.startswith("loss, mean over rows") and "[" in line for line in told)
    asked.clear()
    evaluate.run(spec, again(desk))
    assert asked == [] and read(desk.run, RESULTS)["unanswered"] == {"base": 2}
    assert sum("has no answer" in note for note in notes(desk)) == 4, "a worker that goes on tells it anew"


def test_what_is_not_the_rows_fault_ends_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(prompt: Prompt, pieces: Callable[[], Iterator[Piece]], gone: Callable[[], bool]) -> Iterator[Piece]:
        raise UserError(Say.wrong(), key="remote_url")

    streaming(monkeypatch, failing)
    spec, desk = begun(workspace, max_samples=3)
    with pytest.raises(UserError, match="Wrong in itself"):
        evaluate.run(spec, desk)
    assert not (desk.run.folder / ANSWERS).exists()


def test_a_row_that_is_chosen_twice_is_asked_once(workspace: Workspace) -> None:
    spec, desk = begun(workspace, dataset="plain,plain", max_samples=3)
    evaluate.run(spec, desk)
    assert read(desk.run, RESULTS)["samples"] == 3
    assert notes(desk) == ["3 rows of 'plain' are chosen more than once. Each is asked once."]
    lay(workspace, [{"instruction": f"q{at}", "output": "a"} for at in range(4)], num_samples=10)
    spec, drawn = begun(workspace, output_dir="drawn")
    evaluate.run(spec, drawn)
    assert read(drawn.run, RESULTS)["samples"] == 4
    assert notes(drawn) == ["6 rows of 'plain' are chosen more than once. Each is asked once."]


def test_rows_without_a_loss_and_cut_ones_are_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "word " * 80
    texts = [("a", "b"), ("a", long), (long, "b"), ("refused", "b")]
    lay(workspace, [{"instruction": question, "output": answer} for question, answer in texts])
    fitted = Encoder.fitted

    def refusing(self: Encoder, sample: Sample) -> Any:
        if sample.turns[0].content == "refused":
            raise Refused(Say.wrong(), "")
        return fitted(self, sample)

    rows: list[int] = []
    score = echo.Echo.score

    def counted(self: echo.Echo, model: str, given: Any, likeliest: int | None = None) -> Any:
        rows.extend(len(ids) for ids, _ in given)
        return score(self, model, given, likeliest)

    monkeypatch.setattr(Encoder, "fitted", refusing)
    monkeypatch.setattr(echo.Echo, "score", counted)
    monkeypatch.setattr(echo.Echo, "frame", lambda self, model: Frame(40, 0, ()))
    spec, desk = begun(workspace, cutoff_len=4096, template="chatml")
    evaluate.run(spec, desk)
    assert len(rows) == 2 and max(rows) == 40, "the context has room for no more"
    assert read(desk.run, RESULTS)["losses"]["base"]["rows"] == 2
    assert notes(desk) == [
        "1 rows are longer than 40 tokens: their loss counts what is within. The first is plain:2.",
        "1 rows have no loss, since the chat template has no place for them. The first is plain:4.",
        "1 rows have no loss: within 40 tokens nothing of their answers is left. The first is plain:3.",
    ]


def test_losses_are_left_out_where_they_are_not_wanted(workspace: Workspace) -> None:
    spec, desk = begun(workspace, max_samples=3, measure_loss=False)
    numbers = evaluate.run(spec, desk)
    assert read(desk.run, RESULTS)["losses"] == {} and "base loss" not in numbers
    assert numbers["samples"] == 3 and numbers["base rouge-l"] > 0


def test_running_text_without_its_loss_leaves_nothing_to_measure(workspace: Workspace) -> None:
    (workspace.data / "flow.json").write_text(json.dumps([{"text": "one two three"}] * 3), "utf-8")
    info = json.loads((workspace.data / "dataset_info.json").read_text("utf-8"))
    info["flow"] = {"file_name": "flow.json", "columns": {"prompt": "text"}}
    (workspace.data / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    spec, desk = begun(workspace, dataset=["flow"], measure_loss=False)
    with pytest.raises(UserError, match="there is nothing else to measure"):
        evaluate.run(spec, desk)
    spec, desk = begun(workspace, dataset=["flow"])
    assert evaluate.run(spec, desk)["base loss"] > 0


def test_losses_have_an_interval_over_rows(tmp_path: Path) -> None:
    kept = Kept(tmp_path / ANSWERS)
    for row in range(40):
        kept.add(Loss("base", f"s:{row}", 2.0 + row % 4, 1 + row % 3))
    held = summary([], kept, ["base"]).to_json()["losses"]["base"]
    by_row = held["by_row"]
    assert by_row["mean"] == pytest.approx(sum((2.0 + row % 4) / (1 + row % 3) for row in range(40)) / 40)
    assert by_row["low"] < by_row["mean"] < by_row["high"] and held["loss"] != pytest.approx(by_row["mean"], abs=0.1)


# Benchmarks


@pytest.mark.filterwarnings("ignore")  # of lm-eval's own
def test_a_benchmark_that_can_not_be_had_is_told_before_anything_is_asked(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "folder", lambda: tmp_path)
    (tmp_path / "mine.yaml").write_text(
        f"task: mine\ndataset_path: json\ndataset_kwargs: {{data_files: {tmp_path}/none.jsonl}}\ntest_split: train\n"
        "output_type: generate_until\ndoc_to_text: a\ndoc_to_target: b\n"
    )
    spec, desk = begun(workspace, task="mine", max_samples=3)
    with pytest.raises(UserError, match="The data of the benchmark 'mine' can't be had"):
        evaluate.run(spec, desk)
    assert not (desk.run.folder / ANSWERS).exists()


@pytest.mark.filterwarnings("ignore")
def test_a_benchmark_that_fails_leaves_what_was_measured(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(prompt: Prompt, pieces: Callable[[], Iterator[Piece]], gone: Callable[[], bool]) -> Iterator[Piece]:
        if isinstance(prompt, Chat):
            return pieces()
        raise RuntimeError("out of memory")

    spec, desk = begun(workspace, task="everyday_en_following", max_samples=3)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="out of memory"):
        streaming(patch, failing)
        evaluate.run(spec, desk)
    before = read(desk.run, RESULTS)
    assert (before["samples"], before["tasks"]) == (3, {}) and before["losses"]["base"]["rows"] == 3
    numbers = evaluate.run(spec, again(desk))
    after = read(desk.run, RESULTS)
    assert after["metrics"] == before["metrics"] and after["tasks"]["everyday_en_following"]["base"]["count"] == 3
    assert numbers["base everyday_en_following"] == after["tasks"]["everyday_en_following"]["base"]["score"]
    assert "3 answers and 3 losses are kept from before: they are not asked again." in notes(desk)


# Files


@pytest.mark.parametrize("text", ["a\u2028b\u2029c\x85d\x0be\r\nf", "half \ud83d of a pair", "\x00\x1f", "你好 🙂"])
def test_every_text_is_kept_as_it_will_be_read(tmp_path: Path, text: str) -> None:
    kept = Kept(tmp_path / ANSWERS)
    for row in (1, 2):
        kept.add(Answer("base", f"s:{row}", text))
    again = Kept(tmp_path / ANSWERS)
    assert again.answers == kept.answers and len(again.answers) == 2
    assert kept.answers["base", "s:1"].answer == text.replace("\ud83d", "?")
    questions = [Question("s", row, [{"role": "user", "content": text}], text) for row in (1, 2)]
    samples = samples_of(questions, kept, ["base"], EvaluatingSection(metrics=["exact-match"]))
    write_whole(tmp_path / SAMPLES, "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in samples))
    assert (tmp_path / SAMPLES).read_bytes().count(b"\n") == 2


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / ANSWERS)
    assert ledger.add([{"a": 1}, {"a": (1, 2)}]) == [{"a": 1}, {"a": [1, 2]}]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("os.fsync", full)
        ledger.add([{"a": 3}])
    ledger.add([{"a": 4}])
    with (tmp_path / ANSWERS).open("ab") as file:
        file.write(b'{"a": 5')
    assert Ledger(tmp_path / ANSWERS).read() == [{"a": 1}, {"a": [1, 2]}, {"a": 4}]
    assert (tmp_path / ANSWERS).read_bytes().endswith(b'{"a": 4}\n')
