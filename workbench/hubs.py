"""Fetch a model from Hugging Face or ModelScope into models/, whole or not at all. Knows nothing of what a model is.

Only what can be read without running it is asked for: safetensors, configurations, tokenizers, licences; Python files
only when the person allowed remote code. A fetch that was stopped is continued where it broke off.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from workbench.downloads import Broken, Damaged, Refused, Remote, download, refusal
from workbench.locks import hold
from workbench.problems import UserError
from workbench.text import Text

if TYPE_CHECKING:
    import httpx

Hub = Literal["huggingface", "modelscope"]
Progress = Callable[[int, int, str], None]

KEY = "model_name_or_path"
RECORD = ".fetched.json"
ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
USUAL = ("", "main", "master")
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)
KEPT = (
    *("*.safetensors", "*.json", "*.txt", "*.model", "tokenizer.model*", "*.tiktoken", "*.jinja"),
    *("license", "license.md", "*_license", "*_license.md", "notice", "notice.md", "readme.md"),
)
OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
FOLDERS = ("", "additional_chat_templates")


class Say:
    bad_id = Text(
        "'{given}' is not the id of a model. Accepted: owner/name, for example Qwen/Qwen2.5-0.5B-Instruct. "
        "Copy it from the model's page on {hub}."
    )
    missing = Text(
        "{hub} shows no model '{id}'. Accepted: the id of a public model, or of a private one with {token} set to your "
        "access token. Check the spelling, or look for it on {other}."
    )
    no_revision = Text(
        "{hub} has no revision '{revision}' of a model '{id}'. Accepted: a branch, a tag or a commit of it. "
        "Leave the revision empty for the newest."
    )
    bad_token = Text(
        "{hub} does not know the access token in {token} ({reason}). Accepted: a valid token, or none for public models. "
        "Set {token} anew or clear it, and start again."
    )
    gated = Text(
        "{hub} gives '{id}' only to people who accepted its licence. Accepted: the access token of such an account in "
        "{token}. Accept the licence on {page}, set {token}, and start again."
    )
    unreachable = Text(
        "{hub} cannot be reached at {endpoint} ({reason}). Accepted: a connection to the hub or to a mirror of it. "
        "Check the network, choose {other}, or set {variable} to the address of a mirror."
    )
    not_a_hub = Text(
        "{endpoint} does not answer as {hub} does ({reason}). Accepted: the address of the hub or of a mirror. "
        "Check {variable} and whether the network asks for a login, or choose {other}."
    )
    refused = Text(
        "{hub} answered {status} for '{what}' ({reason}). Accepted: an answer with the file. "
        "What was fetched is kept: start again later to continue, or choose {other}."
    )
    cut = Text(
        "The connection to {hub} broke at {done} of {total} in {file} ({reason}). Accepted: the whole file. "
        "What was fetched is kept: start again to continue."
    )
    no_weights = Text(
        "'{id}' has no weights as safetensors on {hub}; it has {found}. Accepted: *.safetensors, because other formats "
        "can run code when they are read. Choose a converted copy of the model, or a revision that holds one."
    )
    nothing = Text("no weights at all")
    unsafe_name = Text(
        "'{id}' on {hub} has a file named '{name}', which would leave the model's folder. Accepted: names inside it. "
        "Nothing was fetched. Choose another model."
    )
    damaged = Text(
        "{file} of '{id}' is not what {hub} announced (digest {found} instead of {expected}). Accepted: the exact file. "
        "It was thrown away: start again to fetch it anew, or choose {other}."
    )
    no_room = Text(
        "'{id}' needs {needed} more, and the disk of {folder} has {free} free. Accepted: a model that fits. "
        "Free some space or choose a smaller model; what was fetched is kept."
    )


@dataclass(frozen=True)
class HubFile:
    """A file as a hub announces it; the digest is a sha256, or git's own where the hub gives no other."""

    path: str
    size_bytes: int
    digest: str | None


