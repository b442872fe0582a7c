"""Datasets of both hubs, against a stand-in on the loopback, and which files of a repository a split is."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from workbench.data import hub_datasets
from workbench.data.datasets import HubSource, read_catalogue
from workbench.data.hub_datasets import fetch_dataset
from workbench.data.splits import choose
from workbench.hubs import RECORD
from workbench.problems import UserError
from workbench.workspace import Workspace

ID = "acme/riddles"
TOKEN = "hub-secret-0123456789"
ROWS = b'{"instruction": "Q", "output": "A"}\n' * 3000
CARD = b"---\nlicense: mit\n---\n# Riddles\n"
BOTH = pytest.mark.parametrize("hub", ["huggingface", "modelscope"])
Hub = Literal["huggingface", "modelscope"]


@dataclass
class StandIn:
    """Both hubs at one address. What it does wrong is set by the test."""

    files: dict[str, bytes] = field(default_factory=lambda: {"README.md": CARD, "data/train.jsonl": ROWS})
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """File (empty for a list), range and token of each request."""
    cuts: list[int] = field(default_factory=list)
    status: dict[str, tuple[int, str]] = field(default_factory=dict)
    announced: dict[str, str] = field(default_factory=dict)
    page: bytes = b""


def listing(stand_in: StandIn, modelscope: bool, query: dict[str, str]) -> dict[str, Any]:
    """The hub's own shape of a list of files."""
    sums = {path: hashlib.sha256(content).hexdigest() for path, content in stand_in.files.items()} | stand_in.announced
    sizes = {path: len(content) for path, content in stand_in.files.items()}
    if not modelscope:
        large = {path: {"size": sizes[path], "sha256": sums[path]} for path in sizes}
        return {"sha": "c0ffee", "siblings": [{"rfilename": p, "size": sizes[p], "lfs": large[p]} for p in sizes]}
    folders = sorted({path.rpartition("/")[0] for path in sizes} - {""})
    items = [{"Path": one, "Type": "tree", "Size": 0} for one in folders]
    items += [{"Path": path, "Type": "blob", "Size": sizes[path], "Sha256": sums[path]} for path in sizes]
    first = (int(query["PageNumber"]) - 1) * int(query["PageSize"])
    return {"Code": 200, "Data": {"Files": items[first : first + int(query["PageSize"])]}}


def handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Nothing is said on the terminal."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            modelscope = url.path.startswith(f"/api/v1/datasets/{ID}/repo")
            file = query.get("FilePath", "")
            if url.path.startswith(f"/datasets/{ID}/resolve/c0ffee/"):
                file = unquote(url.path.split("/", 6)[6])
            elif not modelscope:
                assert url.path == f"/api/datasets/{ID}/revision/main"
            token = self.headers.get("Authorization", "")
            stand_in.asked.append((file, self.headers.get("Range", ""), token))
            if wrong := stand_in.status.get(file):
                self.answer(wrong[0], b"{}", {"X-Error-Code": wrong[1]})
            elif not file:
                self.answer(200, stand_in.page or json.dumps(listing(stand_in, modelscope, query)).encode(), {})
            else:
                self.send_file(stand_in.files[file])

        def send_file(self, content: bytes) -> None:
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            rest = content[start:]
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
            keep = stand_in.cuts.pop(0) if len(content) > 1000 and stand_in.cuts else len(rest)
            self.answer(206 if start else 200, rest[:keep], headers | {"Content-Length": str(len(rest))})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A running stand-in that both hubs' variables point to, without tokens and proxies."""
    stand_in = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(stand_in))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    yield stand_in
    server.shutdown()
    server.server_close()


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    (tmp_path / "data").mkdir()
    return Workspace(tmp_path)


def quiet(done_bytes: int, total_bytes: int, file: str) -> None:
    """A progress that nobody watches."""


def get(home: Workspace, hub: Hub, **parts: str) -> Path:
    return fetch_dataset(home, HubSource(hub, ID, **parts), quiet, pauses_s=())


def refused(home: Workspace, hub: Hub, **parts: str) -> str:
    with pytest.raises(UserError) as caught:
        get(home, hub, **parts)
    assert [problem.key for problem in caught.value.problems] == ["dataset"]
    assert "Accepted" in str(caught.value)
    return str(caught.value)


def files_of(stand_in: StandIn) -> list[str]:
    return [file for file, _, _ in stand_in.asked]


