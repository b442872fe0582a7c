"""Fetch the rows of a dataset from Hugging Face or ModelScope into data/hub/, whole or not at all, without running code.

Speaks to the hubs as the fetching of models does; knows no row.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workbench import hubs
from workbench.data.datasets import HUB_KEYS, Entry, HubSource, read_entry
from workbench.data.splits import choose
from workbench.hubs import HUGGINGFACE, ID, MODELSCOPE, PAUSES_S, RECORD, HubFile, Progress, Site
from workbench.problems import Problem, UserError
from workbench.text import Message, Text
from workbench.workspace import Workspace

KEY = "dataset"
Ask = Callable[[Site, str, str], tuple[str, list[HubFile]]]
"""Lists the files of a set in one revision."""
CARD = "README.md"
PAGE_FILES = 500


class Say:
    bad_id = Text(
        "'{given}' is not the id of a dataset. Accepted: owner/name, as on its page on {hub}. Copy it from there."
    )
    bad_source = Text("The set on the hub can't be fetched: {reason}")
    bad_part = Text(
        "'{given}' can't be a subset or split. Accepted: the name that the set's page shows. Copy it from there."
    )
    missing = Text(
        "{hub} shows no dataset '{id}'. Accepted: the id of a public set, or of a private one with {token} set to your "
        "access token. Check the spelling, or look for it on {other}."
    )
    bad_token = Text(
        "{hub} does not know the access token in {token} ({reason}). Accepted: a valid token, or none for public sets. "
        "Set {token} anew or clear it, and fetch again."
    )
    unsafe_name = Text(
        "'{id}' on {hub} has a file named '{name}', which would leave the set's folder. Accepted: names inside it. "
        "Nothing was fetched. Choose another set."
    )
    no_room = Text(
        "'{id}' needs {needed} more, and the disk of {folder} has {free} free. Accepted: a set that fits. "
        "Free some space or choose a smaller set; what was fetched is kept."
    )


REWORDED: Mapping[str, Text] = {
    hubs.Say.missing.key: Say.missing,
    hubs.Say.bad_token.key: Say.bad_token,
    hubs.Say.no_room.key: Say.no_room,
}
"""What is said of models otherwise than of sets."""


@dataclass(frozen=True)
class DatasetSite(Site):
    """The part of a hub where datasets are; a hub that lists them page by page is asked for one ``page`` at a time."""

    page_number: int = 1

    def page(self, model_id: str) -> str:
        return f"{self.endpoint}/datasets/{model_id}"

    def list_url(self, model_id: str, revision: str) -> str:
        at = quote(revision, safe="")
        if self.hub == "huggingface":
            return f"{self.endpoint}/api/datasets/{model_id}/revision/{at}?blobs=true"
        paged = f"PageNumber={self.page_number}&PageSize={PAGE_FILES}"
        return f"{self.endpoint}/api/v1/datasets/{model_id}/repo/tree?Revision={at}&Root=%2F&Recursive=True&{paged}"

    def file_url(self, model_id: str, revision: str, path: str) -> str:
        at = quote(revision, safe="")
        if self.hub == "huggingface":
            return f"{self.endpoint}/datasets/{model_id}/resolve/{at}/{quote(path)}"
        wanted = f"Source=SDK&Revision={at}&FilePath={quote(path, safe='')}&View=False"
        return f"{self.endpoint}/api/v1/datasets/{model_id}/repo?{wanted}"

    def read_list(self, answer: Any, revision: str) -> tuple[str, list[HubFile]]:
        """As for models, but a page's folders stand among the files, with a slash, so that a full page looks full."""
        if self.hub == "huggingface":
            return super().read_list(answer, revision)
        if answer["Data"] is None:
            return revision, []
        return revision, [
            HubFile(f"{item['Path']}/", 0, None)
            if item["Type"] == "tree"
            else HubFile(str(item["Path"]), int(item["Size"]), item.get("Sha256") or None)
            for item in answer["Data"]["Files"]
        ]


def fetch_dataset(
    workspace: Workspace, wanted: Entry | HubSource, told: Progress, pauses_s: Sequence[float] = PAUSES_S
) -> Path:
    """The folder with the files of the set's subset and split, fetched if they are not there yet.

    ``told`` hears bytes done, of how many, and in which file. Whatever it raises stops the fetch; what is on disk
    stays, and the next call continues it.
    """
    source, place = _where(workspace, wanted)
    part = place.with_name(f".{place.name}.part")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hubs.alone(part, lambda: told(hubs.on_disk(part), hubs.on_disk(part), source.id)):
            if not is_fetched(place, source):
                _fetch(source, place, part, told, pauses_s)
    except UserError as error:
        raise UserError(*(_reworded(problem) for problem in error.problems)) from error
    return place


