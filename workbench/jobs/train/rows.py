"""What a run learns from and is tried on: sets read, turned into tokens, mixed and split. Knows no model's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.chats.encoding import Encoder, Tally
from workbench.data.datasets import Entry, chosen_entries, read_catalogue
from workbench.data.hub_datasets import fetch_dataset
from workbench.data.samples import count_set, of_shape, read_set, told
from workbench.desk import Desk
from workbench.fields import plain
from workbench.jobs.train import kept_tokens
from workbench.jobs.train.cache import TOLD_ROWS, Said, cache_key, forget_unused, kept, write
from workbench.jobs.train.kept_tokens import WEIGHTS
from workbench.plans import chosen_sets, held_places, unfetched
from workbench.problems import UserError
from workbench.specs import TrainSpec
from workbench.text import Text

STOPPING = {
    "interleave_under": "first_exhausted",
    "interleave_over": "all_exhausted",
    "interleave_once": "all_exhausted_without_replacement",
}
"""Our names for when mixing ends, in the words of the datasets library."""


class Say:
    more = Text("{count} more rows are left out or were put right; worker.log lists every one.")
    rows = Text("{train} rows to learn from, {held} held out; {tokens} tokens in all, {trained} of them to be answered.")
    from_cache = Text("Dataset '{name}': the tokens of an earlier run were taken, since nothing has changed.")
    nothing = Text("Within {cutoff} tokens nothing is left to learn in any row. Raise 'Cutoff length'.")
    all_refused = Text("No row can be learned from. The first reason: {reason}")
    from_folder = Text(
        "The rows are the tokens in {folder}; datasets, validation sets, the validation share, 'Max samples', template and "
        "cutoff length are not used."
    )
    to_folder = Text("The tokens are kept in {folder}; the next run with it starts from there.")
    own_validation = Text("Validation rows come from {names}; the validation share is not used.")
    streamed = Text("Rows are read while the run learns: they are not counted beforehand, and none is kept as tokens.")
    left_mix = Text("Dataset '{name}' has no row to learn from, so it is left out of the mix.")
    new_shares = Text("The shares in the mix are now {shares}.")
    no_validation = Text("No row of {names} can be tried, so nothing is held out.")


@dataclass(frozen=True)
class Rows:
    """The rows of one run as datasets of tokens."""

    train: Any
    held: Any | None
    """None when nothing is held out."""


def build_rows(spec: TrainSpec, desk: Desk, encoder: Encoder) -> Rows:
    """Everything that the run learns from, said as it goes; UserError when nothing is left."""
    folder = _token_folder(spec, desk)
    if folder is not None and folder.exists():
        desk.note(Say.from_folder(folder=spec.data.tokenized_path))
        return Rows(*kept_tokens.load(folder, encoder, spec.data.tokenized_path))
    catalogue = read_catalogue(desk.run.workspace, spec.data.dataset_dir)
    entries = chosen_entries(catalogue, spec.data.dataset)
    tried = chosen_entries(catalogue, spec.data.eval_dataset) if spec.data.eval_dataset else []
    if spec.data.streaming:
        from workbench.jobs.train.streaming import stream_rows

        desk.note(Say.streamed())
        return Rows(*stream_rows(spec, desk, encoder, entries, tried))
    encoded = [_encoded(spec, desk, encoder, entry) for entry in [*entries, *tried]]
    sets = _without_even_weights(encoded)
    if not any(len(one) for one in sets[: len(entries)]):
        raise nothing_left(spec, [tally for _, tally in encoded[: len(entries)]])
    if tried:
        desk.note(Say.own_validation(names=", ".join(spec.data.eval_dataset)))
        rows = Rows(mix(spec, desk, sets[: len(entries)]), _joined(sets[len(entries) :]))
        if rows.held is None:
            desk.note(Say.no_validation(names=", ".join(spec.data.eval_dataset)), "warning")
    else:
        rows = _split(spec, desk, sets)
    _tell(desk, rows, [tally for _, tally in encoded])
    if folder is not None:
        kept_tokens.save(folder, encoder, rows.train, rows.held)
        desk.note(Say.to_folder(folder=spec.data.tokenized_path))
    return rows


def nothing_left(spec: TrainSpec, tallies: Sequence[Tally]) -> UserError:
    """Why there is no row to learn from: the template's first reason, unless rows went for their length as well."""
    refusal = next((tally.refusal for tally in tallies if tally.refusal), None)
    if refusal is not None and not any(tally.untrained for tally in tallies):
        return UserError(Say.all_refused(reason=refusal), key="template")
    return UserError(Say.nothing(cutoff=spec.data.cutoff_len), key="cutoff_len")


def fetch_sets(spec: TrainSpec, desk: Desk) -> None:
    """Fetch the chosen sets of a hub that are not here yet."""
    for entry in (one for some in chosen_sets(desk.run.workspace, spec) for one in some):
        if unfetched(entry):
            fetch_dataset(desk.run.workspace, entry, lambda done, total, file: desk.phase("fetching", done, total))


