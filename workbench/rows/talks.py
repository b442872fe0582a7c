"""A row whose conversation is a column of messages: with an answer, two to compare, or a label. Knows no format."""

from workbench.formats import Layout, Row, Sample
from workbench.rows.messages import turns_in
from workbench.rows.pairs import labelled, preference, with_system
from workbench.rows.tools import tools_in
from workbench.rows.values import Wrong, no_media
from workbench.text import Text


class Say:
    nothing_learned = Text(
        "No answer of '{column}' counts: every weight is 0. Accepted: at least one above 0. Set it, or take the row out."
    )


def talk(row: Row, layout: Layout) -> Sample:
    """The sample of a column of messages."""
    names = layout.columns
    no_media(row, layout)
    if layout.ranking:
        asked = turns_in(row, names["messages"], layout.tags, "question") if row.get(names["messages"]) else []
        return preference(row, layout, asked, names["messages"])
    turns = turns_in(row, names["messages"], layout.tags, "whole")
    if not any(turn.weight for turn in turns if turn.role == "assistant"):
        raise Wrong(Say.nothing_learned(column=names["messages"]))
    turns = with_system(row, layout, turns)
    return Sample(turns, tools_in(row, names["tools"]), label=labelled(row, layout))
