"""A chat template taken apart by what it writes, and put together again to see that nothing was overlooked.

It is asked for conversations of a few marked words, and what stands between the words are its parts. Knows no Jinja.
"""

from collections.abc import Iterator
from os.path import commonprefix

from workbench.ollama import Messages, Write
from workbench.ollama.pieces import ROUND, Opening, Pieces, Thought
from workbench.problems import UserError
from workbench.text import Text, verbatim

SYSTEM, QUESTION, ANSWER, AGAIN, THEN, THIRD, THOUGHT = (f"\ufdd3{letter}\ufdd3" for letter in "SQAqaRT")
"""Words that no template writes by itself."""
GAP = "\n\n"
"""Between a system text and the first question where the family has no place for one: somebody may give one all the same."""


class Say:
    refused = Text(
        "The chat template can't be written for Ollama: {reason} Accepted: one whose turns are written one after another. "
        "Choose a named template, or write the TEMPLATE by hand."
    )
    other = Text("it writes '{wanted}' where its parts give '{found}'.")
    lost = Text("it leaves out or changes what is said.")


class Unexplained(UserError):
    """The template is not made of such parts."""


class _Lost(Exception):
    """A word is not in the text, or not where it was expected."""


def take_apart(write: Write) -> Pieces:
    """The template's parts; Unexplained where they don't make what it writes."""
    try:
        found = _pieces(write)
    except (_Lost, ValueError) as error:
        reason = Say.lost() if isinstance(error, _Lost) else verbatim(str(error))
        raise Unexplained(Say.refused(reason=reason), key="template") from error
    for messages, ask, thinking in trials(thoughts=found.thought is not None):
        try:
            wanted = write(messages, ask, thinking)
        except ValueError:  # it has no place for this conversation, so nobody will miss it
            continue
        if (made := found.text(messages, ask, thinking)) != wanted:
            around = slice(max(0, len(commonprefix([made, wanted])) - 20), len(commonprefix([made, wanted])) + 40)
            raise Unexplained(Say.refused(reason=Say.other(wanted=wanted[around], found=made[around])), key="template")
    return found


def _pieces(write: Write) -> Pieces:
    alone, asked = _parts(write([_user(QUESTION)], False, None), QUESTION)
    prompt = write([_user(QUESTION)], True, None).removeprefix(alone + QUESTION + asked)
    told = [_user(QUESTION), _assistant(ANSWER), _user(AGAIN), _assistant(THEN), _user(THIRD)]
    _, into, on, _, further, _ = _parts(write(told, False, None), QUESTION, ANSWER, AGAIN, THEN, THIRD)
    _, lead, answered = _parts(write(told[:2], False, None), QUESTION, ANSWER)
    answer = _after(into, asked)
    question = _counted(_after(on, answered), _after(further, answered))
    inside = _opening(write, _user(QUESTION), "") if _hears_system(write) else Opening(alone, GAP, alone, alone)
    try:
        head = _opening(write, _assistant(ANSWER), answer)
    except (ValueError, _Lost):  # the system text has its place in the first question alone
        head = None
    first = inside.without.removeprefix(head.without) if head else ""
    if head and inside == Opening(head.before, head.after + first, head.without + first, head.blank + first):
        place = None
    else:
        place = inside
        head = Opening(inside.before, inside.after + asked, _bare(write, inside, question, answer), inside.blank + asked)
    return Pieces(
        head=head,
        first=first,
        inside=place,
        question=question,
        asked=asked,
        answer=answer,
        last=_after(lead, asked + answer),
        answered=answered,
        prompt=prompt,
        trimmed=_trimmed(write),
        thought=_thought(write, asked + answer),
    )


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _assistant(content: str, thought: str = "") -> dict[str, str]:
    return {"role": "assistant", "content": content} | ({"reasoning_content": thought} if thought else {})


def _system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


def _parts(text: str, *words: str) -> list[str]:
    """What stands before, between and after the words."""
    parts = []
    for word in words:
        part, found, text = text.partition(word)
        if not found:
            raise _Lost
        parts.append(part)
    return [*parts, text]


def _after(text: str, beginning: str) -> str:
    if not text.startswith(beginning):
        raise _Lost
    return text[len(beginning) :]


def _counted(second: str, third: str) -> str:
    """What opens a later question, with a mark where its number stands, if that is all that differs."""
    if second == third:
        return second
    marked = second.replace("2", ROUND)
    if marked != third.replace("3", ROUND):
        raise _Lost
    return marked


