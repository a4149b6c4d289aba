"""Draw docs/house.svg: the packages on their ranks, and who imports whom.

Ranks come from the layers contracts in pyproject.toml, arrows from the imports themselves, so the picture can't disagree with the code.
Usage: house.py [--check] [TO]. With ``--check`` nothing is written; exit 1 says that the stored picture is not what the imports give.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"
FOUNDATION = "tasks.contract"
WIDTH, TOP, RANK, BOX, GAP = 1000, 64, 92, 40, 14
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1d2733}.small{font-size:10.5px;fill:#5b6b7c}"
    ".box{fill:#eef3f8;stroke:#7d93a8}.base{fill:#dde8f2}path{fill:none;stroke:#3b6ea5;stroke-opacity:.38;stroke-width:1.1}"
    "svg{background:#fff}"
)


def ranks() -> list[list[str]]:
    """Return the nodes of the picture rank by rank, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["id"]: contract for contract in contracts if contract["type"] == "layers"}
    steps = [[f"tasks.{name.strip('() ').removeprefix('tasks.')}" for name in rank.split("|")] for rank in layers["steps"]["layers"]]
    steps = [[name for name in rank if name != FOUNDATION] for rank in steps]
    face = [["waymint"]] if (ROOT / "waymint").is_dir() else []
    return [*face, ["flows"], ["infra"], *[rank for rank in steps if rank], [FOUNDATION]]


def node_of(module: str, nodes: Iterable[str]) -> str | None:
    """Return the node that a module belongs to."""
    return next((node for node in nodes if module == node or module.startswith(f"{node}.")), None)


def edges(graph: grimp.ImportGraph, nodes: list[str]) -> dict[tuple[str, str], int]:
    """Return how many modules of one node import another node."""
    counts: dict[tuple[str, str], int] = {}
    for module in graph.modules:
        importer = node_of(module, nodes)
        targets = {node_of(other, nodes) for other in graph.find_modules_directly_imported_by(module)}
        for target in targets - {importer, None}:
            if importer is not None and target is not None:
                counts[importer, target] = counts.get((importer, target), 0) + 1
    return counts


def lines_of(node: str) -> int:
    """Return the lines of Python in a node's folder."""
    return sum(len(path.read_text().splitlines()) for path in (ROOT / node.replace(".", "/")).rglob("*.py"))


def picture() -> str:
    """Return the SVG."""
    rows = ranks()
    nodes = [node for row in rows for node in row]
    packages = sorted({node.split(".")[0] for node in nodes})
    counts = edges(grimp.build_graph(*packages, cache_dir=None), nodes)
    places: dict[str, tuple[float, float, float]] = {}
    for number, row in enumerate(rows):
        wide = row in (["waymint"], ["flows"], ["infra"], [FOUNDATION])
        width = WIDTH - 2 * GAP if wide else min(190.0, (WIDTH - GAP) / len(row) - GAP)
        start = (WIDTH - len(row) * (width + GAP) + GAP) / 2
        places.update({node: (start + at * (width + GAP), TOP + number * RANK, width) for at, node in enumerate(row)})
    height = TOP + len(rows) * RANK
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Packages on their ranks">',
        f"<style>{STYLE}</style>",
        f'<text x="{GAP}" y="26">A package imports only what stands below it. Arrows are imports.</text>',
        f'<text class="small" x="{GAP}" y="44">All import tasks.contract (arrows left out); of a step only task.py imports infra.</text>',
    ]
    for (upper, lower), count in sorted(counts.items()):
        if lower == FOUNDATION:
            continue
        (x1, y1, w1), (x2, y2, w2) = places[upper], places[lower]
        from_x, to_x = (x2 + w2 / 2, x2 + w2 / 2) if w1 > 400 else (x1 + w1 / 2, x2 + w2 / 2 if w2 < 400 else x1 + w1 / 2)
        from_y, to_y = (y1 + BOX, y2) if y2 > y1 else (y1, y2 + BOX)
        bend = (to_y - from_y) / 2
        curve = f"M{from_x:.0f},{from_y:.0f} C{from_x:.0f},{from_y + bend:.0f} {to_x:.0f},{to_y - bend:.0f} {to_x:.0f},{to_y:.0f}"
        parts.append(f'<path d="{curve}"><title>{upper} imports {lower}: {count} modules</title></path>')
    for node, (x, y, width) in places.items():
        kind = "box base" if node == FOUNDATION else "box"
        label = escape(node.removeprefix("tasks."))
        parts.append(f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{BOX}" rx="6"/>')
        parts.append(f'<text x="{x + width / 2:.0f}" y="{y + 17:.0f}" text-anchor="middle">{label}</text>')
        about = f"{round(lines_of(node), -2):,} lines"
        parts.append(f'<text class="small" x="{x + width / 2:.0f}" y="{y + 32:.0f}" text-anchor="middle">{about}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Write or check the picture; return the exit code."""
    arguments = [word for word in sys.argv[1:] if word != "--check"]
    to = Path(arguments[0]) if arguments else PICTURE
    if "--check" in sys.argv:
        fresh = to.exists() and to.read_text() == picture()
        sys.stdout.write("" if fresh else f"{to.name} is not what the imports give: make house\n")
        return 0 if fresh else 1
    to.write_text(picture())
    return 0


if __name__ == "__main__":
    sys.exit(main())
