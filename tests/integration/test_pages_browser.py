"""All pages in a real browser: axe-core finds nothing in four variants, nothing is wider than the window, print cuts no plot."""

from __future__ import annotations

import html
import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pypdf
import pytest

from tests.browsing import BROWSER, browse, scheme_option
from tests.paging import PAGES

MOST_BYTES = 300_000
#: Runs axe in a frame of the asked width (a window has a least width) and leaves the answer in the document.
HARNESS = """<!doctype html><html lang="en"><title>harness</title><body style="margin:0">
<iframe title="page" style="border:0;width:{width}px;height:900px"></iframe>
<script type="text/plain" id="page">{page}</script>
<script>
const frame = document.querySelector("iframe");
frame.onload = async () => {{
  const inside = frame.contentWindow, answer = {{}};
  inside.document.querySelectorAll("details").forEach(each => each.open = true);
  try {{
    const result = await inside.axe.run(inside.document, {{resultTypes: ["violations"], iframes: false}});
    const told = node => node.html.slice(0, 160) + " " + node.failureSummary;
    answer.violations = result.violations.map(each => each.id + ": " + each.nodes.slice(0, 3).map(told).join(" | "));
    answer.rules = result.passes.length;
    answer.wide = inside.document.documentElement.scrollWidth;
    answer.dark = inside.matchMedia("(prefers-color-scheme: dark)").matches;
    answer.stops = [...inside.document.querySelectorAll("a[href], summary, [tabindex='0']")].length;
    answer.unreachable = [...inside.document.querySelectorAll(".scroll")].filter(e => e.tabIndex !== 0).length;
  }} catch (error) {{ answer.error = String(error); }}
  const out = document.createElement("pre"); out.id = "answer"; out.textContent = JSON.stringify(answer); document.body.append(out);
}};
frame.srcdoc = document.getElementById("page").textContent.replaceAll("<\\\\/script", "</script");
</script></body></html>"""

pytestmark = [pytest.mark.browser, pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")]


@pytest.fixture(scope="module")
def profile() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@cache
def page(name: str) -> str:
    """Return a page's text."""
    return PAGES[name]().decode()


def looked_at(profile: Path, folder: Path, text: str, scheme: str, width: int) -> dict[str, Any]:
    """Return what axe-core and the browser say of a page; its policy is taken off, which would forbid the check itself."""
    axe = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    with_axe = bare.replace("</main></body>", "</main><script>" + axe + "</script></body>")
    target = folder / "harness.html"
    target.write_text(HARNESS.format(width=width, page=with_axe.replace("</script", "<\\/script")), "utf-8")
    dump = browse(profile, target, "--dump-dom", scheme_option(scheme), "--window-size=1400,1000")
    answer = re.search(r'<pre id="answer">(.*?)</pre>', dump, re.DOTALL)
    assert answer is not None, dump[-2000:]
    return dict(json.loads(html.unescape(answer[1])))


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_core_finds_nothing(name: str, scheme: str, width: int, profile: Path, tmp_path: Path) -> None:
    found = looked_at(profile, tmp_path, page(name), scheme, width)
    assert "error" not in found, found
    assert found["dark"] == (scheme == "dark")
    assert found["rules"] > 15
    assert found["violations"] == []
    assert found["wide"] <= width
    assert found["unreachable"] == 0
    assert found["stops"] > 0


def test_axe_core_would_find_something(profile: Path, tmp_path: Path) -> None:
    broken = page("audit").replace('role="img"', 'role="image"', 1).replace("--soft:#565e69", "--soft:#c9ccd1", 1)
    found = looked_at(profile, tmp_path, broken, "light", 1280)
    assert {each.partition(":")[0] for each in found["violations"]} >= {"aria-roles", "color-contrast"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_small_and_asks_for_nothing(name: str) -> None:
    text = page(name)
    assert len(text.encode()) < MOST_BYTES
    assert "default-src 'none'" in text
    assert not re.search(r'(src|href)="(?!#|(\.\./)*\w[\w./-]*\.html")|url\s*\(|@import|<script|<link', text)


@pytest.mark.parametrize("name", ["release", "compare", "simulate"])
def test_print_splits_no_plot_and_opens_what_is_folded(name: str, profile: Path, tmp_path: Path) -> None:
    """Every drawing is given a name in text at its top and its bottom: both must be on one page of the PDF."""
    marked, drawings = page(name), 0

    def mark(found: re.Match[str]) -> str:
        nonlocal drawings
        drawings += 1
        height = found[2]
        ends = "".join(f'<text x="0" y="{y}">Q{drawings:03d}{end}Q</text>' for end, y in (("A", 6), ("Z", height)))
        return found[1] + ends + "</svg>"

    marked = re.sub(r'(<svg viewBox="0 0 [\d.]+ ([\d.]+)"(?:(?!</svg>).)*)</svg>', mark, marked, flags=re.DOTALL)
    target, sheet = tmp_path / "marked.html", tmp_path / "page.pdf"
    target.write_text(marked, "utf-8")
    browse(profile, target, f"--print-to-pdf={sheet}", "--no-pdf-header-footer")
    where: dict[str, int] = {}
    text = [each.extract_text() for each in pypdf.PdfReader(sheet).pages]
    for number, words in enumerate(text):
        where |= dict.fromkeys(re.findall(r"Q\d{3}[AZ]Q", words), number)
    assert len(where) == 2 * drawings
    assert [key for key in where if key.endswith("AQ") and where[key] != where[key.replace("A", "Z")]] == []
    if name == "release":
        assert any("Near copies" in words for words in text)
