"""Say which tests were skipped and why, which in CI is a failure, and what tests measured.

Usage: left_out.py JUNIT_XML. Tests deselected by a marker (``-m "not slow"``) are not skipped tests.
"""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path


def skipped(report: Path) -> Counter[str]:
    """Return how many tests were skipped for each reason."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 (pytest wrote it a moment ago)
    reasons = (found.get("message", "") for case in cases for found in case.iter("skipped") if found.get("type") != "pytest.xfail")
    return Counter(reasons)


def properties(report: Path) -> list[tuple[str, str]]:
    """Return what tests recorded: names and values."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 (pytest wrote it a moment ago)
    return [(each.get("name", ""), each.get("value", "")) for case in cases for each in case.iter("property")]


def main() -> int:
    """Print what was measured and what was left out; return the exit code."""
    for name, value in properties(Path(sys.argv[1])):
        sys.stdout.write(f"{name}: {value}\n")
    reasons = skipped(Path(sys.argv[1]))
    for reason, count in sorted(reasons.items()):
        sys.stdout.write(f"left out: {count} x {reason}\n")
    if reasons and os.environ.get("CI") == "true":
        sys.stdout.write("In CI no test may be left out: install what the lines above name.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
