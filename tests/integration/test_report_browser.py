"""A real report in a real browser: nothing is asked of the network, nothing is complained about, everything is there."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.releasing import Ran, save, spec_of, table, write

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for found in map(shutil.which, NAMES) if found), None)
HOSTILE = "<script>document.title='run'</script> $x^2$ Größe"
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--hide-scrollbars",
    "--force-prefers-color-scheme=light",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason=f"no Chromium on the path (looked for {', '.join(NAMES)})"),
]


@pytest.fixture(scope="module")
def profile() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def browse(profile: Path, report: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a new headless browser."""
    command = [str(BROWSER), *QUIET, f"--user-data-dir={profile}", *options, report.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture
def released(waymint: Callable[..., Ran], tmp_path: Path) -> Callable[..., Path]:
    """Run a release of a table with a hostile column name; return its report."""

    def run(**settings: object) -> Path:
        frame = table().rename(columns={"bmi": HOSTILE})
        spec = save(spec_of(write(frame, tmp_path / "source.parquet"), tmp_path / "store", **settings), tmp_path / "spec.yaml")
        answer = waymint("release", spec, "--json")
        assert answer.code in (0, 3), answer.err
        return Path(urlsplit(answer.json()["uri"]).path) / "report.html"

    return run


def test_a_published_report_is_whole_silent_and_to_be_seen(released: Callable[..., Path], profile: Path, tmp_path: Path) -> None:
    report = released()
    log = tmp_path / "net.json"
    seen = browse(profile, report, "--dump-dom", "--enable-logging=stderr", f"--log-net-log={log}")
    assert "CONSOLE" not in seen.stderr
    assert requested(log) == []
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style>.*?</style>", "", seen.stdout)))
    for text in (
        "Published: all",
        "Effect in the real rows",
        "Where the effect's error comes from",
        "Overlap of the arms",
        "Distance to the closest real record",
    ):
        assert text in words, text
    assert "document.title='run'" in words  # shown, not run
    assert "<title>trial version 1" in seen.stdout
    picture = tmp_path / "report.png"
    browse(profile, report, f"--screenshot={picture}", "--window-size=1000,1600")
    lines = scanlines(picture)
    assert len(lines) == 1600
    # a blank stretch repeats one line; words and pictures stand from the top to the bottom of the window
    assert min(len(set(lines[start : start + 200])) for start in range(0, 1600, 200)) > 40


def test_a_rejected_report_opens_with_what_failed(released: Callable[..., Path], profile: Path) -> None:
    report = released(covariates__synthesizer="bootstrap")
    assert "rejected" in report.parts
    page = browse(profile, report, "--dump-dom", "--enable-logging=stderr")
    assert "CONSOLE" not in page.stderr
    top = page.stdout[page.stdout.index("<main>") : page.stdout.index('id="released"')]
    assert "Nothing was published and no synthetic row was kept" in top
    assert "Exact copies" in top


def test_the_browser_would_tell_of_a_request(profile: Path, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<!doctype html><img src="http://example.invalid/x.png"><script>console.error("told")</script>')
    log = tmp_path / "net.json"
    seen = browse(profile, page, "--dump-dom", "--enable-logging=stderr", f"--log-net-log={log}")
    assert "CONSOLE" in seen.stderr
    assert requested(log) == ["http://example.invalid/x.png"]


def requested(log: Path) -> list[str]:
    """Return what pages asked the network for, by the browser's own log; what the browser asks for itself has no page's origin."""
    text = log.read_text()
    events = json.loads(text if text.rstrip().endswith("}") else text.rstrip().rstrip(",") + "]}")["events"]
    found = [event["params"] for event in events if isinstance(event.get("params"), dict) and "initiator" in event["params"]]
    return [each["url"] for each in found if each["initiator"] != "not an origin"]


def scanlines(picture: Path) -> list[bytes]:
    """Return the lines of a PNG of 8 bits per channel, as they are filtered: equal lines after equal lines are equal bytes."""
    data, at, packed = picture.read_bytes(), 8, b""
    width, _, depth, colours = struct.unpack(">IIBB", data[16:26])
    assert depth == 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        packed += data[at + 8 : at + 8 + size] if data[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + size
    step = 1 + width * {2: 3, 6: 4}[colours]
    raw = zlib.decompress(packed)
    return [raw[start : start + step] for start in range(0, len(raw), step)]


def test_a_blank_picture_would_be_told(profile: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "blank.html", tmp_path / "blank.png"
    page.write_text("<!doctype html><title>blank</title>")
    browse(profile, page, f"--screenshot={picture}", "--window-size=1000,400")
    lines = scanlines(picture)
    assert len(lines) == 400
    assert len(set(lines)) <= 3
