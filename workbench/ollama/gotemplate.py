"""A chat template's parts as a TEMPLATE of Ollama: text/template of Go, over .System and .Messages. Knows no Modelfile.

Whatever stands outside of braces is what the model reads, to the last blank: nothing is laid out for the eye. Ollama itself
joins messages of one role that follow each other, and gives all system texts together as .System.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix

from workbench.ollama.pieces import ROUND, Opening, Pieces

WHITE = {1: r'" " "\t" "\n" "\r" "\v" "\f"', 2: r'"\u00a0"', 3: r'"\u3000"'}
"""What is cut off where a family does so, by its length in bytes, since Go cuts text by bytes."""
LAST = "{{ $last := eq (len (slice $.Messages $at)) 1 }}"
THINKS = "or (not $.IsThinkSet) $.Think"
SAID = '{{ $said := false }}{{ range .Messages }}{{ if eq .Role "system" }}{{ $said = true }}{{ end }}{{ end }}'
UNSAFE = re.compile(r'\{{2,}|\{$|"{3,}')


def template_of(pieces: Pieces, opened: str = "") -> str:
    """The TEMPLATE; without ``opened`` at its beginning, which whoever runs the model puts before every text by himself."""
    return _Writing(pieces, opened).template()


@dataclass(frozen=True)
class _Writing:
    """The parts on their way into Go."""

    pieces: Pieces
    opened: str

    def template(self) -> str:
        question = self._question() + self._content("user") + literal(self.pieces.asked) + self._moved()
        roles = when('eq .Role "user"', question) + '{{ else if eq .Role "assistant" }}' + self._answer() + self._moved() + "{{ end }}"
        prompt = when('and $last (ne .Role "assistant")', self._prompt(), end=True)
        turns = "{{ range $at, $turn := .Messages }}" + LAST + roles + prompt + "{{ end }}"
        return self._declared() + ("" if self.pieces.inside else self._opening(self.pieces.head)) + turns

    @property
    def _counts(self) -> bool:
        return ROUND in self.pieces.question

    @property
    def _differs(self) -> bool:
        """Whether the first question is opened otherwise than later ones."""
        return bool(self.pieces.inside) or self.pieces.first != self.pieces.question

    @property
    def _spoken(self) -> bool:
        """Whether an empty system text is something else than none."""
        opening = self.pieces.inside or self.pieces.head
        return opening.blank != opening.without

    def _declared(self) -> str:
        parts = [trim() if self.pieces.trimmed else "", SAID if self._spoken else ""]
        parts += ["{{ $first := true }}" if self._differs else "", '{{ $rounds := "" }}' if self._counts else ""]
        return "".join(parts)

    def _moved(self) -> str:
        return "{{ $first = false }}" if self._differs else ""

    def _question(self) -> str:
        """What opens a question."""
        counted = '{{ $rounds = print $rounds "." }}' if self._counts else ""
        later = literal(self.pieces.question)
        if not self._differs:
            return counted + later
        first = self._opening(self.pieces.inside) if self.pieces.inside else literal(self.pieces.first)
        return counted + when("$first", first) + "{{ else }}" + later + "{{ end }}"

    def _answer(self) -> str:
        """A whole answer. The last one is left open, so that the model goes on with it."""
        pieces = self.pieces
        begin = when("$first", self._opening(pieces.head), end=True) if pieces.inside else ""
        closed = when("not $last", literal(pieces.answered), end=True)
        return begin + literal(pieces.answer) + self._lead() + self._content("assistant") + closed

    def _opening(self, opening: Opening) -> str:
        """The opening, with the system text if there is one; what is the same with and without it stands there once."""
        texts = (opening.before, opening.without, *([opening.blank] if self._spoken else []))
        before, *others = (text.removeprefix(self.opened) for text in texts)
        begin = commonprefix([before, *others])
        before, *others = (text.removeprefix(begin) for text in (before, *others))
        end = _common_end([opening.after, *others])
        after, *others = (text.removesuffix(end) for text in (opening.after, *others))
        system = '{{ template "trim" $.System }}' if "system" in self.pieces.trimmed else "{{ $.System }}"
        parts = when("$.System", literal(before) + system + literal(after))
        parts += "{{ else if $said }}" + literal(others[1]) if self._spoken else ""
        parts += "{{ else }}" + literal(others[0]) if others[0] else ""
        return literal(begin) + parts + "{{ end }}" + literal(end)

    def _content(self, role: str) -> str:
        return '{{ template "trim" .Content }}' if role in self.pieces.trimmed else "{{ .Content }}"

    def _lead(self) -> str:
        """What stands in the last answer alone, before its text.

        Ollama reads the marks of a thought off the texts that stand beside .Thinking in one block.
        """
        thought = self.pieces.thought
        if not thought:
            return when("$last", literal(self.pieces.last), end=True)
        shown = f"{thought.before}{{{{ .Thinking }}}}{thought.after}"
        if thought.none != thought.before + thought.after:
            shown = when(".Thinking", shown) + "{{ else }}" + literal(thought.none) + "{{ end }}"
        forbidden = "{{ else if $last }}" + literal(thought.forbidden) if thought.forbidden else ""
        return when(f"and $last ({THINKS})", shown) + forbidden + "{{ end }}"

    def _prompt(self) -> str:
        asking, thought = self.pieces.prompt, self.pieces.thought
        if not thought or thought.prompt == asking:
            return literal(asking)
        begin = commonprefix([asking, thought.prompt])
        thinks, silent = (literal(text.removeprefix(begin)) for text in (asking, thought.prompt))
        return literal(begin) + when(THINKS, thinks) + "{{ else }}" + silent + "{{ end }}"


def when(condition: str, then: str, end: bool = False) -> str:
    """A text under a condition. With ``end`` the block is closed, and where nothing stands in it there is none."""
    if end and not then:
        return ""
    return f"{{{{ if {condition} }}}}{then}" + ("{{ end }}" if end else "")


def literal(text: str) -> str:
    """Text as it stands in a template: in quotes where Go, or a Modelfile, would read it as something else."""
    return "{{ len $rounds }}".join(_quoted(part) for part in text.split(ROUND))


def trim() -> str:
    """A block that writes its text without the white space around it: it cuts off one character and begins again.

    Go's templates have no arithmetic: a length less one is that of as many blanks without the first, up to a million.
    """
    parts = '{{ if or (eq . "") (gt (len .) 1000000) }}{{ . }}{{ else }}{{ $blank := printf "%*s" (len .) "" }}{{ if false }}'
    for size, white in WHITE.items():
        fits, rest = f"ge (len .) {size}", f"(len (slice $blank {size}))"
        parts += f'{{{{ else if and ({fits}) (eq (slice . 0 {size}) {white}) }}}}{{{{ template "trim" (slice . {size}) }}}}'
        parts += f'{{{{ else if and ({fits}) (eq (slice . {rest}) {white}) }}}}{{{{ template "trim" (slice . 0 {rest}) }}}}'
    return f'{{{{ define "trim" }}}}{parts}{{{{ else }}}}{{{{ . }}}}{{{{ end }}}}{{{{ end }}}}{{{{ end }}}}'


def _common_end(texts: Sequence[str]) -> str:
    return commonprefix([text[::-1] for text in texts])[::-1]


def _quoted(text: str) -> str:
    safe = UNSAFE.sub(lambda found: _action(found[0]), text)
    return "".join(one if one.isprintable() or one == "\n" else _action(one) for one in safe)


def _action(text: str) -> str:
    written = "".join(one if one in "{}" else f"\\U{ord(one):08x}" for one in text)
    return f'{{{{ "{written}" }}}}'
