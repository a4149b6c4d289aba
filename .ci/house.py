"""Draw docs/house.svg: the packages on their ranks, and which package imports which.

Ranks come from the layers contracts in pyproject.toml and arrows from the imports, so the picture can't disagree with the code.
It changes only when a package or an import between packages is added or removed.
Usage: house.py [--check] [TO]. With ``--check`` nothing is written; exit code 1 means that the stored picture is out of date.
"""

from __future__ import annotations

import itertools
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"
CONTRACT = "tasks.contract"
BARS = ("waymint", "flows")

WIDTH, MARGIN, SIDE = 1080, 20, 92
BAR, BOX, RANK, GAP = 46, 44, 106, 40
LANE = 7  # pixels between two arrows that pass the same gap between boxes
GREY = "#51606f"
#: Okabe and Ito's colours, which people with colour vision deficiency can tell apart, and four darker ones.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#5d3a9b", "#1d2733", "#b3003c", "#4b8b3b")
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#1d2733;text-anchor:middle}.small{font-size:11px;fill:#51606f}.left{text-anchor:start}"
    "rect{fill:#fff;stroke:#7d93a8}.panel{fill:#f6f9fb;stroke:#c3d0dc}.bar{fill:#e6eef5}.base{fill:#dde8f2}"
    ".arrow{fill:none;stroke-width:1.6}"
)


class Place(NamedTuple):
    """Where a box stands, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """The middle of the box from left to right."""
        return self.x + self.width / 2


class House(NamedTuple):
    """The packages and their imports."""

    ranks: list[list[str]]
    imports: frozenset[tuple[str, str]]
    tasks: frozenset[str]

    def importers(self, node: str) -> list[str]:
        """Return the packages that import a package."""
        return sorted(upper for upper, lower in self.imports if lower == node)

    def imported(self, node: str) -> list[str]:
        """Return the packages that a package imports."""
        return sorted(lower for upper, lower in self.imports if upper == node)


def step_ranks() -> list[list[str]]:
    """Return the steps rank by rank, the highest first; the contract is left out."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "steps")
    ranks = [[f"tasks.{name.strip('() ').removeprefix('tasks.')}" for name in rank.split("|")] for rank in layers]
    kept = [[node for node in rank if node != CONTRACT and (ROOT / node.replace(".", "/")).is_dir()] for rank in ranks]
    return [rank for rank in kept if rank]


def node_of(module: str, nodes: Iterable[str]) -> str | None:
    """Return the package of the picture that a module belongs to."""
    return next((node for node in nodes if module == node or module.startswith(f"{node}.")), None)


def read_house() -> House:
    """Read ranks and imports."""
    ranks = step_ranks()
    nodes = [*BARS, "infra", *itertools.chain(*ranks), CONTRACT]
    graph = grimp.build_graph("waymint", "flows", "infra", "tasks", cache_dir=None)
    pairs = {
        (upper, lower)
        for module in graph.modules
        for other in graph.find_modules_directly_imported_by(module)
        if (upper := node_of(module, nodes)) and (lower := node_of(other, nodes)) and upper != lower
    }
    tasks = frozenset(node for node in nodes if f"{node}.task" in graph.modules)
    return House(ranks, frozenset(pairs), tasks)


def ordered(house: House) -> list[list[str]]:
    """Order the boxes of each rank so that arrows are short: each rank in turn takes its best order, until none changes."""
    ranks = [sorted(rank) for rank in house.ranks]

    def length(rows: list[list[str]]) -> float:
        spot = {node: (at + 1) / (len(row) + 1) for row in rows for at, node in enumerate(row)}
        return sum(abs(spot[upper] - spot[lower]) for upper, lower in sorted(house.imports) if upper in spot and lower in spot)

    for _ in range(10):
        before = [list(rank) for rank in ranks]
        for number, rank in enumerate(before):
            choices = [[*ranks[:number], list(order), *ranks[number + 1 :]] for order in itertools.permutations(sorted(rank))]
            ranks = min(choices, key=lambda rows: (round(length(rows), 9), rows))
        if ranks == before:
            break
    return ranks


def place_boxes(ranks: list[list[str]], top: float) -> dict[str, Place]:
    """Return the place of every step."""
    left, right = MARGIN + 16, WIDTH - MARGIN - SIDE - 44
    places: dict[str, Place] = {}
    heights = list(itertools.accumulate((RANK if len(rank) > 1 else BOX + 28 for rank in ranks[1:]), initial=top))
    for number, rank in enumerate(ranks):
        gap = GAP if len(rank) < 6 else GAP * 0.8
        width = (right - left - gap * (len(rank) - 1)) / len(rank)
        width = width if len(rank) == 1 or len(rank) > 4 else min(width, 190)
        gap = (right - left - width * len(rank)) / len(rank) if len(rank) > 1 else 0
        start = left + (gap / 2 if len(rank) < 5 else 0)
        gap = gap if len(rank) < 5 else (right - left - width * len(rank)) / (len(rank) - 1)
        for at, node in enumerate(rank):
            places[node] = Place(start + at * (width + gap), heights[number], width, BOX)
    return places


