"""What the pages say is there is there: paths, links, the tree, commands and keys."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.tree import NOT_OURS, ROOT, texts
from workbench.cli import commands
from workbench.sockets import plugin_names
from workbench.specs import TrainSpec

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
READMES = ("README.md", "README_zh.md")
SUFFIXES = (".py", ".md", ".yaml", ".yml", ".json", ".jsonl", ".txt", ".toml", ".sh", ".bat", ".jinja", ".log", ".png")
NOT_HERE_YET = {"spec.yaml", "events.jsonl", "worker.log", "training_loss.png", "adapter_config.json", "contents.json", "checkpoint-N/",
                ".saving/", "their.yaml"}  # fmt: skip
"""What a run makes, or stands for a reader's own file."""
MADE = ("saves/", "models/", "cache/")
EXAMPLE_STEMS = {"x", "xx"}
HOME_PATHS = re.compile(r"/home/\w|/root/|/Users/\w|C:\\Users\\|/tmp/\w")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|lorem ipsum)\b")
MAY_NAME_PATHS = ("tests/",)
"""Tests may speak of the machines of others."""
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def blocks(page: Path) -> list[str]:
    """The code blocks that have no language: commands and trees."""
    return re.findall(r"```\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def named_paths(page: Path) -> Iterator[str]:
    """Words in back-ticks that read like a path of this tree."""
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        for word in code.split():
            path = word.removeprefix("./")
            looks = re.fullmatch(r"\.?[\w-][\w./-]*", path) and (path.endswith((*SUFFIXES, "/")))
            if (
                looks
                and path not in NOT_HERE_YET
                and not path.startswith(MADE)
                and Path(path).stem not in EXAMPLE_STEMS
            ):
                yield path


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def headings(page: Path) -> list[tuple[int, str]]:
    return [(len(marks), words) for marks, words in re.findall(r"^(#+) (.+)$", prose(page), re.MULTILINE)]


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def test_the_pages_are_there() -> None:
    names = {page.name for page in PAGES}
    assert {*READMES, "CONTRIBUTING.md", "CHANGELOG.md", "fields.md", "run-folder.md", "adding.md"} <= names
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    assert sum(len(list(named_paths(page))) for page in PAGES) >= 40


@each_page
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    homes = (ROOT, ROOT / "workbench", ROOT / "data", page.parent)
    missing = [path for path in named_paths(page) if not any((home / path).exists() for home in homes)]
    assert missing == []


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, place = link.partition("#")
        assert "://" not in link, f"{link}: the pages must be whole without a network"
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not place or place in {slug(words) for _, words in headings(target)}, link


@pytest.mark.parametrize("name", READMES)
def test_the_tree_is_the_tree(name: str) -> None:
    (tree,) = (block for block in blocks(ROOT / name) if block.startswith("app.py"))
    seen: set[str] = set()
    folder = ""
    for line in tree.splitlines():
        *names, caption = re.split(r"\s{2,}", line.strip())
        assert names and caption, f"no caption: {line}"
        folder = "" if not line.startswith(" ") else folder
        seen |= {f"{folder}{one}" for one in names}
        folder = folder or (names[0] if names[0].endswith("/") else "")
    there = {f"{path.name}/" if path.is_dir() else path.name for path in ROOT.iterdir() if path.name[0] != "."}
    inside = {
        f"workbench/{path.name}{'/' if path.is_dir() else ''}"
        for path in (ROOT / "workbench").iterdir()
        if path.name not in ("__init__.py", "__pycache__")
    }
    ignored = {f"{one}/" for one in NOT_OURS}
    assert sorted(seen - there - inside) == []
    assert sorted((there | inside) - seen - ignored) == []


def test_both_readmes_have_the_same_sections_pictures_and_links() -> None:
    english, chinese = (ROOT / name for name in READMES)
    assert [depth for depth, _ in headings(english)] == [depth for depth, _ in headings(chinese)]
    assert len(blocks(english)) == len(blocks(chinese))
    here = [link.replace("README_zh", "README").replace("_en.", "_zh.") for link in links(english)]
    assert sorted(here) == sorted(links(chinese))


@pytest.mark.parametrize("name", READMES)
def test_commands_and_keys_of_the_readme_are_known(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    called = set(re.findall(r"^\./start\.sh ([a-z]+)", "\n".join(blocks(ROOT / name)), re.MULTILINE))
    assert called == set(plugin_names(commands))
    for example in re.findall(r"examples/\S+\.yaml", text):
        assert (ROOT / example).is_file()
    for key in re.findall(r" (\w+)(?:\.\w+)?=\S", "\n".join(blocks(ROOT / name))):
        assert key in TrainSpec.knobs()


def test_nothing_speaks_of_the_machine_it_was_written_on() -> None:
    seen = 0
    for path in texts():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
        seen += 1
        if not name.startswith(MAY_NAME_PATHS):
            assert HOME_PATHS.search(text) is None, name
            assert UNFINISHED.search(text) is None, name
    assert seen >= 150
