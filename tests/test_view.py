"""What a reader understands of a run: curves that stay small, a resumed run that is told twice, rates and time left."""

import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from workbench.events import (
    Entry,
    Eval,
    Event,
    EventLog,
    Failed,
    Finished,
    Note,
    Phase,
    Ready,
    Sample,
    Saved,
    Started,
    Step,
    Stopped,
    tail,
)
from workbench.text import verbatim
from workbench.view import CURVE_POINTS, Curve, View

EACH_S = 0.5


def folded(events: Iterable[Event], view: View | None = None) -> View:
    return (view or View()).fold(Entry(seq, 1000.0 + seq, event) for seq, event in enumerate(events))


def steps(first: int, last: int, total: int = 100) -> list[Step]:
    return [
        Step(step, total, step / 10, 5 / step, 2e-4, 1.0, tokens=90, padding=10, seconds=EACH_S, memory_bytes=10**9)
        for step in range(first, last + 1)
    ]


def test_nothing_said_yet() -> None:
    view = View()
    assert (view.started, view.ended, view.eval_loss, view.loss.last()) == (None, None, None, None)
    assert (view.tokens_per_second(), view.padding_share(), view.seconds_left()) == (None, None, None)


def test_everything_is_remembered_once() -> None:
    note, saved = Note(verbatim("mind"), "warning"), Saved(3, "checkpoint-3")
    said = [Started(1), Phase("model"), Phase("training"), Phase("training"), *steps(1, 3), Eval(3, 0.7)]
    view = folded([*said, Sample(3, "q", "a"), note, saved, Finished({"loss": 1.0})])
    assert view.started == Started(1)
    assert view.started_at == 1000.0
    assert view.last_at == 1011.0
    assert view.phases == ["model", "training"]
    assert (view.loss.steps, view.learning_rate.steps, view.grad_norm.steps) == ([1, 2, 3],) * 3
    assert (view.eval.steps, view.eval.values, view.eval_loss) == ([3], [0.7], 0.7)
    assert (view.samples, view.notes, view.saved) == ([Sample(3, "q", "a")], [note], [saved])
    assert view.ended == Finished({"loss": 1.0})


def test_the_time_of_a_resumed_run_leaves_out_what_lay_between() -> None:
    said = [(0, 1000.0, Started(1)), (1, 1060.0, Stopped(3)), (2, 5000.0, Started(2, resumed_step=3)), (3, 5030.0, Finished({}))]
    entries = [Entry(seq, time, event) for seq, time, event in said]
    assert View().took_s() is None
    assert View().fold(entries[:2]).took_s() == 60
    assert View().fold(entries).took_s() == 90
    assert View().fold(entries[:3]).took_s(5010.0) == 70
    assert View().fold([*entries[:2], Entry(-1, 0.0, Note(verbatim("damaged"))), *entries[2:]]).took_s() == 90
    assert View().fold(entries[1:]).took_s() is None, "its beginning was not read"


def test_a_step_without_a_loss_makes_no_point() -> None:
    view = folded([Started(1), *steps(1, 2), Step(3, 100)])
    assert view.step.step == 3
    assert view.loss.steps == [1, 2]


def test_rates_and_time_left_come_from_the_last_steps() -> None:
    slow = [Step(step, 100, tokens=1, seconds=9.0) for step in range(1, 31)]
    view = folded([Started(1), *slow, *steps(31, 60)])
    assert view.tokens_per_second() == pytest.approx(90 / EACH_S)
    assert view.padding_share() == pytest.approx(0.1)
    assert view.seconds_left() == pytest.approx(40 * EACH_S)
    sparse = folded([Started(1), *[Step(step, 100, seconds=5.0) for step in (10, 20, 30)]])
    assert sparse.seconds_left() == pytest.approx(70 * 0.5)


def test_a_resumed_run_is_folded_back_to_its_checkpoint() -> None:
    before = [Started(1), Sample(0, "q", "base"), Eval(0, 9.0), *steps(1, 9), Eval(4, 4.0), Sample(4, "q", "four")]
    before += [Saved(4, "checkpoint-4"), Eval(8, 2.0), Sample(8, "q", "eight"), Saved(8, "checkpoint-8")]
    view = folded([*before, Note(verbatim("old")), Phase("saving"), Failed([])])
    folded([Started(2, 4)], view)
    for curve in (view.loss, view.learning_rate, view.grad_norm):
        assert curve.steps == [1, 2, 3, 4]
    assert view.eval.steps == [0, 4]
    assert view.eval_loss == 4.0
    assert [sample.step for sample in view.samples] == [0, 4]
    assert [saved.step for saved in view.saved] == [4]
    assert (view.step.step, view.step.total, view.step.loss) == (4, 100, 5 / 4)
    assert (view.ended, view.notes, view.phase, view.recent) == (None, [], Phase(), [])
    folded([*steps(5, 6), Stopped(6)], view)
    assert view.loss.steps == [1, 2, 3, 4, 5, 6]
    assert view.ended == Stopped(6)


def test_a_run_that_begins_anew_forgets_all_of_it() -> None:
    view = folded(
        [Started(1), Sample(0, "q", "base"), Eval(0, 9.0), *steps(1, 9), Saved(9, "checkpoint-9"), Ready("u")]
    )
    folded([Started(2, 0)], view)
    assert (view.loss.steps, view.samples, view.saved, view.ready) == ([], [], [], None)
    assert view.eval.steps == [0], "what was measured before the first step still holds"
    assert (view.step.step, view.step.loss) == (0, None)


def test_a_curve_keeps_its_shape_within_its_points() -> None:
    curve = Curve()
    for step in range(1, 100_001):
        curve.add(step, float(step))
        assert len(curve.steps) <= CURVE_POINTS
    assert curve.values == [float(step) for step in curve.steps]
    assert curve.steps == sorted(set(curve.steps))
    assert len(curve.steps) >= CURVE_POINTS / 2
    assert curve.steps[-1] >= 100_000 - curve.stride
    gaps = [after - before for before, after in zip(curve.steps, curve.steps[1:], strict=False)]
    assert max(gaps) <= 2 * min(gaps), "points lie evenly over the run"


def test_a_smoothed_curve_begins_at_its_first_value_and_follows() -> None:
    curve = Curve()
    for step in range(1, 200):
        curve.add(step, 4.0 if step < 100 else 2.0)
    smooth = curve.smoothed()
    assert smooth[0] == pytest.approx(4.0)
    assert smooth[98] == pytest.approx(4.0)
    assert 2.0 < smooth[105] < 4.0
    assert smooth[-1] == pytest.approx(2.0, abs=0.01)
    assert Curve().smoothed() == []


def test_a_hundred_thousand_steps_are_folded_in_proportion(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.write(Started(1))
    log.write(steps(1, 1)[0])
    log.close()
    first, line = path.read_bytes().splitlines(keepends=True)
    seconds = []
    for count in (10_000, 100_000):
        path.write_bytes(first + b"".join(line.replace(b'"step": 1', b'"step": %d' % at, 1) for at in range(1, count + 1)))
        began = time.process_time()
        view = View().fold(tail(path, 0)[0])
        seconds.append(time.process_time() - began)
    assert seconds[1] < 30 * seconds[0], "ten times as many steps take about ten times as long, whatever the machine"
    assert view.step.step == 100_000
    for curve in (view.loss, view.learning_rate, view.grad_norm):
        assert CURVE_POINTS / 2 <= len(curve.steps) <= CURVE_POINTS