# Fetching


@BOTH
def test_a_set_arrives_where_its_entry_looks_for_it(hub: Hub, stand_in: StandIn, home: Workspace) -> None:
    key = "hf_hub_url" if hub == "huggingface" else "ms_hub_url"
    (home.data / "dataset_info.json").write_text(json.dumps({"riddles": {key: ID}}), "utf-8")
    entry = read_catalogue(home).entries["riddles"]
    with pytest.raises(UserError, match="not fetched yet"):
        entry.files()
    heard: list[tuple[int, int, str]] = []
    place = fetch_dataset(home, entry, lambda *said: heard.append(said), pauses_s=())
    assert place == entry.place == home.data / f"hub/{entry.source.hub}/acme/riddles/default/train"
    assert [file.relative_to(place).as_posix() for file in entry.files()] == ["data/train.jsonl"]
    assert entry.files()[0].read_bytes() == ROWS
    assert not (place / "README.md").exists(), "it would be read as rows"
    assert heard[-1] == (len(ROWS), len(ROWS), "data/train.jsonl")
    assert [path.name for path in place.parent.iterdir() if path.is_dir()] == ["train"], "no part is left"
    stand_in.asked.clear()
    assert get(home, hub) == place
    assert stand_in.asked == [], "what is there needs no network"


@BOTH
def test_a_cut_fetch_is_continued_by_the_next(hub: Hub, stand_in: StandIn, home: Workspace) -> None:
    stand_in.cuts = [60_000]
    assert "start again to continue" in refused(home, hub)
    assert not (home.data / "hub/acme/riddles/default/train").exists()
    stand_in.asked.clear()
    assert (get(home, hub) / "data/train.jsonl").read_bytes() == ROWS
    assert [(file, part) for file, part, _ in stand_in.asked] == [("", ""), ("data/train.jsonl", "bytes=60000-")]


def test_modelscope_is_asked_page_by_page(stand_in: StandIn, home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_datasets, "PAGE_FILES", 2)
    stand_in.files = {f"{folder}/train-{part}.jsonl": b"{}\n" for folder in "abc" for part in "12"}
    place = get(home, "modelscope")
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*.jsonl")) == sorted(stand_in.files)
    assert files_of(stand_in).count("") == 5, "nine entries in pages of two, of which the first are folders only"