@dataclass(frozen=True)
class Site:
    """How one hub is spoken to; the environment is read when it is asked, never earlier."""

    hub: Hub
    title: str
    address: str
    branch: str
    endpoint_variable: str
    token_variable: str

    @property
    def endpoint(self) -> str:
        given = os.environ.get(self.endpoint_variable, "").strip().rstrip("/") or self.address
        return given if "://" in given else f"https://{given}"

    @property
    def token(self) -> str:
        return os.environ.get(self.token_variable, "").strip()

    @property
    def other(self) -> str:
        return (MODELSCOPE if self.hub == "huggingface" else HUGGINGFACE).title

    def page(self, model_id: str) -> str:
        return f"{self.endpoint}/{model_id}" if self.hub == "huggingface" else f"{self.endpoint}/models/{model_id}"

    def list_url(self, model_id: str, revision: str) -> str:
        """Where the hub lists every file of one revision with sizes and digests."""
        at = quote(revision, safe="")
        if self.hub == "huggingface":
            return f"{self.endpoint}/api/models/{model_id}/revision/{at}?blobs=true"
        return f"{self.endpoint}/api/v1/models/{model_id}/repo/files?Revision={at}&Recursive=True"

    def file_url(self, model_id: str, revision: str, path: str) -> str:
        at = quote(revision, safe="")
        if self.hub == "huggingface":
            return f"{self.endpoint}/{model_id}/resolve/{at}/{quote(path)}"
        return f"{self.endpoint}/api/v1/models/{model_id}/repo?Revision={at}&FilePath={quote(path, safe='')}"

    def read_list(self, answer: Any, revision: str) -> tuple[str, list[HubFile]]:
        """The exact revision and its files, out of the hub's JSON; KeyError or TypeError if it is something else."""
        if self.hub == "huggingface":
            files = []
            for item in answer["siblings"]:
                large = item.get("lfs") or {}
                size_bytes, digest = large.get("size", item["size"]), large.get("sha256") or item.get("blobId")
                files.append(HubFile(str(item["rfilename"]), int(size_bytes), digest))
            return str(answer["sha"]), files
        items = [item for item in answer["Data"]["Files"] if item["Type"] == "blob"]
        return revision, [HubFile(str(i["Path"]), int(i["Size"]), i.get("Sha256") or None) for i in items]


HUGGINGFACE = Site("huggingface", "Hugging Face", "https://huggingface.co", "main", "HF_ENDPOINT", "HF_TOKEN")
MODELSCOPE = Site(
    "modelscope", "ModelScope", "https://modelscope.cn", "master", "MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN"
)


def model_folder(models: Path, model_id: str, revision: str = "main") -> Path:
    """Where a hub's model lies under ``models``; the usual branch has no mark of its own."""
    mark = "" if revision in USUAL else f"@{revision}"
    return models / re.sub(r"[^\w.@-]", "-", model_id.replace("/", "--") + mark)


def find_fetched(models: Path, model_id: str, revision: str = "main", trust_remote_code: bool = False) -> Path | None:
    """The folder of a model that is there whole, or None. Needs no network."""
    folder = model_folder(models, model_id, revision)
    if not (folder / "config.json").is_file():
        return None
    record = _record(folder)
    return folder if record is None or record["remote_code"] or not trust_remote_code else None


def fetch(
    hub: Hub,
    model_id: str,
    revision: str,
    models: Path,
    progress: Progress,
    *,
    trust_remote_code: bool = False,
    pauses_s: Sequence[float] = PAUSES_S,
) -> Path:
    """The model's folder, fetched if it is not there yet. ``progress`` hears bytes done, of how many, and in which file.

    Whatever ``progress`` raises stops the fetch; what is on disk stays, and the next call continues it.
    """
    site = HUGGINGFACE if hub == "huggingface" else MODELSCOPE
    if not ID.fullmatch(model_id) or ".." in model_id:
        raise UserError(Say.bad_id(given=model_id, hub=site.title), key=KEY)
    folder = model_folder(models, model_id, revision)
    part = folder.with_name(f".{folder.name}.part")
    models.mkdir(parents=True, exist_ok=True)
    with alone(part, lambda: progress(on_disk(part), on_disk(part), model_id)):
        if found := find_fetched(models, model_id, revision, trust_remote_code):
            return found
        record = _record(folder)
        wanted = str(record["commit"]) if record else site.branch if revision in USUAL else revision
        with client_of(site) as client:
            commit, offered = list_files(client, site, model_id, wanted)
            chosen = choose(site, model_id, offered, trust_remote_code)
            files = [file for file in chosen if not (folder / file.path).is_file()]
            check_room(model_id, part, files)
            get_files(client, site, model_id, commit, files, part, progress, pauses_s)
        said = {"hub": hub, "id": model_id, "revision": revision, "commit": commit, "remote_code": trust_remote_code}
        settle(part, folder, files, json.dumps(said, indent=2) + "\n")
    return folder


