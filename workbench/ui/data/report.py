"""A report on a set as a page: its headline, findings by check, each with its row, its reason and the proposed mend."""

import html
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench.checks import Weight
from workbench.data.reports import Found, Report, titles
from workbench.text import Locale, Text
from workbench.ui.data.room import LONGEST_TEXT, pager, press, visible

PAGE_FINDINGS = 10
AROUND = 60
"""Characters that are shown on either side of a change."""
ALL = "all"


class Say:
    nothing = Text("Nothing to mend was found.")
    all_groups = Text("All")
    mends = Text("{count} can be mended")
    span = Text("{first} to {last} of {count}")
    some = Text("The first {kept} of {count} are shown. 'Accept all mends' takes the others too.")
    accept = Text("Accept")
    accept_these = Text("Accept these {count}")
    accept_none = Text("Accept none of these")
    remove = Text("Proposed: leave this row out.")
    before = Text("now")
    after = Text("mended")
    error = Text("error")
    warning = Text("warning")
    hint = Text("hint")
    whole_set = Text("The whole set")
    good = Text("{good} % of the answers are marked good, {bad} % bad.")


WEIGHTS: Mapping[Weight, Text] = {"error": Say.error, "warning": Say.warning, "hint": Say.hint}
ORDER: Sequence[Weight] = ("error", "warning", "hint")


@dataclass(frozen=True)
class Seen:
    """What a page shows of a report: one check or all, which page, and what was accepted."""

    group: str = ""
    page: int = 0
    accepted: Collection[tuple[int, str]] | str = ()
    """All, or the row and the check of each; row 0 stands for every row of the check."""
    refused: Collection[tuple[int, str]] = ()
    """What is none the less not to be made."""

    def accepts(self, found: Found) -> bool:
        """Whether this mend is to be made."""
        if (found.number, found.check) in self.refused:
            return False
        asked = {(found.number, found.check), (0, found.check)}
        return self.accepted == ALL or any(one in self.accepted for one in asked)


def report_page(locale: Locale, report: Report, seen: Seen) -> str:
    """The whole report."""
    head = f'<h3 class="headline">{html.escape(locale(report.headline))}</h3>{shares(report)}'
    if report.label_shares:
        parts = {name: f"{100 * share:.0f}" for name, share in report.label_shares.items()}
        head += f'<p class="quiet">{html.escape(locale(Say.good(**parts)))}</p>'
    if not report.findings:
        return f'{head}<p class="empty">{html.escape(locale(Say.nothing))}</p>'
    return head + groups(locale, report, seen) + findings(locale, report, seen)


def shares(report: Report) -> str:
    """Kept, mended and excluded as parts of one bar."""
    rows = max(1, report.rows)
    parts = (("kept", report.kept), ("mended", report.mended), ("excluded", report.excluded))
    return (
        '<div class="shares" aria-hidden="true">'
        + "".join(f'<i class="{kind}" style="width: {100 * count / rows:.2f}%"></i>' for kind, count in parts if count)
        + "</div>"
    )


def groups(locale: Locale, report: Report, seen: Seen) -> str:
    """A button for each check that found something, the gravest first."""
    named, gravest = titles(), weight_of(report)
    order = sorted(report.counts, key=lambda check: (ORDER.index(gravest[check]), -report.counts[check]))
    total = sum(report.counts.values())
    items = [_group(locale, "", locale(Say.all_groups), total, 0, "", not seen.group)]
    for check in order:
        title = locale(named[check]) if check in named else check
        mends = report.mends.get(check, 0)
        items.append(_group(locale, check, title, report.counts[check], mends, gravest[check], seen.group == check))
    return f'<div class="groups">{"".join(items)}</div>'


def weight_of(report: Report) -> dict[str, Weight]:
    """The gravest weight of each check's findings."""
    gravest: dict[str, Weight] = dict.fromkeys(report.counts, "hint")
    for found in report.findings:
        if ORDER.index(found.weight) < ORDER.index(gravest[found.check]):
            gravest[found.check] = found.weight
    return gravest


def _group(locale: Locale, check: str, title: str, count: int, mends: int, weight: str, chosen: bool) -> str:
    more = f"<small>{html.escape(locale(Say.mends(count=f'{mends:,}')))}</small>" if mends else ""
    return (
        f'<button type="button" class="{weight}" data-action="group" data-at="{html.escape(check, quote=True)}" '
        f'aria-pressed="{"true" if chosen else "false"}"><b>{count:,}</b> {html.escape(title)}{more}</button>'
    )


def of_group(report: Report, group: str) -> list[Found]:
    """The findings of one check, or all."""
    return [found for found in report.findings if not group or found.check == group]


