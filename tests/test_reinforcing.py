"""Learning from drawn answers: the formulas of PPO against numbers made by hand, rewards, judges, and batches of questions."""

import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from workbench import stages
from workbench.learning.policy import (
    KlControl,
    Moments,
    PolicySettings,
    advantages_and_returns,
    policy_loss,
    token_rewards,
    value_loss,
    whitened,
)
from workbench.learning.rewards import Answer, allowed, judged, length, mark_in, matching, valid_json
from workbench.learning.rollouts import Repeated, answered, split, until_end
from workbench.learning.scoring import Near, asked_scores, scorer
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import TrainSpec, read_flat
from workbench.stages import Encoded


def tensor(*rows: Sequence[float]) -> Any:
    import torch

    return torch.tensor(rows)


def values(found: Any) -> list[float]:
    flat: list[float] = found.flatten().tolist()
    return flat


def spec_of(stage: str, **more: Any) -> Any:
    return read_flat(TrainSpec, {"stage": stage, **more}).unwrap().stage


# Formulas


def test_advantages_look_ahead() -> None:
    learned = tensor([0.0, 1.0, 1.0, 1.0, 0.0])
    rewards, guessed = tensor([0.0, 0.0, 0.0, 1.0, 0.0]), tensor([0.0, 0.5, 0.4, 0.3, 0.0])
    found, returns = advantages_and_returns(rewards, guessed, learned, PolicySettings(gamma=1.0, smoothing=0.5))
    assert values(found) == pytest.approx([0, 0.025, 0.25, 0.7, 0])
    assert values(returns) == pytest.approx([0, 0.525, 0.65, 1.0, 0])
    found, _ = advantages_and_returns(rewards, guessed, learned, PolicySettings(gamma=0.5, smoothing=0.5))
    second = 0.5 * 0.3 - 0.4 + 0.25 * 0.7
    assert values(found) == pytest.approx([0, 0.5 * 0.4 - 0.5 + 0.25 * second, second, 0.7, 0])


def test_a_step_gains_nothing_beyond_the_clip() -> None:
    old = tensor([-1.0, -1.0, -1.0, -9.0])
    new = old + tensor([math.log(1.5), math.log(0.5), math.log(0.9), 5.0])
    learned = tensor([1.0, 1.0, 1.0, 0.0])
    loss = policy_loss(new, old, tensor([1.0, -1.0, 2.0, 7.0]), learned, 0.2)
    assert loss.item() == pytest.approx(-(1.2 - 0.8 + 1.8) / 3)


def test_a_value_is_judged_by_the_worse_of_two() -> None:
    found = value_loss(tensor([1.0, 0.6]), tensor([0.5, 0.5]), tensor([0.8, 0.9]), tensor([1.0, 1.0]), 0.2)
    assert found.item() == pytest.approx((0.2**2 + 0.3**2) / 2 / 2)


def test_the_score_comes_with_the_last_token_and_distance_costs() -> None:
    import torch

    learned = tensor([0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0])
    logs, reference = tensor([0.0, -1.0, -2.0, 0.0], [-1.0, 0, 0, 0]), tensor([0.0, -1.5, -1.5, 0.0], [-3.0, 0, 0, 0])
    found = token_rewards(torch.tensor([3.0, -1.0]), logs, reference, learned, 0.1)
    assert values(found) == pytest.approx([0, -0.05, 3.05, 0, -1.2, 0, 0, 0])


def test_the_price_of_distance_follows_the_target() -> None:
    control = KlControl(0.2, target=6.0, horizon=10_000)
    control.update(12.0, 8)
    assert control.weight == pytest.approx(0.2 * (1 + 0.2 * 8 / 10_000))
    control.update(5.4, 1000)
    assert control.weight == pytest.approx(0.2 * (1 + 0.2 * 8 / 10_000) * (1 - 0.1 * 0.1))