@BOTH
def test_the_token_is_sent_and_never_written(
    hub: Hub, stand_in: StandIn, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    get(home, hub)
    assert {token for _, _, token in stand_in.asked} == {f"Bearer {TOKEN}"}
    written = [path.read_bytes() for path in home.root.rglob("*") if path.is_file()]
    assert len(written) >= 3
    assert not [content for content in written if TOKEN.encode() in content]


@BOTH
def test_two_parts_of_a_set_have_places_of_their_own(hub: Hub, stand_in: StandIn, home: Workspace) -> None:
    stand_in.files = {"a/train.jsonl": b"{}\n", "b/train.jsonl": b"[]\n"}
    first = get(home, hub, folder="a")
    assert [path.name for path in first.iterdir() if path.is_dir()] == ["a"]
    second = get(home, hub, folder="b")
    assert [path.name for path in second.iterdir() if path.is_dir()] == ["b"]
    assert first != second and json.loads((second / RECORD).read_text("utf-8"))["files"] == ["b/train.jsonl"]


@BOTH
def test_a_missing_and_a_gated_set(
    hub: Hub, stand_in: StandIn, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.status = {"": (404, "RepoNotFound")}
    assert f"shows no dataset '{ID}'" in refused(home, hub)
    stand_in.status = {"data/train.jsonl": (403, "GatedRepo")}
    said = refused(home, hub)
    assert "licence" in said and f"/datasets/{ID}" in said
    stand_in.status = {"": (401, "")}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
    said = refused(home, hub)
    assert "does not know the access token" in said and TOKEN not in said
    assert not (home.data / "hub/acme/riddles/default/train").exists()


def test_modelscope_says_in_an_answer_that_there_is_nothing(stand_in: StandIn, home: Workspace) -> None:
    stand_in.page = b'{"Code": 200, "Data": null}'
    assert "shows no dataset" in refused(home, "modelscope")


@BOTH
def test_no_network_and_no_hub(hub: Hub, stand_in: StandIn, home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.page = b"<html>log in</html>"
    assert "does not answer as" in refused(home, hub)
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert "cannot be reached" in refused(home, hub)


@BOTH
def test_what_arrives_other_than_announced_is_thrown_away(hub: Hub, stand_in: StandIn, home: Workspace) -> None:
    stand_in.announced["data/train.jsonl"] = "0" * 64
    assert "is not what" in refused(home, hub)
    assert not list(home.data.rglob("*.jsonl"))


@BOTH
def test_a_set_that_does_not_fit_is_refused_before_its_rows_are_fetched(
    hub: Hub, stand_in: StandIn, home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    assert "a set that fits" in refused(home, hub)
    assert "data/train.jsonl" not in files_of(stand_in)


@BOTH
@pytest.mark.parametrize("name", ["/evil.jsonl", "a\\evil.jsonl", "C:evil.jsonl", "a//evil.jsonl"])
def test_a_name_that_leaves_the_folder_is_refused(hub: Hub, name: str, stand_in: StandIn, home: Workspace) -> None:
    stand_in.files = {name: b"{}\n"}
    assert name in refused(home, hub)
    assert set(files_of(stand_in)) == {""}


@pytest.mark.parametrize("given", ["gpt2", "a/b/c", "a/..", "../b", "a/b..c", "模型/x"])
def test_what_is_no_id_is_never_asked_for(given: str, stand_in: StandIn, home: Workspace) -> None:
    with pytest.raises(UserError, match="Accepted: owner/name"):
        fetch_dataset(home, HubSource("huggingface", given), quiet)
    assert stand_in.asked == []


@pytest.mark.parametrize("parts", [{"subset": ".."}, {"split": "a\\b"}, {"subset": "../../x"}])
def test_a_subset_can_not_lead_elsewhere(parts: dict[str, str], stand_in: StandIn, home: Workspace) -> None:
    assert "can't be a subset or split" in refused(home, "huggingface", **parts)
    assert stand_in.asked == []


# Which files


def chosen(paths: list[str], card: str = "", hub: Hub = "huggingface", **parts: str) -> list[str]:
    return choose(HubSource(hub, ID, **parts), paths, card)


@pytest.mark.parametrize(
    ("paths", "parts", "wanted"),
    [
        (["anything.json"], {}, ["anything.json"]),
        (["b.jsonl", "a.jsonl"], {}, ["a.jsonl", "b.jsonl"]),
        (["train.jsonl", "test.jsonl", "notes.txt"], {}, ["train.jsonl"]),
        (["train.jsonl", "test.jsonl"], {"split": "test"}, ["test.jsonl"]),
        (["train.csv", "dev.csv"], {"split": "validation"}, ["dev.csv"]),
        (["train.csv", "valid.csv"], {"split": "val"}, ["valid.csv"]),
        (["x_training_1.json", "x_eval.json"], {}, ["x_training_1.json"]),
        (["train/1.json", "train/2.json", "test/1.json"], {}, ["train/1.json", "train/2.json"]),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002-2d5a1467fff1081b.parquet",
          "data/test-00000-of-00001.parquet"], {},
         ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002-2d5a1467fff1081b.parquet"]),
        (["data/train_sft-00000-of-00001.parquet", "data/train_gen-00000-of-00001.parquet"], {"split": "train_gen"},
         ["data/train_gen-00000-of-00001.parquet"]),
        (["part-00000-of-00002.json", "part-00001-of-00002.json"], {},
         ["part-00000-of-00002.json", "part-00001-of-00002.json"]),
        (["en/train.jsonl", "zh/train.jsonl"], {"subset": "zh"}, ["zh/train.jsonl"]),
        (["data/en/train-00000-of-00001.parquet", "data/zh/train-00000-of-00001.parquet"], {"subset": "en"},
         ["data/en/train-00000-of-00001.parquet"]),
        (["en_train.jsonl", "english_train.jsonl"], {"subset": "en"}, ["en_train.jsonl"]),
        (["old/train.jsonl", "new/train.jsonl"], {"folder": "new/"}, ["new/train.jsonl"]),
        (["train.json", "train.parquet"], {}, ["train.parquet"]),
        (["train.json", "dataset_infos.json", "README.txt", ".x.json", "_y.json", "sub/.git/z.json"], {}, ["train.json"]),
        (["riddles.py", "train.json"], {}, ["train.json"]),
        (["a.md", "b.md", "notes.txt", "all.csv"], {}, ["all.csv"]),
        (["a.txt", "b.txt"], {}, ["a.txt", "b.txt"]),
    ],
)  # fmt: skip
def test_files_by_their_names(paths: list[str], parts: dict[str, str], wanted: list[str]) -> None:
    assert chosen(paths, **parts) == wanted


def test_the_description_of_an_older_set_is_no_row() -> None:
    assert chosen(["riddles.json", "all.json"], hub="modelscope") == ["all.json"]
    assert chosen(["riddles.json"], hub="modelscope") == ["riddles.json"]


def card(configs: str) -> str:
    return f"---\nlicense: mit\nconfigs:\n{configs}---\n# Riddles\n"


TWO = card(
    "- config_name: easy\n  data_files:\n  - split: train\n    path: easy/*.jsonl\n  - split: test\n    path: [easy/t/a.csv]\n"
    "- config_name: hard\n  data_dir: hard\n  data_files: '**/*.jsonl'\n"
)
PATHS = [
    "easy/1.jsonl",
    "easy/2.jsonl",
    "easy/t/a.csv",
    "easy/t/3.jsonl",
    "hard/1.jsonl",
    "hard/x/y/2.jsonl",
    "train.json",
]


@pytest.mark.parametrize(
    ("written", "parts", "wanted"),
    [
        (TWO, {"subset": "easy"}, ["easy/1.jsonl", "easy/2.jsonl"]),
        (TWO, {"subset": "easy", "split": "test"}, ["easy/t/a.csv"]),
        (TWO, {"subset": "hard"}, ["hard/1.jsonl", "hard/x/y/2.jsonl"]),
        (TWO, {"folder": "hard"}, ["hard/1.jsonl", "hard/x/y/2.jsonl"]),
        (TWO.replace("\n", "\r\n"), {"subset": "easy"}, ["easy/1.jsonl", "easy/2.jsonl"]),
        (TWO.replace("config_name: hard", "config_name: default"), {}, ["hard/1.jsonl", "hard/x/y/2.jsonl"]),
        (TWO.replace("config_name: easy", "config_name: easy\n  default: true"), {}, ["easy/1.jsonl", "easy/2.jsonl"]),
        (card("- config_name: x\n  data_files: ['./easy/1.jsonl', 'hard/?.jsonl']\n"), {}, ["easy/1.jsonl", "hard/1.jsonl"]),
        (card("- config_name: x\n  data_files: {dev: 'easy/[12].jsonl'}\n"), {"split": "dev"},
         ["easy/1.jsonl", "easy/2.jsonl"]),
        (card("- config_name: x\n  data_dir: easy/t\n"), {"split": "train"}, ["easy/t/3.jsonl"]),
        ("---\n: [broken\n---\n", {}, ["train.json"]),
        ("---\nconfigs: 7\n---\n", {}, ["train.json"]),
        ("# no front matter", {}, ["train.json"]),
    ],
)  # fmt: skip
def test_files_by_the_card(written: str, parts: dict[str, str], wanted: list[str]) -> None:
    assert chosen(PATHS, written, **parts) == wanted


@pytest.mark.parametrize(
    ("paths", "written", "parts", "words"),
    [
        (["riddles.py", "x.zip"], "", {}, "only a loading script (riddles.py)"),
        (["x.zip", "y.bin"], "", {}, "only: x.zip, y.bin"),
        ([], "", {}, "only: -"),
        (
            ["train.json", "test.json"],
            "",
            {"split": "dev"},
            "no split 'dev' in subset 'default'. Accepted: test, train.",
        ),
        (["en/train.json", "zh/train.json"], "", {"subset": "fr"}, "no subset 'fr'. Accepted: en, zh."),
        (["en/train.json"], "", {"folder": "fr"}, "in a folder 'fr'. Accepted: en."),
        (PATHS, TWO, {}, "several subsets, and none is chosen. Accepted: easy, hard."),
        (PATHS, TWO, {"subset": "odd"}, "no subset 'odd'. Accepted: easy, hard."),
        (PATHS, TWO, {"subset": "hard", "split": "test"}, "no split 'test' in subset 'hard'. Accepted: train."),
        (PATHS, card("- config_name: x\n  data_files: gone/*.json\n"), {}, "not there or can't be read (gone/*.json)"),
    ],
)
def test_what_is_not_there_is_told(paths: list[str], written: str, parts: dict[str, str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen(paths, written, **parts)
    assert words in str(caught.value)
    assert caught.value.problems[0].key == "dataset"
