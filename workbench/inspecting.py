"""The process that looks at datasets for a page: checks, mended files, statistics, tokens. Knows no page and no run.

``python -m workbench.inspecting ROOT``. Requests come in as lines of JSON, answers go out so; see ``workbench.inspector``.
"""

import json
import os
import select
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench import stages
from workbench.chats import ChatOptions, stop_tokens, use_template
from workbench.chats.encoding import Encoder, Fitted, lacks_thought, lacks_tools
from workbench.checks import Context
from workbench.data.checkup import check_set, write_mended
from workbench.data.counting import counting
from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.registry import check_new, register, seen_columns
from workbench.data.samples import Read, count_set, read_set, settled
from workbench.data.statistics import collect
from workbench.fields import read_value, section_knobs
from workbench.formats import Sample
from workbench.models import load_tokenizer, local_folder
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import TrainSpec
from workbench.stages import UNTRAINED, StageSpec
from workbench.text import Message, Text
from workbench.workspace import Workspace

IDLE_S = 600
NO_CUTOFF = 1 << 40
Told = Callable[[float, int], None]


class Say:
    no_model = Text(
        "The model '{given}' is not on this machine yet. Train with it once, or choose a local one, to see tokens."
    )
    no_row = Text("Row {given} does not exist: the set has {rows} rows. Choose one from 1 to {rows}.")
    not_a_sample = Text("Row {row} is left out, so no model sees it: {reason}")
    no_thought = Text(
        "The chat template does not write the thought of this answer, so it is not learned. Choose a named template to "
        "keep it."
    )
    no_tools = Text(
        "The chat template does not write the tools on offer, so the model learns without them. Choose a named template to "
        "keep them."
    )
    no_end = Text("No end-of-turn token is learned in this row, so the model will not learn where to stop.")
    cut = Text("The row has {tokens} tokens and is cut after {cutoff}. What is behind that is not learned.")
    shortened = Text(
        "More than {cutoff} tokens: the last turns are left out, so that {kept} of {tokens} tokens are kept."
    )
    forgot = Text("More than {cutoff} tokens: the first {turns} messages are left out and not shown here.")
    nothing_left = Text("Within {cutoff} tokens nothing is left to learn, so the whole row is left out.")
    better = Text("The better answer")
    worse = Text("The worse answer")
    other_shape = Text("Row {row} is no conversation for stage '{stage}', so it is not learned there.")


