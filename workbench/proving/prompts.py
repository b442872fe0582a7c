"""What a proof asks: the person's prompts, else rows that the run held out, else rows it learned, else everyday questions."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest

from workbench import quantising, stages
from workbench.chats.encoding import Encoder, chat_options
from workbench.data.datasets import chosen_entries, read_catalogue
from workbench.desk import Desk
from workbench.engines import Chat
from workbench.evaluating.records import Question
from workbench.examining.divided import Row, divided, drawn
from workbench.exporters import Source
from workbench.exporting.origins import origins
from workbench.problems import UserError
from workbench.sockets import plugins
from workbench.specs import ExportSpec, TrainSpec
from workbench.suite import LOCALES
from workbench.suite import questions as everyday
from workbench.text import Text
from workbench.workspace import Workspace

COUNT = 10
LONGEST = 1024
"""Tokens of a prompt that is asked: a longer one takes its time and shows no more."""
LARGE_BYTES = 50_000_000
"""Sets of that size are not read through for ten of their rows."""


class Say:
    no_rows = Text("The proof asks everyday questions, since no row of the run can be asked: {reason}")
    streamed = Text("it streamed its rows, or learned from tokens in a folder.")
    large = Text("its sets are larger than {size} MB.")


def questions(spec: ExportSpec, source: Source, desk: Desk) -> list[Question]:
    """Up to ten prompts, as many as given where some are; each short enough for a turn of its own."""
    given = [text.strip() for text in spec.exporting.proof_prompts if text.strip()]
    if given:
        return [_plain("given", at, text) for at, text in enumerate(given)]
    tokenizer = source.opening.tokenizer()

    def fits(question: Question) -> bool:
        try:
            chat = Chat(question.messages, question.tools)
            return 0 < len(source.opening.prompt(tokenizer, chat)) <= LONGEST
        except UserError:  # the template has no place for it
            return False

    found = list[Question]()
    for question in chain(_of_runs(source, desk), _everyday()):
        if len(found) < COUNT and fits(question):
            found.append(question)
    return found


def learned_over_few_bits(source: Source) -> bool:
    """Whether the base stood in fewer bits while the adapters learned, and is loaded so again."""
    told = {quantising.asked(recipe.flat()) for recipe in _recipes(source)}
    return len(told) == 1 and told != {None}


def _recipes(source: Source) -> list[TrainSpec]:
    return [one.spec for one in origins(source.trained)]


def _of_runs(source: Source, desk: Desk) -> Iterator[Question]:
    """Rows of every run in turns: held out ones first, then learned ones."""
    found = [_of_run(recipe, source, desk) for recipe in _recipes(source)]
    for kind in range(2):
        for some in zip_longest(*(one[kind] for one in found)):
            yield from (one for one in some if one is not None)


def _of_run(recipe: TrainSpec, source: Source, desk: Desk) -> tuple[list[Question], list[Question]]:
    """Rows that the run held out, and rows that it learned; none, with a word on why, where they can't be told."""
    workspace = desk.run.workspace
    try:
        _check(recipe, workspace)
        stage = plugins(stages)[recipe.stage.stage]
        tokenizer = source.opening.tokenizer()
        encoder = Encoder(tokenizer, chat_options(recipe.model), stage, recipe.stage, recipe.data.cutoff_len)
        rows = divided(workspace, recipe, encoder)
    except UserError as error:
        desk.note(Say.no_rows(reason=error.problems[0].message))
        return [], []
    lot = random.Random(recipe.optim.seed)  # noqa: S311
    return _asked("held", rows.held, lot), _asked("learned", rows.learned, lot)


def _check(recipe: TrainSpec, workspace: Workspace) -> None:
    """UserError where the rows can't be told, or only with much work."""
    data = recipe.data
    if data.streaming or data.tokenized_path:
        raise UserError(Say.streamed())
    entries = chosen_entries(read_catalogue(workspace, data.dataset_dir), [*data.dataset, *data.eval_dataset])
    if sum(file.stat().st_size for entry in entries for file in entry.files()) > LARGE_BYTES:
        raise UserError(Say.large(size=LARGE_BYTES // 1_000_000))


def _asked(kind: str, rows: Sequence[Row], lot: random.Random) -> list[Question]:
    """More than are needed, since some may be too long."""
    chosen = drawn(lot, [row for row in rows if row.question], 5 * COUNT)
    return [replace(row.question, set=kind, row=row.place) for row in chosen if row.question]


def _everyday() -> Iterator[Question]:
    """Questions of each language in turns."""
    pairs = zip(*(everyday(locale) for locale in LOCALES), strict=False)
    for at, text in enumerate(chain.from_iterable(pairs)):
        yield _plain("everyday", at, text)


def _plain(kind: str, at: int, text: str) -> Question:
    return Question(kind, at, [{"role": "user", "content": text}], "")