def _hears_system(write: Write) -> bool:
    """Whether there is a place for a system text; some families refuse one."""
    try:
        write([_system(SYSTEM), _user(QUESTION)], False, None)
    except ValueError:
        return False
    return True


def _opening(write: Write, turn: dict[str, str], turned: str) -> Opening:
    """What stands before such a first turn, without ``turned``, which opens every turn of that role."""
    more = [_user(AGAIN)] if turn["role"] == "assistant" else []

    def before(*system: dict[str, str]) -> str:
        text, _ = _parts(write([*system, turn, *more], False, None), turn["content"])
        if not text.endswith(turned):
            raise _Lost
        return text.removesuffix(turned)

    start, after = _parts(before(_system(SYSTEM)), SYSTEM)
    return Opening(start, after, before(), before(_system("")))


def _bare(write: Write, inside: Opening, question: str, answer: str) -> str:
    """What stands before an answer that comes first and has no system text before it."""
    try:
        text, _, _ = _parts(write([_assistant(ANSWER), _user(AGAIN)], False, None), ANSWER, AGAIN)
        return text.removesuffix(answer)
    except (ValueError, _Lost):
        return inside.without.removesuffix(question)


def _trimmed(write: Write) -> frozenset[str]:
    """The roles whose texts lose the white space around them."""
    wide = {"system": f" \n{SYSTEM}\n ", "user": f" \n{QUESTION}\n ", "assistant": f" \n{ANSWER}\n "}
    told = [{"role": role, "content": content} for role, content in wide.items()][not _hears_system(write) :]
    text = write([*told, _user(AGAIN)], False, None)
    return frozenset(one["role"] for one in told if one["content"] not in text)


def _thought(write: Write, turned: str) -> Thought | None:
    """What stands around the last thought, None in a family that keeps every thought, or none."""
    told = [_user(QUESTION), _assistant(ANSWER, THOUGHT)]
    last = write(told, False, None)
    if THOUGHT not in last or THOUGHT in write([*told, _user(AGAIN)], False, None):
        return None
    _, before, after, _ = _parts(last, QUESTION, THOUGHT, ANSWER)
    lead, forbidden = (_parts(write(told[:1] + [_assistant(ANSWER)], False, thinks), QUESTION, ANSWER)[1] for thinks in (None, False))
    closed, asking = (write(told[:1], ask, False) for ask in (False, True))
    return Thought(_after(before, turned), after, _after(lead, turned), _after(forbidden, turned), asking.removeprefix(closed))


def trials(thoughts: bool) -> Iterator[tuple[Messages, bool, bool | None]]:
    """Conversations in which a template could do otherwise than its parts say: messages, whether it ends where the model is
    to answer, whether it may think. ``thoughts``: some bring the model's thoughts."""
    for thinking in (None, False) if thoughts else (None,):
        for messages in [*conversations(), *(_thoughtful()[thinking is False :] if thoughts else [])]:
            yield messages, messages[-1]["role"] != "assistant", thinking
        yield [_user("Hello")], False, thinking


def conversations() -> list[Messages]:
    """With and without system text, short and long, with white space, braces, other scripts and nothing at all."""
    talk = [_user("One"), _assistant("Two"), _user("三 {{ .System }}"), _assistant("{四}"), _user("f\u00fcnf")]
    odd = [_user(" a\n"), _assistant("\n b \n\n"), _user("\u3000c "), _assistant(" d"), _user("\te")]
    return [
        [_user("Hello")],
        [_system("Be brief."), _user("Hello")],
        [_system(""), _user("Hello")],
        talk,
        [_system("你是助手。\n{% if x %}"), *talk],
        talk[:4],
        odd,
        [_system("  S \n"), *odd],
        [_user(""), _assistant(""), _user("")],
        [_system("S"), _assistant("Hi!"), _user("Hello")],
        [_assistant("Hi!"), _user("Hello"), _assistant("")],
    ]


def _thoughtful() -> list[Messages]:
    """The first has a thought in its last answer, of which families think differently where thinking is off."""
    return [
        [_system("S"), _user("One"), _assistant("Two"), _user("Three"), _assistant("", "for\nthis")],
        [_user("One"), _assistant("Two", "because"), _user("Three")],
    ]