class Looks:
    """Answers requests about one workspace; keeps the last tokenizer, which takes a second to load."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._tokenizer: tuple[str, Any, str | None] | None = None
        """The model's folder, its tokenizer, and the chat template that came with it."""

    def answer(self, request: Mapping[str, Any], told: Told) -> Any:
        """The result of one request."""
        known = {"check": self._check, "mend": self._mend, "statistics": self._statistics, "tokens": self._tokens}
        return known[request["do"]](request, told)

    def _entry(self, request: Mapping[str, Any]) -> Entry:
        catalogue = read_catalogue(self._workspace, request.get("dataset_dir") or "data")
        return chosen_entries(catalogue, [request["dataset"]])[0]

    def _chats(self, request: Mapping[str, Any]) -> tuple[Any, ChatOptions]:
        """The model's tokenizer with the chosen template, and what is chosen beside it."""
        given = request.get("model") or ""
        folder = local_folder(self._workspace, given)
        if folder is None:
            raise UserError(Say.no_model(given=given), key="model_name_or_path")
        if self._tokenizer is None or self._tokenizer[0] != str(folder):
            loaded = load_tokenizer(folder, False)
            self._tokenizer = (str(folder), loaded, loaded.chat_template)
        _, tokenizer, own_template = self._tokenizer
        tokenizer.chat_template = own_template
        use_template(tokenizer, request.get("template") or "auto")
        options = ChatOptions(
            None if request.get("enable_thinking", True) else False, request.get("default_system") or ""
        )
        return tokenizer, options

    def _encoder(self, request: Mapping[str, Any], cutoff_len: int) -> Encoder:
        return Encoder(*self._chats(request), *_stage(request), cutoff_len)

    def _check(self, request: Mapping[str, Any], told: Told) -> Any:
        cutoff = int(request.get("cutoff_len") or 0)
        context = Context()
        if request.get("model") and cutoff:
            tokenizer, options = self._chats(request)
            context = counting(tokenizer, cutoff, options)
        report = check_set(
            self._entry(request),
            context,
            request.get("values") or {},
            None,
            self._held(request),
            lambda rows, share: told(share, rows),
        )
        return report.to_json()

    def _held(self, request: Mapping[str, Any]) -> Iterator[Read]:
        """The rows of the validation sets, which a check compares with."""
        for name in request.get("validation") or ():
            yield from read_set(self._entry({**request, "dataset": name}), request.get("values") or {})

    def _mend(self, request: Mapping[str, Any], told: Told) -> Any:
        """A new set with the accepted mends; its placeholders stay as they are."""
        entry, name = self._entry(request), request["name"]
        accepted = request["accepted"]
        chosen = accepted if accepted == "all" else _marks(accepted)
        dataset_dir = request.get("dataset_dir") or "data"
        check_new(self._workspace, name, dataset_dir)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "mended.jsonl"
            refused = _marks(request.get("refused") or ())
            written = write_mended(entry, out, chosen, validation=self._held(request), refused=refused)
            entry, seen = settled(entry)[0], seen_columns(out)
            layout = entry.layout
            columns = {ours: theirs for ours, theirs in layout.columns.items() if not theirs or theirs in seen}
            described = (entry.format, columns, layout.tags, layout.ranking)
            register(self._workspace, out, name, *described, dataset_dir, num_samples=entry.num_samples)
        return {**vars(written), "name": name}

    def _statistics(self, request: Mapping[str, Any], told: Told) -> Any:
        entry, encoder = self._entry(request), self._encoder(request, NO_CUTOFF)
        values = request.get("values") or {}
        total = count_set(entry, values, None, encoder.stage.SHAPES).samples

        def counted() -> Iterator[tuple[Sample, int, int]]:
            samples = (read.sample for read in read_set(entry, values) if read.sample is not None)
            for done, sample in enumerate(samples, 1):
                if sample.shape in encoder.stage.SHAPES:
                    yield (sample, *encoder.measure(sample))
                if done % 200 == 0:
                    told(min(1.0, done / max(1, total)), done)

        return collect(counted(), int(request.get("cutoff_len") or 1024), int(request.get("batch_size") or 1)).to_json()

    def _tokens(self, request: Mapping[str, Any], told: Told) -> Any:
        entry, number = self._entry(request), int(request.get("row") or 1)
        cutoff = int(request.get("cutoff_len") or NO_CUTOFF)
        values = request.get("values") or {}
        read, rows = _nth(read_set(entry, values), number)
        if read is None:
            raise UserError(Say.no_row(given=number, rows=f"{rows:,}"))
        count = count_set(entry, values, None)
        rows = count.samples + count.excluded
        template = request.get("template") or "auto"
        seen = self._seen(read, self._encoder(request, cutoff), template)
        return {"row": number, "rows": rows, "exact": count.exact, "template_used": template, **seen}

    def _seen(self, read: Read, encoder: Encoder, template: str) -> dict[str, Any]:
        """One row as the model sees it, token by token: a block for each text that the stage makes of it."""
        if read.sample is None:
            raise UserError(Say.not_a_sample(row=read.number, reason=read.reasons[0]))
        if read.sample.shape not in encoder.stage.SHAPES:
            raise UserError(Say.other_shape(row=read.number, stage=encoder.spec.stage))
        fitted, special = encoder.fitted(read.sample), _special(encoder.tokenizer)
        ends = set(stop_tokens(encoder.tokenizer, template))
        warnings = [said for one in fitted for said in _lost(one, encoder.cutoff_len)]
        if any(lacks_thought(one.script, one.written, encoder.options) for one in fitted):
            warnings.append(Say.no_thought())
        if any(lacks_tools(one.script, one.written) for one in fitted):
            warnings.append(Say.no_tools())
        if not all(one.encoded.num_trained for one in fitted):
            warnings.append(Say.nothing_left(cutoff=f"{encoder.cutoff_len:,}"))
        elif not all(ends.intersection(one.encoded.labels) for one in fitted):
            warnings.append(Say.no_end())
        titles = [Say.better(), Say.worse()] if read.sample.shape == "preference" else [None] * len(fitted)
        return {
            "blocks": [_block(one, title, special) for one, title in zip(fitted, titles, strict=True)],
            "warnings": [warning.to_json() for warning in warnings],
        }


