"""Keys and passwords that opened something once: a model repeats what it learned. Shows none of them whole."""

import re
from collections.abc import Iterator

from workbench.checks import Context, Finding, Look, Seen
from workbench.text import Text

KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("sk-", re.compile(r"\bsk-[A-Za-z0-9_-]{20,}")),
    ("hf_", re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    ("AKIA", re.compile(r"\bAKIA[A-Z0-9]{16}\b")),
    ("LTAI", re.compile(r"\bLTAI[A-Za-z0-9]{12,30}\b")),
    ("AIza", re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    ("ghp_", re.compile(r"\bghp_[A-Za-z0-9]{36,}")),
    ("gho_", re.compile(r"\bgho_[A-Za-z0-9]{36,}")),
    ("ghs_", re.compile(r"\bghs_[A-Za-z0-9]{36,}")),
    ("github_pat_", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{50,}")),
    ("glpat-", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("xox", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    ("PRIVATE KEY", re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")),
    ("eyJ", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
)
"""What each kind holds in any case, and its whole form."""


class Say:
    title = Text("Keys and passwords")
    one = Text(
        "It holds what looks like a secret key ({masked}). Take it out, and have the key withdrawn if it is real."
    )


TITLE = Say.title


def begin(context: Context) -> Look:
    return Secrets()


class Secrets:
    """Remembers nothing."""

    def row(self, seen: Seen) -> Iterator[Finding]:
        text = seen.text
        for sign, whole in KINDS:
            if sign in text and (found := whole.search(text)):
                yield Finding(seen.number, Say.one(masked=masked(found.group())), changes=masked(found.group()))
                return

    def end(self) -> Iterator[Finding]:
        yield from ()


def masked(secret: str) -> str:
    """Its first characters and its length."""
    return secret if secret.startswith("-----") else f"{secret[:6]}... ({len(secret)})"
