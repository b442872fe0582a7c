"""Nothing grows beyond what can be read at once: a file has at most 400 lines, a function at most 60."""

import ast
from functools import cache

from tests.contracts.tree import sources, syntax

FILE_LINES, FUNCTION_LINES = 400, 60
LEAST_FILES, LEAST_FUNCTIONS = 80, 500


@cache
def functions(name: str) -> dict[str, int]:
    """The lines of every function of a module, by its name and line."""
    return {
        f"{node.name}, line {node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(syntax(name))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_enough_was_seen() -> None:
    assert len(sources()) >= LEAST_FILES
    assert sum(len(functions(name)) for name in sources()) >= LEAST_FUNCTIONS


def test_a_file_can_be_read_at_once() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in sources().items()}
    long = {name: count for name, count in lines.items() if count > FILE_LINES}
    assert not long, f"{long}: make each a folder of the same name"


def test_a_function_can_be_read_at_once() -> None:
    every = {f"{name}.{where}": lines for name in sources() for where, lines in functions(name).items()}
    long = {where: lines for where, lines in every.items() if lines > FUNCTION_LINES}
    assert not long, f"{long}: split them"


def test_a_module_says_what_it_is() -> None:
    said = {name: ast.get_docstring(syntax(name)) or "" for name in sources()}
    silent = [name for name, words in said.items() if len(words) < 30 or words[-1] not in ".`"]
    assert not silent, f"{silent} do not open with what they are and what they do not know"
