"""Answers by way of another server's /v1/completions, asked with token ids. Knows no process and no engine by name."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workbench.engines import Answer, Chance, Finish, Piece, Row, Sampling, Scored
from workbench.neighbours.wire import Gone, Wire
from workbench.neighbours.words import Words

COMPLETIONS = "/v1/completions"
NEUTRAL = Sampling()
EXTRAS = ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "ignore_eos")
"""Sent only where they change something: not every server knows them all."""
AT_ONCE = 16
"""Rows that are asked for at the same time; the server puts them together."""
TOKEN = "token_id:"  # noqa: S105 - the number of a token


def settings(sampling: Sampling, room: int) -> dict[str, Any]:
    """The part of a request that says how to draw, under the names of OpenAI and of vLLM."""
    asked: dict[str, Any] = {
        "max_tokens": room,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    values = vars(sampling)
    asked |= {name: values[name] for name in EXTRAS if values[name] != vars(NEUTRAL)[name]}
    if sampling.seed is not None:
        asked["seed"] = sampling.seed
    if sampling.logit_bias:
        asked["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if sampling.json_schema is not None:
        shape = {"name": "answer", "schema": sampling.json_schema}
        kind = {"type": "json_schema", "json_schema": shape} if sampling.json_schema else {"type": "json_object"}
        asked["response_format"] = kind
    return asked


class Completions:
    """Answers of one server that holds our model."""

    def __init__(self, wire: Wire, tokenizer: Any, lead: str, stop_ids: Sequence[int]) -> None:
        self._wire, self._lead, self._stop_ids = wire, lead, list(stop_ids)
        self._words = Words(tokenizer)

    def pieces(
        self,
        who: Mapping[str, Any],
        ids: Sequence[int],
        sampling: Sampling,
        room: int,
        gone: Callable[[], bool],
    ) -> Iterator[Piece]:
        """The answer piece by piece. ``who``: the fields that say which model answers."""
        asked = {**who, "prompt": list(ids), **settings(sampling, room), "stop_token_ids": self._stop_ids}
        if sampling.logprobs is not None:
            asked |= {"logprobs": sampling.logprobs, "return_tokens_as_token_ids": True}
        answer, count, finish = Answer(sampling.stop, self._lead), 0, "stop"
        told: Mapping[str, Any] = {}
        try:
            for event in self._wire.events(COMPLETIONS, asked, gone):
                told = event.get("usage") or told
                for choice in event["choices"]:
                    count += bool(choice["text"])
                    finish = choice.get("finish_reason") or finish
                    text, chances = answer.add(choice["text"]), self._chances(choice.get("logprobs"), sampling.logprobs or 0)
                    if text or chances:
                        yield Piece(text, chances=chances)
                if answer.stopped:
                    finish = "stop"
                    break
        except Gone:
            finish = "cancelled"
        ended: Finish = "cancelled" if finish == "cancelled" else "length" if finish == "length" else "stop"
        yield Piece(answer.rest(), ended, len(ids), int(told.get("completion_tokens") or count))

    def scored(self, who: Mapping[str, Any], rows: Sequence[Row], likeliest: int | None) -> list[Scored]:
        """How likely the rows' tokens are, by vLLM's ``prompt_logprobs``."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda row: self._scored(who, row[0], row[1], likeliest), rows))

    def _scored(self, who: Mapping[str, Any], ids: Sequence[int], index: int, likeliest: int | None) -> Scored:
        asked = {**who, "prompt": list(ids), "max_tokens": 1, "temperature": 0, "prompt_logprobs": likeliest or 0}
        told = self._wire.post(COMPLETIONS, asked)["choices"][0]["prompt_logprobs"]
        chances, greedy = list[Chance](), list[bool]()
        for token, likely in zip(ids[index:], told[index:], strict=True):
            own = (likely or {}).get(str(token), {"logprob": math.nan, "rank": 0})
            others = sorted((likely or {}).items(), key=lambda one: one[1]["rank"])[: likeliest or 0]
            greedy.append(own["rank"] == 1)
            chances.append(self._one(token, own["logprob"], [self._one(int(one), rest["logprob"]) for one, rest in others]))
        return Scored([chance.logprob for chance in chances], greedy, () if likeliest is None else chances)

    def _one(self, token: int, logprob: float, others: Sequence[Chance] = ()) -> Chance:
        return Chance(token, self._words.bytes_of(token), logprob, others)

    def _chances(self, told: Mapping[str, Any] | None, asked: int) -> list[Chance]:
        if not told or not told.get("tokens"):
            return []
        rows = zip(told["tokens"], told["token_logprobs"], told.get("top_logprobs") or [{}] * len(told["tokens"]), strict=True)
        return [self._chance(token, chance, (others or {}), asked) for token, chance, others in rows]

    def _chance(self, token: str, chance: float, others: Mapping[str, float], asked: int) -> Chance:
        number = int(token.removeprefix(TOKEN))
        likeliest = sorted(others.items(), key=lambda one: -one[1])[:asked]
        return Chance(number, self._words.bytes_of(number), chance, [self._chance(one, told, {}, 0) for one, told in likeliest])
