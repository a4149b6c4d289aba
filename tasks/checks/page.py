"""Data Docs as pages that need nobody: no script, no remote asset, no tracker, no time of the run."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Mapping
from html.parser import HTMLParser

from tasks.checks.metric import Metric

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "col", "wbr", "area", "base", "embed", "source", "track"})
#: Left out with all they hold.
_DROPPED = frozenset({"script", "style", "nav", "footer", "head", "button", "form", "label", "iframe", "object", "svg", "video", "audio"})
_SIDEBAR = "col-lg-2"
_KEPT = frozenset({"class", "id", "colspan", "rowspan"})
_ICONS = {"text-success": ("pass", "passed"), "text-danger": ("fail", "failed"), "text-warning": ("warn", "warning")}
_STATES = {"Failed", "Succeeded"}

STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#5b6678;--line:#d8dee8;--ground:#fff;--band:#f3f6fa}
:root{--good:#0b6e4f;--bad:#b3261e;--link:#1f5fbf}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf1;--soft:#9aa6b8;--line:#364152;--ground:#151a22;--band:#1e2530}}
@media (prefers-color-scheme:dark){:root{--good:#5fd3a6;--bad:#ff8a80;--link:#8ab4ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:2rem 1.25rem 4rem;font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
body{color:var(--ink);background:var(--ground)}
header{border-bottom:2px solid var(--line);margin-bottom:1.5rem;padding-bottom:.75rem}
h1{font-size:1.5rem;margin:0}header p{color:var(--soft);margin:.25rem 0 0}
h4,h5,h6{margin:1.25rem 0 .5rem;font-size:1.05rem}
a{color:var(--link)}
.alert-secondary{background:var(--band);padding:.5rem .9rem;border-left:4px solid var(--line);margin-top:1rem}
.alert-secondary h5{margin:0}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
th,td{text-align:left;vertical-align:top;padding:.45rem .6rem;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600;font-size:.85rem}
tbody tr:nth-child(even){background:var(--band)}
[id$="-1"]>.show-scrollbars,td{overflow-wrap:anywhere}
.state{font-weight:700;white-space:nowrap}.pass{color:var(--good)}.fail{color:var(--bad)}.warn{color:var(--soft)}
ul{list-style:none;padding:0}hr{border:0;border-top:1px solid var(--line)}
.table-sm{max-width:26rem}.metrics td:nth-child(-n+4){white-space:nowrap}p{margin:.3rem 0}
"""


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

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if self.muted:
            self.muted += tag not in _VOID
            return
        if tag in _DROPPED or (self.drop and found.get("id", "").startswith(self.drop)) or _SIDEBAR in found.get("class", "").split():
            self.muted = int(tag not in _VOID)
            return
        if tag == "i":
            self._icon(found.get("class", ""))
            return
        if tag in ("html", "body", "meta", "link", "img", "input"):
            return
        if tag == "a":
            target = self.links.get(found.get("href", "").rsplit("/", 1)[-1])
            self.anchors.append(target is not None)
            if target is not None:
                self.out.append(f'<a href="{html.escape(target)}">')
            return
        kept = "".join(f' {key}="{html.escape(found[key])}"' for key in sorted(_KEPT & found.keys()) if found[key])
        self.out.append(f"<{tag}{kept}>")

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
        self.out.append(f"</{tag}>")

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


def distil(page: str, title: str, created: str, links: Mapping[str, str], drop: str = "", more: str = "") -> bytes:
    """Return a Data Docs page with a style of its own and without anything remote, scripted or of this run alone.

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
    body = "\n".join(distiller.out)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{html.escape(title)}</title>'
    heading = f"<header><h1>{html.escape(title)}</h1><p>{html.escape(created)}</p></header>"
    top = f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>'
    return f"{top}\n<body>{heading}\n{body}\n{more}\n</body></html>\n".encode()


def numbers(metrics: Iterable[Metric], unsure: Collection[str] = ()) -> str:
    """Return all metrics as an HTML table: those that gates hang on, and those behind them.

    Parameters
    ----------
    metrics : iterable of Metric
    unsure : collection of str
        Names of gates that can't tell: Data Docs know success and failure only.

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
    return f'<h5>All metrics</h5>\n<table class="metrics"><thead><tr>{head}</tr></thead><tbody>\n' + "\n".join(rows) + "\n</tbody></table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
