"""The verdict of a proof: a light in word and colour, its figures, each prompt with both answers. Knows no engine.

Everything that people and models wrote comes in as text and goes out escaped.
"""

import html
from collections.abc import Sequence

from workbench.exporting.proof import KINDS, Compared, Proof, percent, reasons_told, remarks, verdict
from workbench.text import Locale, Text
from workbench.ui.data.room import quiet
from workbench.ui.evaluating.progress import fold, said
from workbench.ui.evaluating.samples import marked, text


class Say:
    title = Text("Proof")
    proved = Text("proved")
    not_proved = Text("not proved")
    missing = Text("not there")
    none = Text("No proof lies beside the export, or it can't be read. Press Resume, or export anew.")
    coming = Text("The verdict stands here once the prompts were asked of both.")
    prompts = Text("The prompts: {count}")
    here = Text("here")
    there = Text("exported")
    same = Text("the same answer")
    alike = Text("{share} of the tokens alike")
    other_prompt = Text("the prompt becomes other tokens")
    cut = Text("cut off at the longest answer")
    goes_on = Text("does not stop where it stopped here")


def proof_part(locale: Locale, proof: Proof | None, what: str, going: bool) -> str:
    """The verdict with its evidence; a sentence where there is none."""
    if proof is None:
        return quiet(locale(Say.coming)) if going else _lit(locale, "grey", Say.missing, f"<p>{said(locale, Say.none)}</p>")
    sentences = [verdict(proof, what), *([] if proof.proved else reasons_told(proof)[1:])]
    lines = "".join(f"<p>{html.escape(locale(one))}</p>" for one in sentences)
    facts = "".join(f"<li>{html.escape(locale(one))}</li>" for one in remarks(proof))
    told = lines + (f'<ul class="facts">{facts}</ul>' if facts else "") + _prompts(locale, proof.compared)
    return _lit(locale, "green" if proof.proved else "red", Say.proved if proof.proved else Say.not_proved, told)


def _lit(locale: Locale, colour: str, word: Text, told: str) -> str:
    """A light beside what is told; ``told`` is HTML."""
    return (
        f'<section class="card proof"><div class="row"><div class="side"><div class="lit"><h4>{said(locale, Say.title)}</h4>'
        f'<span class="light {colour}">{said(locale, word)}</span></div><div class="told">{told}</div></div></div></section>'
    )


def _prompts(locale: Locale, compared: Sequence[Compared]) -> str:
    """Every prompt in a fold of its own, so that both answers are one press away."""
    if not compared:
        return ""
    return f"<h5>{html.escape(locale(Say.prompts(count=len(compared))))}</h5>" + "".join(
        fold(f"prompt-{at}", _title(locale, one), _answers(locale, one)) for at, one in enumerate(compared)
    )


def _title(locale: Locale, one: Compared) -> str:
    """The prompt, and in a word how it went."""
    words = [Say.same() if one.same_answer else Say.alike(share=percent(one.same / max(1, one.tokens)))]
    words += [] if one.same_prompt else [Say.other_prompt()]
    words += [Say.goes_on()] if one.ending == "ignored" else []
    kind = "same" if one.same_answer and one.same_prompt else "differs"
    told = " · ".join(locale(word) for word in words)
    return f'<span class="asked">{html.escape(one.prompt)}</span> <span class="how {kind}">{html.escape(told)}</span>'


def _answers(locale: Locale, one: Compared) -> str:
    """Both answers, what only one of them says marked."""
    same = one.here.text == one.there.text
    drawn = (text(locale, one.here.text), text(locale, one.there.text)) if same else marked(one.here.text, one.there.text, locale)
    sides = ((Say.here, drawn[0], one.here.finish), (Say.there, drawn[1], one.there.finish))
    cells = "".join(
        f"<div><dt>{said(locale, head)}</dt><dd>{words or text(locale, '')}{_cut(locale, finish)}</dd></div>"
        for head, words, finish in sides
    )
    kind = f'<p class="quiet">{said(locale, KINDS[one.kind])}</p>' if one.kind in KINDS else ""
    return f'{kind}<div class="shown"><dl>{cells}</dl></div>'


def _cut(locale: Locale, finish: str) -> str:
    return f'<span class="cut">{said(locale, Say.cut)}</span>' if finish == "length" else ""
