"""Fetching from both hubs, against a stand-in on the loopback that cuts, refuses, redirects and lies on demand."""

import hashlib
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from workbench.hubs import HUGGINGFACE, MODELSCOPE, RECORD, Hub, fetch, find_fetched, model_folder
from workbench.problems import UserError

ID = "acme/Tiny-1B"
TOKEN = "hub-secret-0123456789"
WEIGHTS = random.Random(1).randbytes(300_000)
FILES = {
    "config.json": b'{"model_type": "tiny"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"eos_token": "</s>"}',
    "generation_config.json": b"{}",
    "merges.txt": b"a b\n",
    "empty.txt": b"",
    "LICENSE": b"free",
    "README.md": "# 小模型\n".encode(),
    "additional_chat_templates/tool.jinja": b"{{ messages }}",
    "model.safetensors.index.json": b"{}",
    "model-00001-of-00001.safetensors": WEIGHTS,
}
UNWANTED = {
    "pytorch_model.bin": b"pickle",
    "pytorch_model.bin.index.json": b"{}",
    "model.pt": b"pickle",
    "training_args.pickle": b"pickle",
    "consolidated.safetensors": WEIGHTS,
    "original/params.json": b"{}",
    "onnx/model.onnx": b"onnx",
    "modeling_tiny.py": b"print('code')",
    ".gitattributes": b"x",
}
LARGE = "model-00001-of-00001.safetensors"


@dataclass
class Asked:
    """One request as the stand-in saw it."""

    file: str
    revision: str
    range: str
    token: str


@dataclass
class StandIn:
    """Both hubs at one address. What it does wrong is set by the test."""

    files: dict[str, bytes] = field(default_factory=lambda: FILES | UNWANTED)
    asked: list[Asked] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    status: dict[str, tuple[int, str]] = field(default_factory=dict)
    announced: dict[str, Any] = field(default_factory=dict)
    knows_ranges: bool = True
    elsewhere: str = ""
    page: bytes = b""
    url: str = ""

    def asked_for(self, file: str) -> list[Asked]:
        return [one for one in self.asked if one.file == file]


def listing(stand_in: StandIn, hub: Hub, revision: str) -> dict[str, Any]:
    """The hub's own shape of a list of files."""
    items: list[dict[str, Any]] = []
    for path, content in stand_in.files.items():
        size, sha256 = len(content), hashlib.sha256(content).hexdigest()
        size = stand_in.announced.get("size", size) if path == LARGE else size
        sha256 = stand_in.announced.get("sha256", sha256) if path == LARGE else sha256
        blob = hashlib.sha1(f"blob {size}\0".encode() + content).hexdigest()
        large = {"lfs": {"size": size, "sha256": sha256, "pointerSize": 133}} if path.endswith(".safetensors") else {}
        if hub == "huggingface":
            items.append({"rfilename": path, "size": size, "blobId": blob, **large})
        else:
            items.append({"Path": path, "Name": Path(path).name, "Type": "blob", "Size": size, "Sha256": sha256})
    if hub == "huggingface":
        return {"id": ID, "sha": f"commit-of-{revision}", "gated": False, "siblings": items}
    items.append({"Path": "original", "Name": "original", "Type": "tree", "Size": 0})
    return {"Code": 200, "Success": True, "Data": {"Files": items}}


def handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Nothing is said on the terminal."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            parts = [unquote(part) for part in url.path.strip("/").split("/")]
            file, hub = "", "huggingface"
            if url.path.startswith("/api/models/"):
                revision = parts[5]
            elif url.path.startswith("/api/v1/models/"):
                hub, revision, file = "modelscope", query["Revision"], query.get("FilePath", "")
            elif url.path.startswith("/cdn/"):
                revision, file = "cdn", "/".join(parts[1:])
            else:
                revision, file = parts[3], "/".join(parts[4:])
            token = self.headers.get("Authorization", "") + self.headers.get("Cookie", "")
            stand_in.asked.append(Asked(file, revision, self.headers.get("Range", ""), token))
            if wrong := stand_in.status.get(file):
                self.answer(wrong[0], b"{}", {"X-Error-Code": wrong[1], "X-Error-Message": "no"})
            elif not file:
                said = json.dumps(listing(stand_in, "huggingface" if hub == "huggingface" else "modelscope", revision))
                self.answer(200, stand_in.page or said.encode(), {})
            elif stand_in.elsewhere and file == LARGE and revision != "cdn":
                self.answer(302, b"", {"Location": f"{stand_in.elsewhere}/cdn/{file}"})
            else:
                self.send_file(stand_in.files[file], file == LARGE)

        def send_file(self, content: bytes, large: bool) -> None:
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            ranged = start > 0 and stand_in.knows_ranges
            rest = content[start if ranged else 0 :]
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if ranged else {}
            keep = stand_in.cuts.pop(0) if large and stand_in.cuts else len(rest)
            self.answer(206 if ranged else 200, rest[:keep], headers | {"Content-Length": str(len(rest))})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


def serve(stand_in: StandIn) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(stand_in))
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A running stand-in that both hubs' variables point to, without tokens and proxies."""
    stand_in = StandIn()
    server = serve(stand_in)
    for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"{stand_in.url}/")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", stand_in.url)
    yield stand_in
    server.shutdown()
    server.server_close()


def quiet(done_bytes: int, total_bytes: int, file: str) -> None:
    """A progress that nobody watches."""


def get(
    hub: Hub, models: Path, revision: str = "main", progress: Callable[[int, int, str], None] = quiet, **kwargs: Any
) -> Path:
    return fetch(hub, ID, revision, models, progress, **({"pauses_s": ()} | kwargs))


