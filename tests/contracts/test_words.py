"""Sentences that people read are Texts: none is written where it is shown, so that every language has them all.

A rule of thumb over the syntax tree: a literal with a space between letters, handed to something that shows it.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.contracts.tree import sources, syntax

SHOWN = ("label", "value", "info", "placeholder", "title", "description", "message", "choices", "show_label", "submit_btn",
         "stop_btn", "headers")  # fmt: skip
"""Keywords of Gradio's components that a visitor reads."""
SPEAKING = {"gr.Error", "gr.Info", "gr.Warning", "UserError", "Problem", "screen.say", "screen.error", "screen.warn",
            "self.screen.say", "self.screen.error", "self.screen.line", "screen.line", "input", "print"}  # fmt: skip
"""Calls whose arguments are read by a person."""
WHERE = [name for name in sources() if name.startswith(("workbench.ui", "workbench.cli"))]
SENTENCE = re.compile(r"[^\W\d_]{2,}\W*\s+\W*[^\W\d_]{2,}")
LEAST_CALLS = 60


def shown(node: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that a person reads."""
    name = ast.unparse(node.func)
    if name.startswith("gr."):
        yield from (word.value for word in node.keywords if word.arg in SHOWN)
    if name in SPEAKING:
        yield from node.args


def literals(expression: ast.expr) -> Iterator[str]:
    """The text written in an expression itself, of calls inside it only their results being shown."""
    if isinstance(expression, ast.Constant):
        if isinstance(expression.value, str):
            yield expression.value
    elif isinstance(expression, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in expression.values)
    elif isinstance(expression, ast.IfExp | ast.BoolOp | ast.BinOp | ast.Tuple | ast.List | ast.Dict):
        for part in ast.iter_child_nodes(expression):
            if isinstance(part, ast.expr):
                yield from literals(part)


def is_a_sentence(literal: str) -> bool:
    return bool(SENTENCE.search(re.sub(r"<[^>]*>", " ", literal)))


def inline(name: str) -> list[str]:
    """Where the module shows words that are no Text."""
    return [
        f"line {node.lineno}: {literal!r}"
        for node in ast.walk(syntax(name))
        if isinstance(node, ast.Call)
        for argument in shown(node)
        for literal in literals(argument)
        if is_a_sentence(literal)
    ]


def test_the_rule_knows_a_sentence_when_it_sees_one() -> None:
    assert is_a_sentence("No run yet") and is_a_sentence("{} is wrong here") and is_a_sentence("<b>Choose</b> one")
    assert (
        not is_a_sentence("models/tiny") and not is_a_sentence("2 / 5") and not is_a_sentence("<h1 class='big'>A</h1>")
    )
    call = ast.parse("gr.Textbox(label='Who are you?', elem_id='a b')").body[0]
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
    assert [list(literals(one)) for one in shown(call.value)] == [["Who are you?"]]


def test_enough_was_seen() -> None:
    calls = [
        node for name in WHERE for node in ast.walk(syntax(name)) if isinstance(node, ast.Call) and any(shown(node))
    ]
    assert len(calls) >= LEAST_CALLS


@pytest.mark.parametrize("name", WHERE)
def test_what_is_shown_is_a_text(name: str) -> None:
    assert not inline(name), "let a class Say hold these words"
