"""Speed and memory of estimation beside DoubleML, EconML, zEpid and statsmodels, with the same scikit-learn models and folds.

Run ``python -m benchmarks.estimators`` (10,000 and 100,000 rows), ``--full`` (also 1,000,000) or ``--rows N N ...``; ``make peers``
installs the other packages. Twenty covariates, a continuous outcome, five folds that all systems are handed (only ours also makes
them, inside its time). Every system is a process of its own, with its imports and its data loaded and warmed up before it is asked;
systems take turns in each round; one thread each. CPU and wall seconds are medians over rounds with the smallest and largest beside
them. Memory is what the process grew by in its first round (PSS, sampled from outside). "four packages" is the sum of getting AIPW
from the faster of DoubleML and EconML, TMLE from zEpid, IPW and OR from statsmodels, each with nuisances of its own; zEpid and
statsmodels know no folds, so scikit-learn's cross_val_predict gives them theirs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil

from benchmarks.memory import Peak, weigh

COVARIATES, FOLDS, SEED = 20, 5, 1
ROLES = {"treatment": "a", "outcome": "y"}
FOUR = ("or", "ipw", "aipw", "tmle")
SYSTEMS = (
    "own AIPW",
    "own AIPW (joint Q)",
    "own four",
    "own four + overlap, balance",
    "DoubleML IRM",
    "EconML LinearDRLearner",
    "zEpid TMLE",
    "statsmodels IPW",
    "statsmodels OR",
)
#: Rows below which no ratio is held against a target: fixed costs of some milliseconds would decide it.
TARGET_ROWS = 100_000


class Turn(NamedTuple):
    """One run of one system: seconds, and the mean effect it found with its error."""

    cpu: float
    wall: float
    point: float
    se: float


def table(rows: int) -> pd.DataFrame:
    """Twenty correlated normal covariates, moderate overlap, an effect of 1 that varies."""
    rng = np.random.default_rng(rows)
    w = rng.normal(size=(rows, COVARIATES)) + 0.5 * rng.normal(size=(rows, 1))
    a = (rng.random(rows) < 1 / (1 + np.exp(-0.5 * w[:, 0] + 0.4 * w[:, 1] - 0.3 * w[:, 2]))).astype(np.int64)
    y = w[:, 0] + np.sin(w[:, 3]) + 0.5 * w[:, 4] + a * (1 + 0.5 * w[:, 1]) + rng.normal(size=rows)
    return pd.DataFrame(w, columns=[f"x{j}" for j in range(COVARIATES)]).assign(a=a, y=y)


def models(family: str) -> tuple[Any, Any]:
    """Return the classifier for g and the regression for Q."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression

    if family == "linear":
        return LogisticRegression(), LinearRegression()
    settings = {"max_iter": 30, "max_leaf_nodes": 15, "min_samples_leaf": 20, "early_stopping": False, "random_state": 0}
    return HistGradientBoostingClassifier(**settings), HistGradientBoostingRegressor(**settings)


def question(system: str, family: str, frame: pd.DataFrame, cuts: Any) -> Callable[[], tuple[float, float]]:
    """Return what a system is asked, ready to be timed; its packages are imported here.

    DoubleML gets its data and folds beforehand: it checks folds made by others at length, which is not what is compared.
    """
    from benchmarks import peers
    from benchmarks.learners import Joint, PerArm
    from tasks.estimation import analyse, estimate
    from tasks.targeting.fluctuation import truncation_bound

    g, q = models(family)
    bound = truncation_bound(len(frame), "auto")
    a, y = frame["a"].to_numpy(), frame["y"].to_numpy()

    def own(names: tuple[str, ...], learner: Any, full: bool = False) -> tuple[float, float]:
        arguments = (frame, ROLES, names, SEED, learner, FOLDS)
        found = analyse(*arguments).estimates if full else estimate(*arguments)
        one = next(each for each in found if each.estimator == "aipw")
        return one.estimate, one.se

    def targeted() -> tuple[float, float]:
        propensity, outcomes = peers.cross_fitted_propensity(frame, cuts, g), peers.cross_fitted_outcomes(frame, cuts, q)
        return peers.zepid_tmle(a, y, propensity, *outcomes, bound)[:2]

    def regressed() -> tuple[float, float]:
        zero, one = peers.cross_fitted_outcomes(frame, cuts, q)
        return peers.statsmodels_or(one - zero)[:2]

    if system == "DoubleML IRM":
        model = peers.doubleml_model(frame, cuts, g, q, bound)
        return lambda: peers.doubleml_irm(model)[:2]
    asked: dict[str, Callable[[], tuple[float, float]]] = {
        "own AIPW": lambda: own(("aipw",), PerArm(g, q)),
        "own AIPW (joint Q)": lambda: own(("aipw",), Joint(g, q)),
        "own four": lambda: own(FOUR, PerArm(g, q)),
        "own four + overlap, balance": lambda: own(FOUR, PerArm(g, q), full=True),
        "EconML LinearDRLearner": lambda: peers.econml_dr(frame, cuts, g, q, bound)[:2],
        "zEpid TMLE": targeted,
        "statsmodels IPW": lambda: peers.statsmodels_ipw(a, y, peers.cross_fitted_propensity(frame, cuts, g), bound)[:2],
        "statsmodels OR": regressed,
    }
    return asked[system]


