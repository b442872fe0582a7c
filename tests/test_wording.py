"""Times, sizes and figures as people read them."""

import shlex

import pytest

from workbench.events import KINDS, Phase, PhaseName, State
from workbench.wording import PHASES, STATES, command_line, counted, duration, figure, phase_words, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (130, "2 min 10 s"),
        (3599.7, "1 h 0 min"),
        (11_100, "3 h 5 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert str(duration(seconds)) == words


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1500, "2 kB"), (94e6, "94 MB"), (1.44e9, "1.4 GB"), (23.4e9, "23 GB")],
)
def test_size(size_bytes: float, words: str) -> None:
    assert size(size_bytes) == words


def test_bytes_are_told_as_sizes_and_the_rest_is_counted() -> None:
    assert counted(56_623_104, 269_030_016, sized=True) == "57 MB / 269 MB"
    assert counted(1_000, 2_000, sized=False) == "1,000 / 2,000"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0.0000"),
        (0.84234, "0.8423"),
        (12.3456, "12.35"),
        (1234.5, "1,234.50"),
        (2e-4, "2e-4"),
        (3.42e-7, "3.42e-7"),
    ],
)
def test_figure(value: float, words: str) -> None:
    assert figure(value) == words


def test_a_command_is_quoted_as_its_terminal_wants_it() -> None:
    words = ["app.py", "train", "output_dir=my run", "watch_prompts=Who's there?", "run_name="]
    assert shlex.split(command_line(words, windows=False)) == words
    said = command_line(words, windows=True)
    assert said == 'app.py train "output_dir=my run" "watch_prompts=Who\'s there?" run_name='


def test_every_phase_and_state_has_words() -> None:
    assert KINDS["phase"] is Phase
    assert set(PHASES) == set(PhaseName.__args__)  # type: ignore[attr-defined]
    assert set(STATES) == set(State.__args__)  # type: ignore[attr-defined]
    assert str(phase_words("data")) == "preparing the data"
    assert str(phase_words("of a later version")) == "of a later version"
