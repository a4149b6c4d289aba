"""The record of a small simulation: two sizes, an effect and none, one refit."""

import functools

from tasks.simulation.advice import advice
from tasks.simulation.answers import to_table
from tasks.simulation.contrasts import Effect
from tasks.simulation.figures import figures, places
from tasks.simulation.population import source_of, truths
from tasks.simulation.replicate import replicates
from tasks.simulation.stability import same_winner, stability
from tests.simulating import CELL, method, population


@functools.cache
def record() -> dict:
    """The record of a small simulation: two sizes, an effect and none, one refit."""
    grid = [CELL._replace(n=n, effect_scale=scale) for n in (60, 200) for scale in (1.0, 0.0)]
    own, ranked, known = [], [], []
    for draw in (0, 1):
        sources = [source_of(population(), cell) for cell in grid]
        known = [truths(source) for source in sources]
        tables = [
            to_table(cell.key, draw, replicates(source, method("or", "tmle", "att"), cell, 0, draw, range(8)))
            for cell, source in zip(grid, sources)
        ]
        own.append([row for cell, table, truth in zip(grid, tables, known) for row in figures(table, [cell], [truth])])
        ranked.append([place for cell, table, truth in zip(grid, tables, known) for place in places(table, [cell], [truth], 0)])
    for row in own[0]:
        row["seconds"], row["seconds_mcse"] = 0.01, 0.001
    ate = known[0][Effect("ate")]
    return {
        "name": "tri<al>", "id": "20260101T000000Z-00000000", "created": "2026-01-01T00:00:00+00:00", "seed": 1,
        "source": {"uri": "x.csv", "fingerprint": "f", "rows": 800}, "parents": [], "cautions": [], "pool": 4_000,
        "truth": ate.value, "truth_se": ate.se, "truths": [ate._asdict()] * 2, "rows": own[0], "ranking": ranked[0],
        "recommendation": advice(own[0], 0.8), "stability": stability(own[0], own[1:]),
        "same_winner": same_winner({cell.key: "tmle" for cell in grid}, [{cell.key: "tmle" for cell in grid}]),
        "speed": {"replicates": 64, "timed": 64, "seconds": 0.01},
    }  # fmt: skip
