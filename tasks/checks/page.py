"""Data Docs as self-contained pages: no script, no remote asset, no tracker, no time of the run."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Mapping
from html.parser import HTMLParser
from pathlib import Path

from markupsafe import Markup

from tasks.checks.metric import Metric
from tasks.pages.numbers import moment
from tasks.pages.template import fill

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "col", "wbr", "area", "base", "embed", "source", "track"})
#: Left out with all they hold.
_DROPPED = frozenset({"script", "style", "nav", "footer", "head", "button", "form", "label", "iframe", "object", "svg", "video", "audio"})
_SIDEBAR = "col-lg-2"
_KEPT = frozenset({"class", "id", "colspan", "rowspan"})
_ICONS = {"text-success": ("pass", "passed"), "text-danger": ("fail", "failed"), "text-warning": ("warn", "warning")}
_STATES = {"Failed", "Succeeded"}
#: The page's heading is the first; Great Expectations begins at the fourth.
_HEADINGS = {"h4": "h2", "h5": "h2", "h6": "h3"}
_EMPTY_HEAD = re.compile(r"<thead>\s*<tr>\s*(<th>\s*</th>\s*)+</tr>\s*</thead>\s*")


class _Distiller(HTMLParser):
    """Keeps the words and tables of one page, in the order they stand."""

    def __init__(self, links: Mapping[str, str], drop: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links = links
        self.drop = drop
        self.out: list[str] = []
        self.open: list[str] = []
        self.muted = 0
        self.anchors: list[bool] = []
        self.tables = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {key: value or "" for key, value in attrs}
        if self.muted:
            self.muted += tag not in _VOID
            return
        if (
            tag in _DROPPED
            or (self.drop and attributes.get("id", "").startswith(self.drop))
            or _SIDEBAR in attributes.get("class", "").split()
        ):
            self.muted = int(tag not in _VOID)
            return
        if tag == "i":
            self._icon(attributes.get("class", ""))
            return
        if tag in ("html", "body", "meta", "link", "img", "input"):
            return
        if tag == "a":
            target = self.links.get(attributes.get("href", "").rsplit("/", 1)[-1])
            self.anchors.append(target is not None)
            if target is not None:
                self.out.append(f'<a href="{html.escape(target)}">')
            return
        tag = _HEADINGS.get(tag, tag)
        kept = "".join(f' {key}="{html.escape(attributes[key])}"' for key in sorted(_KEPT & attributes.keys()) if attributes[key])
        self.out.append(f"{_opening(self.tables) if tag == 'table' else ''}<{tag}{kept}>")
        self.tables += tag == "table"

    def handle_endtag(self, tag: str) -> None:
        if self.muted:
            self.muted -= tag not in _VOID
            return
        if tag in _DROPPED or tag in _VOID or tag in ("i", "html", "body"):
            return
        if tag == "a":
            if self.anchors and self.anchors.pop():
                self.out.append("</a>")
            return
        self.out.append(f"</{_HEADINGS.get(tag, tag)}>{'</div>' if tag == 'table' else ''}")

    def handle_data(self, data: str) -> None:
        text = re.sub(r"\s+", " ", data)
        if self.out and self.out[-1].startswith('<span class="state') and text.strip() in _STATES:
            return  # the icon before has said so
        if not self.muted and text.strip():
            self.out.append(html.escape(text, quote=False))

    def _icon(self, classes: str) -> None:
        for name, (style, word) in _ICONS.items():
            if name in classes.split():
                self.out.append(f'<span class="state {style}">{word}</span>')


def _opening(number: int) -> str:
    """Return the start of what a wide table scrolls in; it takes the focus, so that keys can scroll it."""
    return f'<div class="scroll" role="region" aria-label="Table {number + 1}" tabindex="0">'


def distil(page: str, title: str, created: str, links: Mapping[str, str], drop: str = "", more: str = "") -> bytes:
    """Return a Data Docs page in the look of all pages and without anything remote, scripted or of this run alone.

    Parameters
    ----------
    page : str
        HTML as Great Expectations rendered it.
    title : str
        Heading of the page.
    created : str
        When the release was made, as its manifest says.
    links : mapping
        Last part of a link's target to the file it should lead to; all other links lose their target.
    drop : str
        Elements whose id starts so are left out with all they hold.
    more : str
        HTML to put behind the page's own.

    Returns
    -------
    bytes
        UTF-8 HTML. The same page but for times and ids gives the same bytes.
    """
    distiller = _Distiller(links, drop)
    distiller.feed(page)
    distiller.close()
    # what the distiller let through is escaped by it; what stands behind is this step's own
    body = Markup(_EMPTY_HEAD.sub("", "\n".join([*distiller.out, more])))  # noqa: S704 # nosec B704
    return fill(Path(__file__).parent, "docs.html.j2", title=title, created=moment(created), body=body)


def numbers(metrics: Iterable[Metric], unsure: Collection[str] = ()) -> str:
    """Return all metrics as an HTML table: those that gates hang on, and those behind them.

    Parameters
    ----------
    metrics : iterable of Metric
    unsure : collection of str
        Names of inconclusive gates: Data Docs know success and failure only.

    Returns
    -------
    str
        HTML.
    """
    rows = []
    for metric in metrics:
        limits = "" if metric.low is None and metric.high is None else f"{_number(metric.low)} to {_number(metric.high)}"
        value = "refused" if metric.refused else _number(metric.value)
        rule = "" if metric.rule is None else "off" if metric.threshold is None else f"{metric.rule} {_number(metric.threshold)}"
        rule += ": inconclusive" if metric.name in unsure else ""
        cells = (metric.name, value, limits, rule, metric.detail)
        rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("Metric", "Value", "Limits", "Gate", "Seen"))
    opening = '<div class="scroll" role="region" aria-label="All metrics" tabindex="0"><table class="metrics">'
    return f"<h2>All metrics</h2>\n{opening}<thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
