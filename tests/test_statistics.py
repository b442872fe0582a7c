"""Statistics: lengths in bins, percentiles, turns, scripts, padding; and that they cross a process as they are."""

import json
import random

import pytest

from workbench.data.statistics import MOST_BINS, Statistics, bin_width, bins, collect, padding, script_of
from workbench.formats import Sample, Turn


def talk(*texts: str) -> Sample:
    return Sample([Turn("user" if place % 2 == 0 else "assistant", text) for place, text in enumerate(texts)])


def of_lengths(*lengths: int, **more: int) -> Statistics:
    return collect(((talk("q", "a"), length, length // 2) for length in lengths), **more)


def test_figures_of_a_few_rows() -> None:
    found = of_lengths(10, 20, 30, 40, cutoff_len=30, batch_size=2)
    assert (found.rows, found.tokens, found.trained, found.trained_share) == (4, 100, 50, 0.5)
    assert found.percentiles == {50: 20, 75: 30, 90: 40, 95: 40, 99: 40, 100: 40}
    assert (found.cutoff_len, found.over) == (30, 1)
    assert found.padding_grouped == pytest.approx(1 - (10 + 20 + 30 + 30) / (20 * 2 + 30 * 2))
    assert found.padding_random >= found.padding_grouped


def test_an_empty_set_has_figures_too() -> None:
    found = collect([], cutoff_len=64, batch_size=4)
    assert (found.rows, found.trained_share, found.lengths, found.padding_random) == (0, 0.0, (), 0.0)


@pytest.mark.parametrize("longest", [0, 1, 39, 40, 41, 100, 1023, 1024, 4095, 5000, 33_000, 131_072, 1_000_000])
def test_bins_hold_every_row_and_are_few(longest: int) -> None:
    lot = random.Random(longest)
    lengths = [longest, *(lot.randint(0, longest) for _ in range(200))]
    found = bins(lengths)
    assert 1 <= len(found) <= MOST_BINS
    assert sum(one.rows for one in found) == len(lengths)
    assert found[0].start == 0 and found[-1].start <= longest < found[-1].end
    assert {one.end - one.start for one in found} == {bin_width(longest)}
    assert all(left.end == right.start for left, right in zip(found, found[1:], strict=False))


def test_padding_at_a_batch_size() -> None:
    assert padding([5, 5, 5], 2) == 0.0
    assert padding([1, 9], 2) == pytest.approx(8 / 18)
    assert padding([1, 9], 1) == 0.0
    assert padding([1, 90], 2, cutoff_len=9) == pytest.approx(8 / 18)


def test_grouping_by_length_pads_less_and_the_lot_is_the_same_each_time() -> None:
    lot = random.Random(1)
    lengths = [int(lot.paretovariate(1.2) * 20) for _ in range(400)]
    one, two = of_lengths(*lengths, batch_size=8), of_lengths(*lengths, batch_size=8)
    assert one == two
    assert one.padding_grouped < 0.2 < one.padding_random < 1


def test_turns_are_answers() -> None:
    pair = Sample([Turn("user", "q")], chosen=[Turn("assistant", "a")], rejected=[Turn("assistant", "b")])
    samples = [talk("q", "a"), talk("q", "a", "q", "a"), talk("q", "a"), pair, Sample(text="words")]
    assert collect((one, 5, 1) for one in samples).turns == {0: 1, 1: 3, 2: 1}


@pytest.mark.parametrize(
    ("words", "script"),
    [
        ("Where is the house?", "latin"),
        ("Où est la maison, s’il vous plaît ?", "latin"),
        ("房子在哪里？", "zh"),
        ("请解释 Python 里的列表推导式是什么意思", "zh"),
        ("この家はどこですか。東京都内です", "ja"),
        ("집이 어디에 있습니까?", "ko"),
        ("Где находится дом?", "cyrillic"),
        ("أين يقع البيت؟", "arabic"),
        ("บ้านอยู่ที่ไหน", "other"),
        ("12 + 30 = 42", "other"),
        ("", "other"),
    ],
)
def test_the_script_of_a_sample(words: str, script: str) -> None:
    assert script_of(talk(words, words)) == script
    assert script_of(Sample(text=words)) == script


def test_statistics_cross_a_process() -> None:
    found = of_lengths(3, 50, 700, cutoff_len=512, batch_size=2)
    assert Statistics.from_json(json.loads(json.dumps(found.to_json()))) == found
