"""How likely given tokens are: every engine that says so keeps the same promises; the transformers engine says what is so."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model

from tests.test_engines import ENGINES, never, open_engine, write_adapter
from tests.tiny import CONTEXT, SPECIAL, START, write_model
from workbench.engines import BASE, Engine, Frame, Raw, Row, Sampling, Scored, TooLong, frame_of
from workbench.engines.transformers import scoring
from workbench.engines.transformers.scoring import batches, readings
from workbench.models import load_model, load_tokenizer
from workbench.workspace import Workspace

DRAW = torch.Generator().manual_seed(5)
TEXTS = [torch.randint(3, 300, (length,), generator=DRAW).tolist() for length in (2, 9, 9, 40, 77, 130)]
ROWS: list[Row] = [(ids, max(1, len(ids) - 5)) for ids in TEXTS] + [(ids, 1) for ids in TEXTS]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home = Workspace(tmp_path_factory.mktemp("scoring"))
    write_adapter(write_model(home.models / "tiny"), home.saves / "tiny" / "lora" / "first", 3)
    return home


@pytest.fixture(scope="module")
def opened(home: Workspace) -> Iterator[dict[str, Engine]]:
    adapter = "saves/tiny/lora/first"
    found = {name: open_engine(home, infer_backend=name, adapter_name_or_path=adapter) for name in ENGINES}
    yield found
    for engine in found.values():
        engine.close()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, opened: dict[str, Engine]) -> Engine:
    return opened[request.param]


def plain(home: Workspace, model: str) -> Any:
    """The model itself, with nothing of the engine around it."""
    base = load_model(home.models / "tiny", "fp32", False)
    return base if model == BASE else PeftModel.from_pretrained(base, str(home.saves / "tiny" / "lora" / model))


def expected(model: Any, row: Row) -> tuple[list[float], list[bool]]:
    """The row alone in one pass."""
    ids, index = row
    with torch.no_grad():
        told = model(input_ids=torch.tensor([list(ids)])).logits[0, index - 1 : -1].log_softmax(-1)
    mine = torch.tensor(ids[index:])
    return told[range(len(mine)), mine].tolist(), (told.argmax(-1) == mine).tolist()


def values(scored: Sequence[Scored]) -> list[float]:
    return [one for row in scored for one in row.logprobs]


def test_a_result_for_every_token_from_the_index_on(engine: Engine) -> None:
    assert "score" not in engine.lacks
    scored = engine.score(BASE, ROWS)
    assert [len(row.logprobs) for row in scored] == [len(ids) - index for ids, index in ROWS]
    assert [len(row.greedy) for row in scored] == [len(row.logprobs) for row in scored]
    assert all(-200 < one < 0 for one in values(scored))
    assert not any(row.chances for row in scored)
    assert engine.score(BASE, []) == []


def test_the_same_rows_get_the_same_scores_alone_and_together(engine: Engine) -> None:
    for model in engine.models:
        together = engine.score(model, ROWS)
        alone = [engine.score(model, [row])[0] for row in ROWS]
        assert values(together) == pytest.approx(values(alone), abs=1e-5)
        assert [row.greedy for row in together] == [row.greedy for row in alone]


def test_chances_are_of_the_same_tokens_with_the_likeliest_beside_them(engine: Engine) -> None:
    ids = list(TEXTS[1])
    (scored,) = engine.score(BASE, [(ids, 0)], likeliest=2)
    assert [chance.token for chance in scored.chances] == ids
    assert math.isnan(scored.logprobs[0]) and not scored.greedy[0] and not scored.chances[0].others
    for chance, logprob, greedy in list(zip(scored.chances, scored.logprobs, scored.greedy, strict=True))[1:]:
        assert chance.logprob == pytest.approx(logprob)
        assert len(chance.others) == 2
        assert chance.others[0].logprob >= chance.others[1].logprob
        assert greedy == (chance.logprob >= chance.others[0].logprob)
    (few,) = engine.score(BASE, [(ids[:1], 0)], likeliest=0)
    assert [math.isnan(one) for one in few.logprobs] == [True]


def test_what_is_likeliest_is_what_is_said(opened: dict[str, Engine]) -> None:
    engine, ids = opened["transformers"], list(TEXTS[3])
    told = engine.stream("first", Raw(ids), Sampling(6, 0, logprobs=0, ignore_eos=True), never)
    said = [chance for piece in told for chance in piece.chances]
    (scored,) = engine.score("first", [([*ids, *(chance.token for chance in said)], len(ids))])
    assert list(scored.greedy) == [True] * 6
    assert scored.logprobs == pytest.approx([chance.logprob for chance in said], abs=1e-5)


@pytest.mark.parametrize("model", [BASE, "first"])
def test_scores_are_those_of_a_plain_pass(opened: dict[str, Engine], home: Workspace, model: str) -> None:
    own = plain(home, model)
    for row, scored in zip(ROWS, opened["transformers"].score(model, ROWS), strict=True):
        logprobs, greedy = expected(own, row)
        assert scored.logprobs == pytest.approx(logprobs, abs=1e-5)
        assert scored.greedy == greedy


def test_each_model_scores_for_itself(opened: dict[str, Engine]) -> None:
    engine = opened["transformers"]
    base, first, again = (values(engine.score(model, ROWS)) for model in (BASE, "first", BASE))
    assert base == again
    assert max(abs(one - other) for one, other in zip(base, first, strict=True)) > 0.1


@pytest.mark.parametrize(("tokens", "logits"), [(1, 2**25), (64, 2**25), (1024, 1), (1024, 3000)])
def test_in_however_many_parts_the_scores_are_the_same(
    opened: dict[str, Engine], monkeypatch: pytest.MonkeyPatch, tokens: int, logits: int
) -> None:
    whole = opened["transformers"].score(BASE, ROWS, likeliest=1)
    monkeypatch.setattr(scoring, "MOST_TOKENS", {"cpu": tokens})
    monkeypatch.setattr(scoring, "MOST_LOGITS", logits)
    parts = opened["transformers"].score(BASE, ROWS, likeliest=1)
    assert values(parts) == pytest.approx(values(whole), abs=1e-5)
    assert [row.greedy for row in parts] == [row.greedy for row in whole]
    assert [chance.token for row in parts for chance in row.chances] == [chance.token for row in whole for chance in row.chances]


def test_rows_that_differ_by_their_last_token_are_read_once() -> None:
    rows: list[Row] = [([1, 2, 3, last], 3) for last in range(4)] + [([1, 2, 3, 9], 1), ([5, 6], 1)]
    found = readings(rows)
    assert [(reading.ids, reading.rows) for reading in found] == [((5,), [5]), ((1, 2, 3), [0, 1, 2, 3, 4])]
    assert [len(batch) for batch in batches(found, 6)] == [2]
    assert [len(batch) for batch in batches(found, 5)] == [1, 1]


def test_a_row_that_the_context_has_no_room_for_is_refused(opened: dict[str, Engine]) -> None:
    engine = opened["transformers"]
    assert engine.frame(BASE).context == CONTEXT
    (scored,) = engine.score(BASE, [([5] * (CONTEXT + 1), CONTEXT)])
    assert len(scored.logprobs) == 1
    with pytest.raises(TooLong, match=f"up to {CONTEXT + 1}"):
        engine.score(BASE, [([5] * (CONTEXT + 2), 1)])


@pytest.mark.parametrize("kind", [PrefixTuningConfig, PromptTuningConfig])
def test_a_learned_prompt_stands_before_every_row(home: Workspace, tmp_path: Path, kind: Any) -> None:
    torch.manual_seed(1)
    base = load_model(home.models / "tiny", "fp32", False)
    tuned = get_peft_model(base, kind(task_type="CAUSAL_LM", num_virtual_tokens=5)).eval()
    folder = home.saves / "tiny" / kind.__name__ / "learned"
    tuned.save_pretrained(str(folder), save_embedding_layers=False)
    engine = open_engine(home, adapter_name_or_path=str(folder))
    assert engine.frame("learned").context == CONTEXT - 5
    for (ids, index), scored in zip(ROWS, engine.score("learned", ROWS), strict=True):
        with torch.no_grad():
            told = tuned(input_ids=torch.tensor([list(ids)])).logits[0, -len(ids) :].log_softmax(-1)
        mine = told[range(index - 1, len(ids) - 1), torch.tensor(ids[index:])]
        assert scored.logprobs == pytest.approx(mine.tolist(), abs=1e-5)
    assert values(engine.score(BASE, ROWS)) != values(engine.score("learned", ROWS))
    engine.close()


def test_the_frame_says_what_stands_before_a_text(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model, False)
    assert frame_of(tokenizer, 9) == Frame(9, SPECIAL.index(START), [])

    class Dressing:
        bos_token_id, eos_token_id = None, 2

        def __call__(self, text: str, add_special_tokens: bool = True, verbose: bool = True) -> dict[str, list[int]]:
            return {"input_ids": [7, 8, 30, 31, 2] if add_special_tokens else [30, 31]}

    assert frame_of(Dressing(), 9) == Frame(9, 2, [7, 8])