def is_fetched(place: Path, source: HubSource) -> bool:
    """Whether the rows of just this source lie there whole, or files that the person laid there. Needs no network."""
    record = place / RECORD
    if record.is_file():
        return bool(json.loads(record.read_text("utf-8"))["source"] == _noted(source))
    return place.is_dir() and any(path.is_file() for path in place.rglob("*"))


def _where(workspace: Workspace, wanted: Entry | HubSource) -> tuple[HubSource, Path]:
    source = wanted.source if isinstance(wanted, Entry) else wanted
    assert source, "only a set of a hub can be fetched"
    if not ID.fullmatch(source.id) or ".." in source.id:
        raise UserError(Say.bad_id(given=source.id, hub=_site(source).title), key=KEY)
    for name in (source.subset, source.split):
        if name and not hubs.stays_inside(name):
            raise UserError(Say.bad_part(given=name), key=KEY)
    if isinstance(wanted, HubSource):
        key = next(key for key, hub in HUB_KEYS.items() if hub == source.hub)
        named = {"subset": source.subset, "split": source.split, "folder": source.folder}
        entry = read_entry(workspace, workspace.data, source.id, {key: source.id, **named})
        if isinstance(entry, Message):
            raise UserError(Say.bad_source(reason=entry), key=KEY)
        place = entry.place
    else:
        place = wanted.place
    return source, place


def _site(source: HubSource) -> DatasetSite:
    site = HUGGINGFACE if source.hub == "huggingface" else MODELSCOPE
    return DatasetSite(site.hub, site.title, site.address, site.branch, site.endpoint_variable, site.token_variable)


def _fetch(source: HubSource, place: Path, part: Path, told: Progress, pauses_s: Sequence[float]) -> None:
    site = _site(source)
    with hubs.client_of(site) as client:
        commit, offered = _listed(partial(hubs.list_files, client), site, source)
        cards = [file for file in offered if file.path == CARD]
        hubs.get_files(client, site, source.id, commit, cards, part, told, pauses_s)
        card = (part / CARD).read_text("utf-8", errors="replace") if cards else ""
        chosen = set(choose(source, [file.path for file in offered], card))
        # The card does not stay: beside rows it would be taken for some.
        files = [file for file in offered if file.path in chosen]
        for file in files:
            if not hubs.stays_inside(file.path):
                raise UserError(Say.unsafe_name(id=source.id, hub=site.title, name=file.path), key=KEY)
        hubs.check_room(source.id, part, files)
        hubs.get_files(client, site, source.id, commit, files, part, told, pauses_s)
    record = {"source": _noted(source), "commit": commit, "files": [file.path for file in files]}
    _clear(place)
    hubs.settle(part, place, files, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def _listed(ask: Ask, site: DatasetSite, source: HubSource) -> tuple[str, list[HubFile]]:
    """The exact revision and every file in it, however many pages the hub makes of them."""
    commit, page = ask(site, source.id, site.branch)
    files = {file.path: file for file in page}
    while site.hub == "modelscope" and len(page) >= PAGE_FILES:
        site = replace(site, page_number=site.page_number + 1)
        page = ask(site, source.id, commit)[1]
        if not {file.path for file in page} - files.keys():
            break
        files |= {file.path: file for file in page}
    if not files and site.hub == "modelscope":
        names = {"hub": site.title, "id": source.id, "token": site.token_variable, "other": site.other}
        raise UserError(Say.missing(**names), key=KEY)
    return commit, [file for path, file in files.items() if not path.endswith("/")]


def _noted(source: HubSource) -> dict[str, str]:
    return {"hub": source.hub, "id": source.id, "subset": source.subset, "split": source.split, "folder": source.folder}


def _clear(place: Path) -> None:
    """Put away what another source laid there: it can be fetched again."""
    if (place / RECORD).is_file():
        away = place.with_name(f".{uuid.uuid4().hex}.part")
        os.replace(place, away)
        shutil.rmtree(away)


def _reworded(problem: Problem) -> Problem:
    """A problem of fetching in words that speak of a set, beside the field that names it."""
    message = problem.message
    text = REWORDED.get(message.key)
    return Problem(text(**message.args) if text else message, KEY)