def test_scores_are_normalised_by_all_so_far() -> None:
    import torch

    moments = Moments()
    assert values(moments.normalised(torch.tensor([1.0, 3.0]))) == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert values(moments.normalised(torch.tensor([5.0]))) == pytest.approx([1.0])
    assert (moments.count, moments.mean, moments.squares) == pytest.approx((3, 3.0, 8.0))


def test_whitening_looks_at_chosen_tokens_alone() -> None:
    found = whitened(tensor([1.0, 3.0, 100.0]), tensor([1.0, 1.0, 0.0]))
    assert values(found)[:2] == pytest.approx([-1.0, 1.0])
    assert values(whitened(tensor([1.0, 3.0]), tensor([1.0, 1.0]), keep_mean=True)) == pytest.approx([1.0, 3.0])


# Questions and answers


def test_each_buffer_of_questions_comes_again_before_the_next() -> None:
    batches = Repeated(5, batch_size=2, buffer=2, times=3, seed=1)
    found = list(batches)
    assert len(found) == len(batches) == 9
    assert found[:2] == found[2:4] == found[4:6] and found[6] == found[7] == found[8]
    assert sorted(place for batch in [*found[:2], found[6]] for place in batch) == [0, 1, 2, 3, 4]
    assert list(batches) == found
    batches.set_epoch(1)
    assert list(batches) != found


def test_an_answer_ends_with_its_end_token() -> None:
    assert until_end([5, 2, 7, 2], [2, 3]) == [5, 2] and until_end([5, 6], [2]) == [5, 6]


def test_questions_and_answers_become_one_batch() -> None:
    batch = answered([[1, 2], [3]], [[4], [5, 6, 7]], pad_id=9)
    assert batch["input_ids"].tolist() == [[1, 2, 4, 9], [3, 5, 6, 7]]
    assert batch["labels"].tolist() == [[-100, -100, 4, -100], [-100, 5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_rows_of_both_stages_begin_with_the_question() -> None:
    encoded = [Encoded([5, 6, 7, 8], [-100, -100, 7, 8])]
    assert split([5, 6], [-100, -100]) == {"prompt": [5, 6], "answer": []}
    assert plugins(stages)["grpo"].columns(None, encoded) == {"prompt": [5, 6], "answer": [7, 8]}
    assert plugins(stages)["ppo"].columns(None, encoded) == {"input_ids": [5, 6]}


# Rewards


def answer(text: str, reference: str = "Seven.", tokens: int = 3) -> Answer:
    return Answer("Which?", text, reference, tokens)


def test_rules_score_answers() -> None:
    rewards = spec_of("grpo", reward_contains=2, reward_regex=0.5, reward_pattern="^S", reward_length=1).rewards()
    assert {name: weight for name, (weight, _) in rewards.items()} == {
        "equals": 1.0, "contains": 2.0, "pattern": 0.5, "length": 1.0
    }  # fmt: skip
    answers = [answer("seven. "), answer("So: Seven."), answer("Eight.")]
    assert rewards["equals"][1](answers) == [1, 0, 0]
    assert rewards["contains"][1](answers) == [1, 1, 0]
    assert rewards["pattern"][1](answers) == [0, 1, 0]
    assert length(4)([answer("", tokens=count) for count in (4, 3, 6, 8, 20)]) == [1, 0.75, 0.5, 0, 0]


def test_json_is_checked_by_its_schema() -> None:
    schema = json.dumps(
        {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 1}}}
    )
    answers = [
        answer(text) for text in ('{"name": "a"}', '```json\n{"name": "a"}\n```', '{"name": ""}', "[1]", "name: a", "")
    ]
    assert valid_json(schema)(answers) == [1, 1, 0.5, 0.5, 0, 0]


@pytest.mark.parametrize(
    ("value", "rules", "right"),
    [
        (3, {"type": "integer", "minimum": 3}, True),
        (3.5, {"type": "integer"}, False),
        (3.0, {"type": "integer"}, True),
        (True, {"type": "number"}, False),
        (None, {"type": ["string", "null"]}, True),
        ([1, "a"], {"items": {"type": "number"}}, False),
        ([1], {"minItems": 2}, False),
        ({"a": 1, "b": 2}, {"properties": {"a": {}}, "additionalProperties": False}, False),
        ("red", {"enum": ["red", "blue"]}, True),
        ("2024-13", {"pattern": r"^\d{4}-\d\d$"}, True),
    ],
)
def test_a_schema_allows_what_it_says(value: Any, rules: Mapping[str, Any], right: bool) -> None:
    assert allowed(value, rules) is right