def choose(site: Site, model_id: str, offered: Sequence[HubFile], trust_remote_code: bool) -> list[HubFile]:
    """The files worth having, small ones first; UserError if a name is unsafe or no safetensors are among them."""
    kept = [file for file in offered if _is_wanted(file.path, trust_remote_code)]
    for file in kept:
        if not stays_inside(file.path):
            raise UserError(Say.unsafe_name(id=model_id, hub=site.title, name=file.path), key=KEY)
    kept = [file for file in kept if file.path.rpartition("/")[0] in FOLDERS or file.path.endswith(".py")]
    weights = [file for file in kept if file.path.endswith(".safetensors")]
    # Some repositories hold the same weights a second time, in their maker's own layout.
    doubled = [file for file in weights if file.path.startswith("consolidated")]
    if not weights:
        found = ", ".join(f.path for f in offered if f.path.endswith(OTHER_WEIGHTS)) or Say.nothing()
        raise UserError(Say.no_weights(id=model_id, hub=site.title, found=found), key=KEY)
    if len(doubled) < len(weights):
        kept = [file for file in kept if file not in doubled]
    return sorted(kept, key=lambda file: (file.path.endswith(".safetensors"), file.path))


def _is_wanted(path: str, trust_remote_code: bool) -> bool:
    name = re.split(r"[/\\]", path)[-1].lower()
    if name.startswith(".") or (name.endswith(".index.json") and not name.endswith(".safetensors.index.json")):
        return False
    return any(fnmatchcase(name, pattern) for pattern in KEPT) or (trust_remote_code and name.endswith(".py"))


def stays_inside(path: str) -> bool:
    parts = path.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not re.search(r"[\\:\x00-\x1f]", path)


def _record(folder: Path) -> dict[str, Any] | None:
    """What an earlier fetch noted in the folder; None for a folder that the person brought."""
    path = folder / RECORD
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