def refused(hub: Hub, models: Path, **kwargs: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        get(hub, models, **kwargs)
    assert "Accepted" in str(caught.value)
    return caught.value


def on_disk(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if name != RECORD}


both = pytest.mark.parametrize("hub", get_args(Hub))


@both
def test_a_model_arrives_whole_and_nothing_else(hub: Hub, stand_in: StandIn, tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    folder = get(hub, tmp_path, progress=lambda *said: heard.append(said))
    assert folder == tmp_path / "acme--Tiny-1B"
    assert on_disk(folder) == FILES
    assert {one.file for one in stand_in.asked} == {"", *(name for name, content in FILES.items() if content)}
    record = json.loads((folder / RECORD).read_text("utf-8"))
    assert (record["hub"], record["id"]) == (hub, ID)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [folder.name], "no part is left"
    total = sum(map(len, FILES.values()))
    assert {said[1] for said in heard} == {total}
    assert [said[0] for said in heard] == sorted(said[0] for said in heard)
    assert heard[-1] == (total, total, LARGE)


@both
def test_a_fetched_model_needs_no_network(
    hub: Hub, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = get(hub, tmp_path)
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get(hub, tmp_path) == find_fetched(tmp_path, ID) == folder


@both
def test_a_cut_fetch_is_continued_by_the_next_and_asks_only_for_the_rest(
    hub: Hub, stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.cuts = [120_000]
    error = refused(hub, tmp_path)
    assert "0.1 MB of 0.3 MB" in str(error)
    assert not model_folder(tmp_path, ID).exists()
    stand_in.asked.clear()
    heard: list[int] = []
    folder = get(hub, tmp_path, progress=lambda done, total, file: heard.append(done))
    assert on_disk(folder) == FILES
    assert [(one.file, one.range) for one in stand_in.asked] == [("", ""), (LARGE, "bytes=120000-")]
    assert sum(map(len, FILES.values())) - 180_000 in heard, "what was there already is counted from the start"


@both
def test_a_cut_is_mended_within_one_fetch(hub: Hub, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.cuts = [100_000, 0, 50_000]
    assert on_disk(get(hub, tmp_path, pauses_s=(0, 0))) == FILES
    assert [one.range for one in stand_in.asked_for(LARGE)] == ["", "bytes=100000-", "bytes=100000-", "bytes=150000-"]


def test_a_server_that_knows_no_ranges_sends_it_all_again(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.cuts, stand_in.knows_ranges = [100_000], False
    assert on_disk(get("huggingface", tmp_path, pauses_s=(0,))) == FILES


def test_a_busy_server_is_asked_again_and_then_the_failure_is_told(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.status[LARGE] = (503, "")
    assert "503" in str(refused("huggingface", tmp_path, pauses_s=(0, 0)))
    assert len(stand_in.asked_for(LARGE)) == 3


def test_the_beginning_of_one_version_is_not_continued_with_another(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.cuts = [120_000]
    refused("modelscope", tmp_path)
    stand_in.files = FILES | {LARGE: WEIGHTS[::-1], "config.json": b'{"model_type": "fine"}'}
    stand_in.asked.clear()
    folder = get("modelscope", tmp_path)
    assert on_disk(folder) == stand_in.files
    assert [one.range for one in stand_in.asked_for(LARGE)] == [""]


def test_progress_can_stop_a_fetch_and_the_next_goes_on(stand_in: StandIn, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_at_the_weights(done_bytes: int, total_bytes: int, file: str) -> None:
        if file == LARGE:
            raise Stop

    with pytest.raises(Stop):
        get("huggingface", tmp_path, progress=stop_at_the_weights)
    stand_in.asked.clear()
    assert on_disk(get("huggingface", tmp_path)) == FILES
    assert [one.file for one in stand_in.asked] == ["", LARGE]


@both
def test_what_arrives_other_than_announced_is_thrown_away(hub: Hub, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.announced["sha256"] = "0" * 64
    assert "0" * 64 in str(refused(hub, tmp_path))
    assert not list(tmp_path.rglob("*.partial"))
    stand_in.announced.clear()
    assert on_disk(get(hub, tmp_path)) == FILES


def test_small_files_of_hugging_face_are_checked_too(stand_in: StandIn, tmp_path: Path) -> None:
    honest = dict(stand_in.files)

    class Swapped(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            return honest[name][::-1]

    stand_in.files = Swapped(honest)
    assert "LICENSE" in str(refused("huggingface", tmp_path))


@both
def test_a_gated_model_says_how_to_get_it(hub: Hub, stand_in: StandIn, tmp_path: Path) -> None:
    site = HUGGINGFACE if hub == "huggingface" else MODELSCOPE
    for file, status, code in (("", 403, ""), ("LICENSE", 403, "GatedRepo"), ("LICENSE", 401, "")):
        stand_in.status = {file: (status, code)}
        error = refused(hub, tmp_path)
        assert site.token_variable in str(error)
        assert site.page(ID) in str(error)
        assert error.problems[0].key == "model_name_or_path"
    assert not model_folder(tmp_path, ID).exists()


@both
def test_a_missing_model_a_missing_revision_and_an_unknown_token(
    hub: Hub, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "ModelScope" if hub == "huggingface" else "Hugging Face"
    for status, code in ((404, ""), (401, "RepoNotFound")):
        stand_in.status[""] = (status, code)
        assert f"look for it on {other}" in str(refused(hub, tmp_path))
    stand_in.status[""] = (404, "RevisionNotFound")
    error = refused(hub, tmp_path, revision="v9")
    assert "'v9'" in str(error)
    assert error.problems[0].key == "model_revision"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    stand_in.status[""] = (401, "")
    assert "access token" in str(error := refused(hub, tmp_path))
    assert TOKEN not in str(error)
    assert len(stand_in.asked) == 4


@both
def test_a_model_without_safetensors_is_refused_before_anything_is_fetched(
    hub: Hub, stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    assert "pytorch_model.bin" in str(refused(hub, tmp_path))
    stand_in.files = {"config.json": b"{}"}
    assert "no weights at all" in str(refused(hub, tmp_path))
    assert {one.file for one in stand_in.asked} == {""}


@both
@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "a/../../evil.json", "..\\evil.json", "C:evil.json"])
def test_a_name_that_leaves_the_folder_is_refused(hub: Hub, name: str, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.files = FILES | {name: b"evil"}
    assert name in str(refused(hub, tmp_path / "models"))
    assert {one.file for one in stand_in.asked} == {""}
    assert not list(tmp_path.rglob("*.json"))


@both
def test_the_token_goes_to_the_hub_alone_and_never_to_disk(
    hub: Hub, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = StandIn()
    server = serve(elsewhere)
    stand_in.elsewhere = elsewhere.url
    monkeypatch.setenv("HF_TOKEN", f" {TOKEN}\n")
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    get(hub, tmp_path)
    server.shutdown()
    server.server_close()
    assert all(TOKEN in one.token for one in stand_in.asked)
    assert [(one.file, one.token) for one in elsewhere.asked] == [(LARGE, "")]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > len(FILES)
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


@both
def test_no_network_names_the_other_hub_and_the_mirror(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = HUGGINGFACE if hub == "huggingface" else MODELSCOPE
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(site.endpoint_variable, "http://127.0.0.1:9")
    error = refused(hub, tmp_path)
    assert site.other in str(error)
    assert site.endpoint_variable in str(error)
    assert error.problems[0].key == "hub"


@both
def test_a_login_page_is_not_taken_for_a_hub(hub: Hub, stand_in: StandIn, tmp_path: Path) -> None:
    for page in (b"<html>please log in</html>", b"[]", b'{"siblings": [1]}', b'{"Code": 200, "Data": null}'):
        stand_in.page = page
        assert stand_in.url in str(refused(hub, tmp_path))


def test_a_refusal_of_modelscope_inside_an_answer(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.page = b'{"Code": 10010205001, "Success": false, "Message": "record not found"}'
    assert "record not found" in str(refused("modelscope", tmp_path))


def test_a_model_that_does_not_fit_is_refused_before_anything_is_fetched(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.announced["size"] = 10**18
    assert "1000000000.0 GB" in str(refused("huggingface", tmp_path))
    assert {one.file for one in stand_in.asked} == {""}


@both
def test_python_files_come_only_when_remote_code_is_allowed(hub: Hub, stand_in: StandIn, tmp_path: Path) -> None:
    folder = get(hub, tmp_path)
    assert find_fetched(tmp_path, ID, trust_remote_code=True) is None
    stand_in.asked.clear()
    assert get(hub, tmp_path, trust_remote_code=True) == folder
    assert on_disk(folder) == FILES | {"modeling_tiny.py": UNWANTED["modeling_tiny.py"]}
    assert [one.file for one in stand_in.asked] == ["", "modeling_tiny.py"]
    assert find_fetched(tmp_path, ID, trust_remote_code=True) == folder


@both
def test_a_revision_is_honoured_and_has_a_folder_of_its_own(hub: Hub, stand_in: StandIn, tmp_path: Path) -> None:
    usual, named = get(hub, tmp_path), get(hub, tmp_path, revision="refs/pr/7")
    assert (usual.name, named.name) == ("acme--Tiny-1B", "acme--Tiny-1B@refs-pr-7")
    branch = "main" if hub == "huggingface" else "master"
    assert [one.revision for one in stand_in.asked_for("")] == [branch, "refs/pr/7"]
    commit = "commit-of-refs/pr/7" if hub == "huggingface" else "refs/pr/7"
    assert stand_in.asked_for("config.json")[1].revision == commit


@pytest.mark.parametrize("given", ["", "gpt2", "a/b/c", "../x", "a/..", "a/b..c", "a b/c", "模型/x", "-a/b", "a/b?x=1"])
def test_what_is_no_id_is_refused_without_asking(given: str, stand_in: StandIn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="owner/name"):
        fetch("huggingface", given, "main", tmp_path, quiet)
    assert not stand_in.asked


def test_two_processes_do_not_write_the_same_file(stand_in: StandIn, tmp_path: Path) -> None:
    """While another process holds the right to fetch this model, ours waits and says so."""
    code = "import sys; from pathlib import Path; from workbench.locks import hold; lock = hold(Path(sys.argv[1]));"
    code += "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path / ".acme--Tiny-1B.lock")]
    heard: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as one:
        assert one.stdout is not None
        assert one.stdin is not None
        assert one.stdout.readline() == b"held\n"
        let_go = one.stdin.close

        def waiting(done_bytes: int, total_bytes: int, file: str) -> None:
            heard.append(file)
            let_go()

        assert on_disk(get("huggingface", tmp_path, progress=waiting)) == FILES
    assert heard[0] == ID