def _token_folder(spec: TrainSpec, desk: Desk) -> Path | None:
    given = spec.data.tokenized_path
    return desk.run.workspace.inside(desk.run.workspace.root, given, "tokenized_path") if given else None


def _encoded(spec: TrainSpec, desk: Desk, encoder: Encoder, entry: Entry) -> tuple[Any, Tally]:
    """One set as a dataset of tokens, from the cache where nothing has changed."""
    data = spec.data
    cache = desk.run.workspace.cache / "tokens"
    folder = cache / cache_key(entry, encoder, data.dataset_values, data.max_samples)
    found = None if data.overwrite_cache else kept(folder)
    if found is None:
        encoder.tally = Tally()
        total = count_set(entry, data.dataset_values, data.max_samples, encoder.stage.SHAPES).samples
        reads = of_shape(read_set(entry, data.dataset_values, data.max_samples), encoder.stage.SHAPES)
        forget_unused(cache)
        write(
            folder,
            reads,
            encoder,
            lambda read: told(entry.name, read),
            lambda done: desk.phase("data", min(done, total), total),
        )
        found = kept(folder)
        assert found is not None, "it was just written"
    else:
        desk.note(Say.from_cache(name=entry.name))
    rows, tally, said = found
    tell_rows(desk, said)
    for message in tally.messages(data.cutoff_len):
        desk.note(message, "warning")
    return rows, tally


def tell_rows(desk: Desk, said: Said) -> None:
    """What was done to rows: the first ones as notes, all of them in worker.log."""
    for message in said.messages():
        print(message)
    for message in said.first:
        desk.note(message, "warning")
    if said.count > TOLD_ROWS:
        desk.note(Say.more(count=said.count - TOLD_ROWS), "warning")


def mix(spec: TrainSpec, desk: Desk, sets: Sequence[Any]) -> Any:
    """Several datasets as one, by mix_strategy and interleave_probs; the seed decides the order. Some row is in them."""
    from datasets import interleave_datasets

    shares = left_shares(spec, desk, [len(one) > 0 for one in sets])
    left = [one for one in sets if len(one)]
    if spec.data.mix_strategy == "concat" or len(left) == 1:
        return _joined(left)
    return interleave_datasets(
        left,
        probabilities=shares,
        seed=spec.optim.seed,
        stopping_strategy=STOPPING[spec.data.mix_strategy],
    )


def left_shares(spec: TrainSpec, desk: Desk, filled: Sequence[bool]) -> list[float] | None:
    """The shares in the mix of the sets that have rows, together 1; told where one has none. None: each has its turn."""
    empty = [name for name, some in zip(spec.data.dataset, filled, strict=True) if not some]
    shares = [share for share, some in zip(spec.data.interleave_probs, filled, strict=False) if some]
    for name in empty:
        desk.note(Say.left_mix(name=name), "warning")
    if not empty or not shares:
        return shares or None
    shares = [share / sum(shares) for share in shares]
    if spec.data.mix_strategy != "concat":
        desk.note(Say.new_shares(shares=plain([round(share, 4) for share in shares])), "warning")
    return shares


def _joined(sets: Sequence[Any]) -> Any | None:
    """The sets one after another; None when there is no row in them. One without rows may lack columns, too."""
    from datasets import concatenate_datasets

    filled = [one for one in sets if len(one)]
    return concatenate_datasets(filled) if len(filled) > 1 else filled[0] if filled else None


def _split(spec: TrainSpec, desk: Desk, sets: Sequence[Any]) -> Rows:
    """Rows to learn from and rows held out, drawn by the seed, each in its old order.

    Drawn before the sets are mixed: mixing repeats rows, and a repeated row must not stand on both sides.
    """
    count = sum(len(one) for one in sets)
    drawn = held_places(spec, count)
    if not drawn:
        return Rows(mix(spec, desk, sets), None)
    learned, tried, before = [], [], 0
    for one in sets:
        here = {at - before for at in drawn if before <= at < before + len(one)}
        learned.append(one.select([at for at in range(len(one)) if at not in here]))
        tried.append(one.select(sorted(here)))
        before += len(one)
    return Rows(mix(spec, desk, learned), _joined(tried))


def _without_even_weights(sets: Sequence[tuple[Any, Tally]]) -> list[Any]:
    """The datasets; the weights of their tokens go unless some token counts more or less than the others."""
    if any(tally.weighted for _, tally in sets):
        return [rows for rows, _ in sets]
    return [rows.remove_columns([name for name in rows.column_names if name == WEIGHTS]) for rows, _ in sets]


def _tell(desk: Desk, rows: Rows, tallies: Sequence[Tally]) -> None:
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    held = len(rows.held) if rows.held is not None else 0
    desk.note(
        Say.rows(train=f"{len(rows.train):,}", held=f"{held:,}", tokens=f"{whole.tokens:,}", trained=f"{whole.trained:,}")
    )
