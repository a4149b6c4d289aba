"""The documentation builds as a site, and no link or heading in it is broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "-d",
        str(target / "state"),
        str(source),
        str(target),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    ended = build(ROOT / "docs", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    front = (tmp_path / "index.html").read_text()
    assert 'href="how-to/trial.html"' in front
    assert "waymint.release" in (tmp_path / "api.html").read_text()


def test_a_broken_link_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "pages"
    source.mkdir()
    (source / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text().replace("parents[1]", "parents[0]"))
    (source / "index.md").write_text("# One\n\n[nowhere](other.md), [no heading](#two)\n")
    ended = build(source, tmp_path / "out")
    assert ended.returncode != 0
    assert "other" in ended.stderr
    assert "two" in ended.stderr