@contextmanager
def alone(part: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the right to write into ``part``; while another process has it, call ``waiting`` about once a second."""
    lock = hold(part.with_suffix(".lock"), patience_s=0)
    while lock is None:
        waiting()
        lock = hold(part.with_suffix(".lock"), patience_s=1)
    try:
        yield
    finally:
        lock.release()


def client_of(site: Site) -> "httpx.Client":
    """A client that sends the person's token to the hub and, as httpx does it, to no server that the hub points to."""
    import httpx

    headers = {"User-Agent": "workbench"}
    if site.token:
        headers["Authorization"] = f"Bearer {site.token}"
        if site.hub == "modelscope":
            headers["Cookie"] = f"m_session_id={site.token}"
    return httpx.Client(headers=headers, follow_redirects=True, timeout=httpx.Timeout(30, connect=15))


def list_files(client: "httpx.Client", site: Site, model_id: str, revision: str) -> tuple[str, list[HubFile]]:
    """The exact revision and the files that the hub offers in it."""
    import httpx

    names = {"hub": site.title, "other": site.other, "endpoint": site.endpoint, "variable": site.endpoint_variable}
    try:
        response = client.get(site.list_url(model_id, revision))
        if not response.is_success:
            raise _explain(site, model_id, revision, refusal(response), "")
        answer = response.json()
        if site.hub == "modelscope" and answer["Code"] != 200:
            raise _explain(site, model_id, revision, Refused(answer["Code"], "", str(answer["Message"])), "")
        return site.read_list(answer, revision)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise UserError(Say.unreachable(**names, reason=str(error) or type(error).__name__), key="hub") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(Say.not_a_hub(**names, reason=f"{type(error).__name__}: {error}"), key="hub") from error


def _explain(site: Site, model_id: str, revision: str, no: Refused, file: str) -> UserError:
    """What a refusal means for the person; ``file`` is empty when the list was asked for."""
    names = {"hub": site.title, "other": site.other, "token": site.token_variable, "id": model_id}
    if no.status == 403 or no.code == "GatedRepo" or (no.status == 401 and file):
        return UserError(Say.gated(**names, page=site.page(model_id)), key=KEY)
    if no.status == 401 and site.token:
        return UserError(Say.bad_token(**names, reason=no.reason), key=KEY)
    if no.code == "RevisionNotFound" or (no.status == 404 and not file and revision != site.branch):
        return UserError(Say.no_revision(**names, revision=revision), key="model_revision")
    if no.status in (401, 404) and not file:
        return UserError(Say.missing(**names), key=KEY)
    return UserError(Say.refused(**names, status=no.status, what=file or model_id, reason=no.reason), key=KEY)


def get_files(
    client: "httpx.Client",
    site: Site,
    model_id: str,
    commit: str,
    files: Sequence[HubFile],
    part: Path,
    progress: Progress,
    pauses_s: Sequence[float],
) -> None:
    """Every file into ``part``, with the bytes of all of them counted together."""
    total = sum(file.size_bytes for file in files)
    names = {"id": model_id, "hub": site.title, "other": site.other}
    before = 0
    for file in files:

        def moved(done_bytes: int, before: int = before, path: str = file.path) -> None:
            progress(before + done_bytes, total, path)

        remote = Remote(site.file_url(model_id, commit, file.path), file.size_bytes, file.digest)
        try:
            download(client, remote, part / file.path, moved, pauses_s)
        except Refused as no:
            raise _explain(site, model_id, commit, no, file.path) from no
        except Broken as error:
            done, size = _amount(error.done_bytes), _amount(file.size_bytes)
            said = Say.cut(hub=site.title, done=done, total=size, file=file.path, reason=error.reason)
            raise UserError(said) from error
        except Damaged as error:
            said = Say.damaged(**names, file=file.path, found=error.found, expected=error.expected)
            raise UserError(said, key=KEY) from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise _no_room(model_id, part, total - on_disk(part)) from error
        before += file.size_bytes


def check_room(model_id: str, part: Path, files: Sequence[HubFile]) -> None:
    needed = sum(file.size_bytes for file in files) - on_disk(part)
    if needed > shutil.disk_usage(part.parent).free:
        raise _no_room(model_id, part, needed)


def _no_room(model_id: str, part: Path, needed_bytes: int) -> UserError:
    free = _amount(shutil.disk_usage(part.parent).free)
    said = Say.no_room(id=model_id, needed=_amount(needed_bytes), folder=part.parent.name, free=free)
    return UserError(said, key=KEY)


def on_disk(part: Path) -> int:
    """The bytes that earlier calls, or another process, brought so far."""
    return sum(path.stat().st_size for path in part.rglob("*") if path.is_file())


def _amount(size_bytes: int) -> str:
    """Bytes as people read them."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else f"{size_bytes / 1e6:.1f} MB"


def settle(part: Path, folder: Path, files: Sequence[HubFile], record: str) -> None:
    """The whole part becomes the folder, or joins it when only files of remote code were lacking."""
    part.mkdir(exist_ok=True)
    (part / RECORD).write_text(record, "utf-8")
    whole = {part / file.path for file in files} | {part / RECORD}
    for path in list(part.rglob("*")):
        if path.is_file() and path not in whole:
            path.unlink()
    if not folder.exists():
        os.replace(part, folder)
        return
    for path in sorted(whole, key=lambda path: path.name == RECORD):
        target = folder / path.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    shutil.rmtree(part)
