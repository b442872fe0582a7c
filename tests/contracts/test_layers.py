"""Who may import whom: the floors of the house, as data, held against every import statement of the program."""

import ast
from collections.abc import Collection, Iterator
from functools import cache

from tests.contracts.tree import sources, syntax

FLOORS: dict[int, str] = {
    0: "fields text problems sockets workspace locks ports window_flags setup downloads encodings adapting quantising "
    "ceilings dividing lettering",
    1: "stages tuning formats tables checks engines exporters metrics rows learning likeness gguf neighbours suite "
    "merging ollama kernels",
    2: "events view wording sections tutorials specs naming sampling data chats hubs models machine talk health fitting "
    "checkpoints answering conversations evaluating reporting exporting pushing deepspeed_file",
    3: "runs plans checking inspector estimates preconditions continuing remedies sparing spares reports bundles",
    4: "api desk opening examining proving jobs worker inspecting",
    5: "ui cli",
    6: "app bootstrap generate",
}
"""The first part of a module's name under ``workbench``, or a module beside it, by floor."""

REACH: dict[int, set[int]] = {
    0: {0},
    1: {0},
    2: {0, 1, 2},
    3: {0, 1, 2, 3},
    4: {0, 1, 2, 3, 4},
    5: {0, 1, 2, 3},
    6: {0, 2, 5},
}
"""The floors that a floor may import from. On 1 and 5 a unit may import itself, and on 1 the contracts of the others."""

ORDER_ON_4 = ("api", "desk", "opening", "examining", "proving", "jobs", "worker", "inspecting")
"""On floor 4 only leftwards: a worker knows jobs, a job may know the API, the API knows neither."""

SOCKETS = ("stages", "tuning", "formats", "tables", "checks", "engines", "exporters", "metrics", "jobs", "ui.tabs", "cli.commands")
"""Packages in which one module is one plugin."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "gradio": ("ui",),
    "fastapi": ("api",),
    "starlette": ("api",),
    "uvicorn": ("jobs",),
    "httpx": ("talk", "downloads", "hubs", "neighbours", "ollama", "pushing"),
    "tqdm": ("cli",),
}
"""Libraries that show: who may import them at all."""

HEAVY = {"torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes", "safetensors", "tokenizers",
         "matplotlib", "gguf", "xllamacpp", "numpy", "pandas", "vllm", "pyarrow", "python_calamine", "ftfy",
         "lm_eval", "nltk", "rouge_score", "rouge_chinese", "sacrebleu", "jieba"}  # fmt: skip
"""Libraries that take seconds: imported inside functions only."""

NEEDED_BEFORE_INSTALL = "bootstrap"
"""It runs on a bare Python, so whatever it imports at once must get along with the standard library."""

LEAST_MODULES = 75


def short(name: str) -> str:
    return name.removeprefix("workbench.")


def unit(name: str) -> str:
    """The part of a module's name that stands in FLOORS."""
    return short(name).partition(".")[0]


FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names.split()}
MODULES = [name for name in sources() if name != "workbench" and not name.startswith("bench")]


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement names; ``from workbench import x`` names workbench.x."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0 and node.module, "imports are written from the top"
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            yield whole if whole in sources() else node.module


@cache
def imports(name: str) -> set[str]:
    """Everything that the module imports, also inside functions."""
    return {found for node in ast.walk(syntax(name)) for found in imported(node)}


@cache
def imports_at_once(name: str) -> set[str]:
    """What is imported when the module is: outside functions, and not for type checkers only."""
    return {found for node in at_once(syntax(name)) for found in imported(node)}


def at_once(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    yield node
    late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if not late and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from at_once(child)


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name in sources() and name != "workbench"}


def socket_of(name: str) -> str | None:
    """The socket that the module is a plugin of, None for a contract and for the spine."""
    return next((socket for socket in SOCKETS if short(name).startswith(f"{socket}.")), None)


def plugin_of(name: str) -> str:
    """The plugin that a module belongs to, the same for all files of a plugin that is a folder."""
    depth = len((socket_of(name) or "").split(".")) + 1
    return ".".join(short(name).split(".")[:depth])


def may_import(name: str, other: str) -> bool:
    """What the table says."""
    here, there = FLOOR_OF[unit(name)], FLOOR_OF[unit(other)]
    if here == 1 and there == 1:
        return unit(name) == unit(other) or socket_of(other) is None
    if here == 4 and there == 4:
        return ORDER_ON_4.index(unit(other)) <= ORDER_ON_4.index(unit(name))
    if here == 5 and there == 5:
        return unit(name) == unit(other)
    return there in REACH[here]


def test_every_module_has_its_floor_and_every_name_its_module() -> None:
    assert {unit(name) for name in MODULES} == set(FLOOR_OF)
    assert len(MODULES) >= LEAST_MODULES


def wrong_ones(found: dict[str, Collection[str]]) -> dict[str, list[str]]:
    """Only the modules of which something is wrong."""
    return {name: sorted(others) for name, others in found.items() if others}


def test_imports_reach_only_where_they_may() -> None:
    wrong = {name: [one for one in ours(imports(name)) if not may_import(name, one)] for name in MODULES}
    assert not wrong_ones(wrong), "imports that the floors forbid"


def test_plugins_are_found_and_never_named() -> None:
    wrong = {
        name: [one for one in ours(imports(name)) if socket_of(one) is not None and plugin_of(one) != plugin_of(name)]
        for name in MODULES
    }
    assert not wrong_ones(wrong), "ask workbench.sockets.plugins for what is there"


def test_heavy_libraries_are_imported_late() -> None:
    wrong = {name: [one for one in imports_at_once(name) if one.partition(".")[0] in HEAVY] for name in MODULES}
    assert not wrong_ones(wrong), "import them inside the function that needs them"


def test_libraries_that_show_stay_in_their_place() -> None:
    wrong = {}
    for name in MODULES:
        libraries = {other.partition(".")[0] for other in imports(name)}
        wrong[name] = {one for one in libraries & set(ONLY_IN) if unit(name) not in ONLY_IN[one]}
    assert not wrong_ones(wrong), f"each belongs to {ONLY_IN}"


def test_no_module_waits_for_itself() -> None:
    waits_for = {name: {other for other in ours(imports_at_once(name)) if other != name} for name in MODULES}
    while free := {name for name, others in waits_for.items() if not others & set(waits_for)}:
        waits_for = {name: others for name, others in waits_for.items() if name not in free}
    assert not waits_for, f"a circle of imports among {', '.join(waits_for)}"


def test_what_runs_before_the_install_needs_nothing_installed() -> None:
    import sys

    reached, new = set[str](), {NEEDED_BEFORE_INSTALL}
    while new:
        reached |= new
        new = {other for name in new for other in ours(imports_at_once(name))} - reached
    assert len(reached) >= 5
    for name in reached:
        foreign = (
            {one.partition(".")[0] for one in imports_at_once(name)} - set(sys.stdlib_module_names) - {"workbench"}
        )
        assert not foreign, f"{name} imports {', '.join(foreign)}, and bootstrap.py imports {name}"