def _nth(reads: Iterator[Read], number: int) -> tuple[Read | None, int]:
    """The row of that number and the number; none of them, and how many rows there are, when there are fewer."""
    count = 0
    for count, read in enumerate(reads, 1):
        if count == number:
            return read, count
    return None, count


def _stage(request: Mapping[str, Any]) -> tuple[Any, StageSpec]:
    """The stage's module and its section, with those of its fields that the request names; UserError for wrong ones."""
    knobs, known = TrainSpec.knobs(), plugins(stages)
    name = request.get("stage") or knobs["stage"].default
    if name not in known:
        raise UserError(knobs["stage"].invalid(name))
    section = known[name].Spec
    own = {knob.key: knob for knob in section_knobs(section, "stage", name)}
    given = {key: read_value(knob, request[key]) for key, knob in own.items() if key in request}
    try:
        spec: StageSpec = section(**given)
    except ValidationError as error:
        raise UserError(*(own[str(one["loc"][0])].invalid(one["input"]) for one in error.errors())) from None
    if wrong := spec.problems():
        raise UserError(*wrong)
    return known[name], spec


def _marks(pairs: Iterable[Sequence[Any]]) -> set[tuple[int, str]]:
    """Mends as they travel: a row's number and the name of a check."""
    return {(int(row), str(check)) for row, check in pairs}


def _block(fitted: Fitted, title: Message | None, special: set[int]) -> dict[str, Any]:
    """One text: of each token its number, its words, whether it is learned and whether it is special; how many are kept."""
    whole = fitted.whole
    texts = token_texts(fitted.written.text, fitted.tokens.offsets)
    tokens = [
        [token, words, label != UNTRAINED, token in special]
        for token, words, label in zip(whole.input_ids, texts, whole.labels, strict=True)
    ]
    return {"tokens": tokens, "kept": fitted.kept, "title": title and title.to_json()}


def _lost(fitted: Fitted, cutoff_len: int) -> Iterator[Message]:
    """What the cutoff takes from a text."""
    told = {"tokens": f"{len(fitted.tokens.ids):,}", "cutoff": f"{cutoff_len:,}"}
    if fitted.forgot:
        yield Say.forgot(turns=fitted.forgot, cutoff=told["cutoff"])
    if fitted.cut == "turns":
        yield Say.shortened(kept=f"{fitted.kept:,}", **told)
    elif fitted.cut:
        yield Say.cut(**told)


def _special(tokenizer: Any) -> set[int]:
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}


def token_texts(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """What each token stands for in the text; of several tokens that share a character the first has it."""
    texts, last = [], (-1, -1)
    for start, end in offsets:
        texts.append("" if (start, end) == last else text[start:end])
        last = (start, end)
    return texts


def serve(root: Path) -> None:
    """Answer requests until the other side goes or asks nothing for ten minutes."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    looks = Looks(Workspace(root))

    def say(what: Mapping[str, Any]) -> None:
        out.write(json.dumps(what, ensure_ascii=False) + "\n")
        out.flush()

    for line in lines():
        try:
            say({"result": looks.answer(json.loads(line), lambda done, rows: say({"done": done, "rows": rows}))})
        except UserError as error:
            say({"problems": [(problem.message.to_json(), problem.key) for problem in error.problems]})


def lines() -> Iterator[str]:
    """Requests from the standard input, while they come."""
    while sys.platform == "win32" or select.select([sys.stdin], [], [], IDLE_S)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        yield line


if __name__ == "__main__":
    from workbench import inspecting  # under its own name, by which its words are translated

    inspecting.serve(Path(sys.argv[1]))