def findings(locale: Locale, report: Report, seen: Seen) -> str:
    """A page of the chosen check's findings."""
    found = of_group(report, seen.group)
    count = report.counts[seen.group] if seen.group else sum(report.counts.values())
    pages = -(-len(found) // PAGE_FINDINGS)
    first = min(seen.page, pages - 1) * PAGE_FINDINGS
    page = found[first : first + PAGE_FINDINGS]
    told = Say.span(first=f"{first + 1:,}", last=f"{first + len(page):,}", count=f"{len(found):,}")
    turning = pager(locale, first // PAGE_FINDINGS, pages, locale(told))
    more = ""
    if len(found) < count:
        more = f'<p class="quiet">{html.escape(locale(Say.some(kept=f"{len(found):,}", count=f"{count:,}")))}</p>'
    shown = "".join(finding(locale, one, seen.accepts(one)) for one in page)
    return f'<div class="turning">{turning}{_accept_group(locale, report, found, seen)}</div>{more}{shown}'


def _accept_group(locale: Locale, report: Report, found: Sequence[Found], seen: Seen) -> str:
    mendable = [one for one in found if one.can_mend]
    if not mendable:
        return ""
    if all(seen.accepts(one) for one in mendable):
        return press(locale, Say.accept_none, "refuse", seen.group)
    words = locale(Say.accept_these(count=f"{len(mendable):,}"))
    at = html.escape(seen.group, quote=True)
    return f'<button type="button" data-action="accept-group" data-at="{at}">{html.escape(words)}</button>'


def finding(locale: Locale, found: Found, accepted: bool) -> str:
    """One finding: where, why, the row, and what is proposed."""
    place = f"{found.number:,}" if found.row else locale(Say.whole_set)
    box = ""
    if found.can_mend:
        at = html.escape(json.dumps([found.number, found.check]), quote=True)
        mark = " checked" if accepted else ""
        label = f"{html.escape(locale(Say.accept))}"
        box = f'<label class="accept"><input type="checkbox" data-action="accept" data-at="{at}"{mark}> {label}</label>'
    weight = WEIGHTS[found.weight]
    return (
        f'<article class="one finding {found.weight}"><header><span class="number">{place}</span>'
        f'<span class="state">{html.escape(locale(weight))}</span>'
        f'<span class="why">{html.escape(locale(found.reason))}</span>{box}</header>{proposal(locale, found)}</article>'
    )


def proposal(locale: Locale, found: Found) -> str:
    """Before and after where a mend is proposed, else the row as it stands."""
    if found.mend is not None:
        return before_after(locale, found.row, found.mend)
    removing = f'<p class="removing">{html.escape(locale(Say.remove))}</p>' if found.remove else ""
    place = f"<mark>{visible(found.changes, LONGEST_TEXT)}</mark>" if found.changes else ""
    return (
        f'{removing}{place}<pre class="as-is">{visible(found.row, LONGEST_TEXT, locale)}</pre>' if found.row else place
    )


def before_after(locale: Locale, row: str, mend: str) -> str:
    """What changes, column by column where both are whole JSON objects, else as text."""
    lines = []
    for column, before, after in changes(row, mend):
        cut_before, cut_after = marked(before, after)
        lines.append(
            f'<tr><th>{html.escape(column)}</th><td class="before">{cut_before}</td><td class="after">{cut_after}</td></tr>'
        )
    now, then = html.escape(locale(Say.before)), html.escape(locale(Say.after))
    head = f"<thead><tr><th></th><th>{now}</th><th>{then}</th></tr></thead>"
    return f'<table class="mends">{head}<tbody>{"".join(lines)}</tbody></table>'


def changes(row: str, mend: str) -> list[tuple[str, str, str]]:
    """(column, before, after) of every column that differs."""
    old, new = _object(row), _object(mend)
    if old is None or new is None:
        return [("", row, mend)]
    columns = list(dict.fromkeys([*old, *new]))
    return [(name, _text(old, name), _text(new, name)) for name in columns if old.get(name) != new.get(name)] or [
        ("", row, mend)
    ]


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _text(row: Mapping[str, Any], name: str) -> str:
    if name not in row:
        return ""
    value = row[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def marked(before: str, after: str) -> tuple[str, str]:
    """Both texts with what differs marked, and of what they share only the neighbourhood."""
    most = min(len(before), len(after))
    start = next((place for place in range(most) if before[place] != after[place]), most)
    end = next((place for place in range(most - start) if before[-1 - place] != after[-1 - place]), most - start)
    lead, trail = before[:start], before[len(before) - end :]
    lead = f"...{lead[-AROUND:]}" if len(lead) > AROUND else lead
    trail = f"{trail[:AROUND]}..." if len(trail) > AROUND else trail
    gone, come = before[start : len(before) - end], after[start : len(after) - end]

    def piece(tag: str, text: str) -> str:
        inner = f"<{tag}>{visible(text, LONGEST_TEXT)}</{tag}>" if text else ""
        return f"{visible(lead)}{inner}{visible(trail)}"

    return piece("del", gone), piece("ins", come)