@pytest.mark.parametrize(
    ("flat", "key", "words"),
    [
        ({"reward_equals": 0}, "reward_equals", "No reward"),
        ({"reward_regex": 1, "reward_pattern": "("}, "reward_pattern", "regular expression"),
        ({"reward_json": 1, "reward_schema": "{"}, "reward_schema", "JSON Schema"),
        ({"reward_json": 1, "reward_schema": '{"oneOf": []}'}, "reward_schema", "oneOf"),
        ({"reward_judge": 1}, "judge_url", "http://"),
        ({"reward_score": 1}, "reward_model", "No reward model"),
        ({"reward_score": 1, "reward_model": "x", "reward_model_type": "api"}, "reward_model", "URL"),
    ],
)
def test_rewards_that_can_not_be_are_told(flat: dict[str, Any], key: str, words: str) -> None:
    (problem,) = spec_of("grpo", **flat).problems()
    assert problem.key == key and words in str(problem.message)
    assert not spec_of("grpo").problems()
    assert [problem.key for problem in spec_of("ppo").problems()] == ["reward_model"]
    assert not spec_of("ppo", reward_model="tiny/lora/judge").problems()


@pytest.mark.parametrize(("said", "mark"), [("7", 0.7), ("Mark: 8.5/10", 0.85), ("12", 1.0), ("none", 0.0)])
def test_a_mark_is_found_in_a_judges_words(said: str, mark: float) -> None:
    assert mark_in(said) == pytest.approx(mark)


# Servers


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    """An address, what was asked there, and what it answers."""
    asked: list[Any] = []
    says: dict[str, Any] = {}

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, body, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(says).encode())

        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    http = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", asked, says
    http.shutdown()
    http.server_close()
    thread.join()


def test_a_judge_is_asked_with_question_and_answers(server: tuple[str, list[Any], dict[str, Any]]) -> None:
    url, asked, says = server
    says["choices"] = [{"message": {"content": "6"}}]
    assert judged(f"{url}/v1", "big", "Be fair.", "secret")([answer("Eight.")]) == [0.6]
    path, body, key = asked[0]
    assert path == "/v1/chat/completions" and body["model"] == "big" and key == "Bearer secret"
    said = body["messages"][0]["content"]
    assert [part in said for part in ("Be fair.", "Which?", "Seven.", "Eight.")] == [True] * 4
    says.clear()
    with pytest.raises(UserError) as failed:
        judged(url, "big", "")([answer("Eight.")])
    assert failed.value.problems[0].key == "judge_url"


def test_a_server_scores_texts(server: tuple[str, list[Any], dict[str, Any]]) -> None:
    url, asked, says = server
    says["scores"] = [0.5, -1]
    assert asked_scores(url, ["a", "b"]) == [0.5, -1.0]
    assert asked[0][1] == {"model": "model", "messages": ["a", "b"]}
    with pytest.raises(UserError) as failed:
        asked_scores(url, ["a", "b", "c"])
    assert failed.value.problems[0].key == "reward_model" and "2 / 3" in str(failed.value)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [(" ", "lora", "No reward model"), ("a run", "lora", "a run"), ("saves/x", "api", "URL")],
)
def test_a_reward_model_that_is_none_is_told(given: str, kind: Any, words: str) -> None:
    with pytest.raises(UserError) as failed:
        scorer(given, kind, Near(None, None, lambda name: None))
    assert failed.value.problems[0].key == "reward_model" and words in str(failed.value)


def test_a_pattern_spans_lines() -> None:
    assert matching("a.*b")([answer("a\nb")]) == [1.0]