def ports(edges: list[tuple[str, str]], places: dict[str, Place]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return where each arrow leaves and enters its boxes: side by side, in the order of the other ends."""
    leaves: dict[tuple[str, str], float] = {}
    enters: dict[tuple[str, str], float] = {}
    for node, place in places.items():
        for mine, other, spots in ((0, 1, leaves), (1, 0, enters)):
            own = sorted((edge for edge in edges if edge[mine] == node), key=lambda edge: (places[edge[other]].middle, edge[other]))
            step = min(18.0, place.width / (len(own) + 1))
            for at, edge in enumerate(own):
                spots[edge] = place.middle + (at - (len(own) - 1) / 2) * step
    return {edge: (leaves[edge], enters[edge]) for edge in edges}


def gaps_of(rank: list[str], places: dict[str, Place]) -> list[float]:
    """Return the middles of the gaps beside and between the boxes of a rank."""
    boxes = [places[node] for node in rank]
    between = [(one.x + one.width + two.x) / 2 for one, two in itertools.pairwise(boxes)]
    return [boxes[0].x - 12, *between, boxes[-1].x + boxes[-1].width + 12]


def arrows_of(house: House) -> list[tuple[str, str]]:
    """Return the pairs of steps with an arrow; a step alone on its rank is a bar, whose importers are named in it."""
    steps = {node for rank in house.ranks for node in rank}
    bars = {rank[0] for rank in house.ranks if len(rank) == 1}
    return sorted((upper, lower) for upper, lower in house.imports if {upper, lower} <= steps and lower not in bars)


def colours_of(house: House, ranks: list[list[str]]) -> dict[str, str]:
    """Return a colour for each step that an arrow leaves."""
    importers = {upper for upper, _ in arrows_of(house)}
    return dict(zip((node for rank in ranks for node in rank if node in importers), itertools.cycle(COLOURS)))


def draw_arrows(house: House, ranks: list[list[str]], places: dict[str, Place]) -> list[str]:
    """Return the arrows from step to step: each passes lower ranks through a gap between their boxes."""
    level = {node: number for number, rank in enumerate(ranks) for node in rank}
    edges, colour = arrows_of(house), colours_of(house, ranks)
    ends, taken, parts = ports(edges, places), dict[tuple[int, float], int](), []
    for upper, lower in edges:
        x, goal = ends[upper, lower]
        y = places[upper].y + BOX
        path = f"M{x:.0f},{y:.0f}"
        stops: list[tuple[float, float]] = []
        for number in range(level[upper] + 1, level[lower]):
            share = (number - level[upper]) / (level[lower] - level[upper])
            gap = min(gaps_of(ranks[number], places), key=lambda middle: abs(middle - (x + share * (goal - x))))
            seen = taken[number, gap] = taken.get((number, gap), -1) + 1
            at = gap + LANE * ((seen + 1) // 2) * (-1 if seen % 2 else 1)
            row = places[ranks[number][0]].y
            stops += [(at, row - 4), (at, row + BOX + 4)]
        for to_x, to_y in [*stops, (goal, places[lower].y - 2)]:
            half = (to_y - y) / 2
            path += f" C{x:.0f},{y + half:.0f} {to_x:.0f},{to_y - half:.0f} {to_x:.0f},{to_y:.0f}"
            x, y = to_x, to_y
        name, other = upper.removeprefix("tasks."), lower.removeprefix("tasks.")
        parts.append(
            f'<path class="arrow" d="{path}" stroke="{colour[upper]}" marker-end="url(#{colour[upper][1:]})">'
            f"<title>{name} imports {other}</title></path>"
        )
    return parts


def names(nodes: Iterable[str]) -> str:
    """Return short names as a list in words."""
    return ", ".join(node.removeprefix("tasks.") for node in nodes)


def texts_of_bars(house: House) -> dict[str, str]:
    """Say what each bar imports, or who imports it."""
    steps = set(itertools.chain(*house.ranks))
    called = [node for node in house.imported("flows") if node in steps]
    users = sorted(house.tasks & set(house.importers("infra")))
    beyond = sorted(set(house.importers("infra")) - house.tasks)
    face = [node for node in house.imported("waymint") if node != CONTRACT]
    texts = {
        "waymint": f"the Python face; loads the flows; imports {names(face)}",
        "flows": "orders only; imports infra and the task.py of "
        + ("every step that has one" if set(called) == house.tasks else names(called)),
        "infra": f"imported by {names(beyond)} and " + ("every task.py" if set(users) == house.tasks else names(users)),
        CONTRACT: "nouns, and no solver; imported by all",
    }
    for (alone,) in (rank for rank in house.ranks if len(rank) == 1):
        missing = sorted(node for node in steps - set(house.importers(alone)) - {alone})
        texts[alone] = "imported by every step" + (f" but {names(missing)}" if missing else "")
    return texts


def box(kind: str, place: Place, title: str, small: str) -> str:
    """Return a box with a title and a line below it."""
    x, y, width, height = place
    lower = f'<text class="small" x="{place.middle:.0f}" y="{y + height - 9:.0f}">{small}</text>' if small else ""
    at = y + (height / 2 - 4 if small else height / 2 + 5)
    return (
        f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6"/>'
        f'<text x="{place.middle:.0f}" y="{at:.0f}">{title}</text>{lower}'
    )


def draw_house() -> str:
    """Return the SVG."""
    house = read_house()
    ranks = ordered(house)
    texts = texts_of_bars(house)
    wide = WIDTH - 2 * MARGIN
    panel_top = 2 * (BAR + 26) + 66
    places = place_boxes(ranks, panel_top + 44)
    panel_height = places[ranks[-1][0]].y + BOX + 22 - panel_top
    bottom = panel_top + panel_height + 40
    side = Place(WIDTH - MARGIN - SIDE, panel_top, SIDE, panel_height)
    waymint, flows = Place(MARGIN, 46, wide, BAR), Place(MARGIN, 46 + BAR + 26, wide, BAR)
    panel = Place(MARGIN, panel_top, wide - SIDE - 28, panel_height)
    down = [(wide / 3, waymint.y + BAR, flows.y), (wide / 3, flows.y + BAR, panel.y), (side.middle, flows.y + BAR, side.y)]
    down += [(wide / 3, panel.y + panel.height, bottom), (side.middle, panel.y + panel.height, bottom)]
    heavy = [f"M{x:.0f},{y:.0f} V{to - 3:.0f}" for x, y, to in down]
    heavy.append(f"M{panel.x + panel.width:.0f},{panel.y + 22:.0f} H{side.x - 3:.0f}")
    markers = [
        f'<marker id="{colour[1:]}" markerWidth="7" markerHeight="7" refX="6" refY="3.5" orient="auto" markerUnits="userSpaceOnUse">'
        f'<path d="M0,0 L7,3.5 L0,7 z" fill="{colour}"/></marker>'
        for colour in (*COLOURS, GREY)
    ]
    turned = f'transform="rotate(-90 {side.middle:.0f} {side.y + side.height / 2:.0f})"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BAR + 16:.0f}" role="img" aria-label="Ranks and imports">',
        f"<style>{STYLE}</style><defs>{''.join(markers)}</defs>",
        f'<rect x="0" y="0" width="{WIDTH}" height="{bottom + BAR + 16:.0f}" style="stroke:none"/>',
        f'<text class="left" x="{MARGIN}" y="28">A package imports only what stands below it. An arrow points at what is imported; '
        "its colour is that of the importing box.</text>",
        box("panel", panel, "", ""),
        *(f'<path class="arrow" d="{path}" stroke="{GREY}" marker-end="url(#{GREY[1:]})"/>' for path in heavy),
        *draw_arrows(house, ranks, places),
        f'<text class="small left" x="{panel.x + 16:.0f}" y="{panel.y + 26:.0f}">tasks: the steps, rank by rank. '
        "Of a step with task.py, that file alone imports Prefect and infra.</text>",
        box("bar", waymint, "waymint", texts["waymint"]),
        box("bar", flows, "flows", texts["flows"]),
        box("bar", side, "", ""),
        f'<g {turned}><text x="{side.middle:.0f}" y="{side.y + side.height / 2 - 6:.0f}">infra</text>'
        f'<text class="small" x="{side.middle:.0f}" y="{side.y + side.height / 2 + 14:.0f}">{texts["infra"]}</text></g>',
        box("base", Place(MARGIN, bottom, wide, BAR), "tasks.contract", texts[CONTRACT]),
    ]
    for node, place in places.items():
        small = texts.get(node, "task.py" if node in house.tasks else "")
        parts.append(box("", place, node.removeprefix("tasks."), small))
    for node, colour in colours_of(house, ranks).items():
        x, y, width, _ = places[node]
        parts.append(f'<path d="M{x + 6:.0f},{y + BOX - 1.5:.1f} H{x + width - 6:.0f}" stroke="{colour}" stroke-width="3"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Write or check the picture; return the exit code."""
    arguments = [word for word in sys.argv[1:] if word != "--check"]
    to = Path(arguments[0]) if arguments else PICTURE
    if "--check" in sys.argv:
        fresh = to.exists() and to.read_text() == draw_house()
        sys.stdout.write("" if fresh else f"{to.name} is not what the imports give: python .ci/house.py\n")
        return 0 if fresh else 1
    to.write_text(draw_house())
    return 0


if __name__ == "__main__":
    sys.exit(main())
