"""Answers are marked alike here and in a process beside this one, which ends with it."""

import psutil
import pytest

from workbench import metrics
from workbench.evaluating.marking import LEAST, beside, mark
from workbench.sockets import plugin_names

PAIRS = [
    ("the cat sat", "the cat sat down"),
    ("", "said"),
    ("said", ""),
    ("你好，世界", "你好世界"),
    ("half \ud83d \u2028🙂", "half 🙂"),
    ('{"a": 1}', '{"a": 2}'),
]


@pytest.mark.slow
def test_a_process_beside_gives_the_same_marks_and_ends() -> None:
    names = plugin_names(metrics)
    with beside(names, LEAST) as marking:
        (child,) = [one for one in psutil.Process().children() if "workbench.evaluating.marking" in one.cmdline()]
        assert marking is not mark
        assert marking(names, PAIRS) == mark(names, PAIRS)
        assert marking(names[:1], PAIRS[:1]) == mark(names[:1], PAIRS[:1])
        assert marking(names, []) == []
    assert not child.is_running()


def test_for_a_few_questions_there_is_no_process() -> None:
    with beside(["rouge_l"], LEAST - 1) as marking:
        assert marking is mark
    with beside([], 100 * LEAST) as marking:
        assert marking is mark


def test_where_the_process_is_gone_answers_are_marked_here_and_the_log_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with beside(["exact_match"], LEAST) as marking:
        (child,) = [one for one in psutil.Process().children() if "workbench.evaluating.marking" in one.cmdline()]
        child.kill()
        child.wait()
        assert marking(["exact_match"], PAIRS) == mark(["exact_match"], PAIRS)
    assert "marked here" in capsys.readouterr().out