def serve(system: str, family: str, path: str) -> None:
    """Load, warm up, then answer one line of standard input at a time."""
    import warnings

    from threadpoolctl import threadpool_limits

    from benchmarks.learners import cuts, fold_numbers

    warnings.simplefilter("ignore")
    small = table(2000)
    with threadpool_limits(1):
        question(system, family, small, cuts(fold_numbers(small, ROLES, FOLDS, SEED)[1]))()
        stored = np.load(path)
        columns = [*(f"x{j}" for j in range(COVARIATES)), "y"]
        frame = pd.DataFrame(dict(zip(columns, stored[:-2]))).assign(a=stored[-2].astype(np.int64))
        ask = question(system, family, frame, cuts(stored[-1].astype(np.int64)))
        del stored
        print("ready", flush=True)
        for _ in sys.stdin:
            wall, cpu = time.perf_counter(), time.process_time()
            point, se = ask()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(json.dumps([cpu, wall, point, se]), flush=True)


class Server:
    """One system as a process of its own."""

    def __init__(self, system: str, family: str, path: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.estimators", "--serve", system, family, str(path)]
        self.system = system
        self.extra_mib = float("nan")
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _line(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("ready", "[")):  # packages print things of their own
                return line
        raise RuntimeError(f"{self.system} ended: see above")

    def wait(self) -> None:
        """Wait until it is ready."""
        self._line()

    def turn(self, weigh_it: bool) -> Turn:
        """Have it answer once; weigh it from outside only where told, for that costs a little time."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        before = weigh([psutil.Process(self._process.pid)]).pss if weigh_it else 0.0
        if not weigh_it:
            self._process.stdin.flush()
            return Turn(*json.loads(self._line()))
        with Peak(self._process.pid, 0.05) as peak:
            self._process.stdin.flush()
            answer = Turn(*json.loads(self._line()))
        self.extra_mib = peak.pss - before if peak.samples else 0.0
        return answer

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(rows: int, family: str, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Return one record a system and a size; the first round is for memory and is not timed where there are more."""
    from benchmarks.learners import fold_numbers

    frame = table(rows)
    numbers = fold_numbers(frame, ROLES, FOLDS, SEED)[1]
    path = folder / f"{rows}.npy"
    np.save(path, np.vstack([frame.drop(columns=["a", "y"]).to_numpy().T, frame["y"], frame["a"], numbers]))
    del frame, numbers
    servers = [Server(system, family, path) for system in SYSTEMS]
    for server in servers:
        server.wait()
    turns: dict[str, list[Turn]] = {system: [] for system in SYSTEMS}
    for number in range(rounds):
        # every other round backwards, so that nobody always runs after the same neighbour
        for server in servers if number % 2 == 0 else reversed(servers):
            turns[server.system].append(server.turn(number == 0))
    for server in servers:
        server.end()
    records = [record(rows, family, turns[server.system][min(1, rounds - 1) :], server) for server in servers]
    agree(records)
    for each in records:
        print(line(each), flush=True)
    return records


def record(rows: int, family: str, turns: list[Turn], server: Server) -> dict[str, Any]:
    """Sum up the turns of one system."""
    return {
        "rows": rows,
        "family": family,
        "system": server.system,
        "cpu": spread([turn.cpu for turn in turns]),
        "wall": spread([turn.wall for turn in turns]),
        "cpu_rounds": [turn.cpu for turn in turns],
        "extra_mib": server.extra_mib,
        "point": turns[0].point,
        "se": turns[0].se,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return median, smallest and largest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def agree(records: list[dict[str, Any]]) -> None:
    """Refuse to compare the speed of different answers: AIPW agrees to a thousandth of its error (boosting: rows in another order)."""
    found = {each["system"]: each for each in records}
    for own, peer in (("own AIPW", "DoubleML IRM"), ("own AIPW (joint Q)", "EconML LinearDRLearner"), ("own AIPW", "own four")):
        gap = abs(found[own]["point"] - found[peer]["point"]) / found[own]["se"]
        if not gap < (1e-3 if found[own]["family"] == "linear" else 0.1):
            raise AssertionError(f"{own} and {peer} differ by {gap:.1e} standard errors")


def line(each: dict[str, Any]) -> str:
    """Return one row of the table."""
    cpu, wall = each["cpu"], each["wall"]
    figures = f"cpu {cpu['median']:8.2f} s ({cpu['low']:.2f} to {cpu['high']:.2f})  wall {wall['median']:8.2f} s"
    return f"{each['rows']:>9,} {each['family']:8} {each['system']:28} {figures}  extra {each['extra_mib']:6.0f} MiB  {each['point']:.5f}"


def ratios(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the three ratios that have a target, for one size and family; CPU seconds, round by round."""
    rounds = {each["system"]: each["cpu_rounds"] for each in records}
    medians = {each["system"]: each["cpu"]["median"] for each in records}
    peer = min(("DoubleML IRM", "EconML LinearDRLearner"), key=medians.__getitem__)
    same_q = "own AIPW" if peer == "DoubleML IRM" else "own AIPW (joint Q)"
    packages = [sum(each) for each in zip(*(rounds[name] for name in (peer, "zEpid TMLE", "statsmodels IPW", "statsmodels OR")))]
    compared = [
        (f"{same_q} / {peer}", rounds[same_q], rounds[peer], "at most", 1.0),
        (f"own AIPW / {peer}", rounds["own AIPW"], rounds[peer], "at most", 1.0),
        (f"own four / {peer}", rounds["own four"], rounds[peer], "at most", 1.15),
        ("four packages / own four", packages, rounds["own four"], "at least", 3.0),
    ]
    found = []
    for name, above, below, rule, target in {each[0]: each for each in compared}.values():
        ratio = statistics.median(above) / statistics.median(below)
        each_round = [x / y for x, y in zip(above, below)]
        held = None if records[0]["rows"] < TARGET_ROWS else ratio <= target if rule == "at most" else ratio >= target
        found.append(
            {"ratio": name, "value": ratio, "low": min(each_round), "high": max(each_round), "target": f"{rule} {target}", "held": held}
        )
        verdict = {None: "", True: "held", False: "MISSED"}[held]
        bounds = f"({min(each_round):.2f} to {max(each_round):.2f})"
        print(f"{'':>9} {records[0]['family']:8} {name:42} {ratio:5.2f} {bounds}  {rule} {target} {verdict}", flush=True)
    return found


def about() -> dict[str, Any]:
    """Return the machine and the versions."""
    packages = ("doubleml", "econml", "zepid", "statsmodels", "scikit-learn", "numpy", "pandas")
    return {
        "machine": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--full", action="store_true", help="also 1,000,000 rows")
    parser.add_argument("--families", nargs="+", choices=("linear", "boosting"), default=["linear", "boosting"])
    parser.add_argument("--rounds", type=int, default=5, help="timed ones; one more, for memory, comes first")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/estimators.json"))
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    sizes = sorted({*options.rows, *([1_000_000] if options.full else [])})
    result: dict[str, Any] = {"about": about(), "systems": [], "ratios": []}
    with tempfile.TemporaryDirectory() as folder:
        for rows, family in itertools.product(sizes, options.families):
            records = measure(rows, family, options.rounds + 1, Path(folder))
            result["systems"] += records
            result["ratios"] += [{"rows": rows, "family": family, **each} for each in ratios(records)]
            options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
