"""The same tables by R's riskRegression: the doubly robust risk difference of ``ate()`` beside ours.

    python -m benchmarks.survival_r [--draws 100] [--rows 500] [--worlds confounded trial] [--out FILE]

Needs ``Rscript`` and the package riskRegression (Debian: ``r-cran-riskregression``). Both see the same tables of benchmarks/survival.py.
R fits Cox models of event and censoring and a logistic model of treatment, with linear terms and without cross-fitting; its estimator is
AIPTW (Ozenne et al. 2020, DOI 10.1002/bimj.201800298). The worlds' hazards are proportional and linear except in "crossing".

Of each world: bias and standard deviation of both, coverage of both, the mean difference between the two with its Monte-Carlo standard
error, and their correlation over tables.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.checkpoints import work_off
from benchmarks.survival import TIME, WORLDS, Job, Study, do, table, truth

SCRIPT = """
suppressMessages({library(riskRegression); library(survival)})
given <- commandArgs(TRUE)
for (file in list.files(given[1], full.names = TRUE)) {
  d <- read.csv(file)
  d$a <- factor(d$a)
  event <- coxph(Surv(t, e) ~ a + x + z + u, data = d, x = TRUE, y = TRUE)
  treatment <- glm(a ~ x + z + u, data = d, family = binomial)
  censor <- if (any(d$e == 0 & d$t < max(d$t))) coxph(Surv(t, e == 0) ~ a + x + z + u, data = d, x = TRUE, y = TRUE) else NULL
  arguments <- list(event = event, treatment = treatment, data = d, times = as.numeric(given[2]), cause = 1, verbose = FALSE,
                    band = FALSE, estimator = "AIPTW")
  if (!is.null(censor)) arguments$censor <- censor
  found <- do.call(ate, arguments)$diffRisk
  cat(basename(file), found$estimate, found$se, sep = ",")
  cat("\\n")
}
"""


def by_r(world: str, rows: int, draws: int) -> pd.DataFrame:
    """Return R's estimates and standard errors, by number of the draw."""
    with tempfile.TemporaryDirectory() as place:
        folder, script = Path(place) / "tables", Path(place) / "ate.R"
        folder.mkdir()
        script.write_text(SCRIPT)
        for seed in range(draws):
            table(world, rows, seed).to_csv(folder / f"{seed:05d}.csv", index=False)
        ran = subprocess.run(["Rscript", str(script), str(folder), str(TIME)], capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"Rscript failed: {ran.stderr[-2000:]}")
    answers = [line.split(",") for line in ran.stdout.splitlines() if line.count(",") == 2]
    index = [int(name.removesuffix(".csv")) for name, _, _ in answers]
    return pd.DataFrame({"estimate": [float(each[1]) for each in answers], "se": [float(each[2]) for each in answers]}, index=index)


def row(world: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    """Return a world's row of the Markdown table."""
    exact, (ours, theirs) = truth(world)["risk_difference"], ours.align(theirs, join="inner", axis=0)
    gap = ours["estimate"] - theirs["estimate"]
    cells = [world, str(len(gap)), f"{exact:+.4f}"]
    for side in (ours, theirs):
        covered = np.mean(np.abs(side["estimate"] - exact) < 1.96 * side["se"])
        error = side["estimate"] - exact
        cells.append(f"{error.mean():+.4f} ± {error.std() / np.sqrt(len(gap)):.4f}; {error.std():.4f}; {covered:.0%}")
    cells += [f"{gap.mean():+.4f} ± {gap.std() / np.sqrt(len(gap)):.4f}", f"{np.corrcoef(ours['estimate'], theirs['estimate'])[0, 1]:.3f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Estimate every table twice and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--worlds", nargs="+", default=["confounded", "trial", "null"], choices=list(WORLDS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/survival.jsonl"))
    options = parser.parse_args()
    if shutil.which("Rscript") is None:
        sys.exit("Rscript must be installed, with riskRegression; Debian: apt-get install r-cran-riskregression")
    study, jobs = Study(options.rows, "glm"), [Job(world, seed) for seed in range(options.draws) for world in options.worlds]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines, _ = work_off(
        study, jobs, do, options.out, options.jobs, job_of=lambda raw: Job(raw["world"], raw["seed"]), told="{0} of {1} tables"
    )
    print("| world | tables | truth | ours: bias; sd; coverage | R: bias; sd; coverage | ours less R | correlation |")
    print("|" + "---|" * 7)
    for world in options.worlds:
        numbers = {job.seed: lines[job]["numbers"]["tmle risk_difference"][:2] for job in jobs if job.world == world}
        ours = pd.DataFrame.from_dict(numbers, orient="index", columns=["estimate", "se"])
        print(row(world, ours, by_r(world, options.rows, options.draws)), flush=True)


if __name__ == "__main__":
    main()
