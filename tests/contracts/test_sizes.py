"""Nothing grows beyond what can be read at once: a file has at most 400 lines, a function at most 60."""

import ast

import pytest

from tests.contracts.tree import sources, syntax

FILE_LINES, FUNCTION_LINES = 400, 60
LEAST_FILES, LEAST_FUNCTIONS = 80, 500


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


@pytest.mark.parametrize("name", sources())
def test_a_file_can_be_read_at_once(name: str) -> None:
    lines = len(sources()[name].read_text("utf-8").splitlines())
    assert lines <= FILE_LINES, f"{name} has {lines} lines: make it a folder of the same name"


@pytest.mark.parametrize("name", sources())
def test_a_function_can_be_read_at_once(name: str) -> None:
    long = {where: lines for where, lines in functions(name).items() if lines > FUNCTION_LINES}
    assert not long, f"{name}: {long}: split them"


@pytest.mark.parametrize("name", sources())
def test_a_module_says_what_it_is(name: str) -> None:
    said = ast.get_docstring(syntax(name))
    assert said and len(said) >= 30 and said[-1] in ".`", (
        f"{name} does not open with what it is and what it does not know"
    )
