"""Which parts of the code mutants are sampled from, and which tests must notice them."""

from __future__ import annotations

from typing import NamedTuple


class Area(NamedTuple):
    """Mutants sampled in an area, and which tests each of its modules must not fool: {module or folder: test files}."""

    mutants: int
    tests: dict[str, tuple[str, ...]]


#: Test files (or single tests of them) in tests/unit, without ``test_`` and ``.py``.
TREES, MODELS = ("nuisance_trees",), ("nuisance_models",)
CROSSFIT = (
    "contract_rng",
    "nuisance_folds",
    "nuisance_models",
    "nuisance_crossfit::test_a_plan_says_when_passes_are_needed",
    "nuisance_crossfit::test_a_leak_would_be_seen",
    "nuisance_crossfit::test_repeats_are_averaged_and_known_propensities_kept",
    "nuisance_crossfit::test_backends_agree[glm-200-backends1]",
)
LAWS = ("checks_numbers", "checks_laws")
VERDICTS = ("checks_wording", "checks_table", "checks_verdict")
DISTANCES = ("checks_numbers", "checks_null", "checks_dcr", "checks_groups", "checks_budget")

#: Left out: tasks' borders (task.py), which tests/unit/test_every_task.py runs in a minute, and Great Expectations' page and suite.
LEFT_OUT = ("task.py", "expectations.py", "page.py")
AREAS: dict[str, Area] = {
    "nuisance": Area(22, {
        "tasks/nuisance": CROSSFIT, "tasks/nuisance/growth.py": TREES, "tasks/nuisance/walk.py": TREES, "tasks/nuisance/forest.py": TREES,
        "tasks/nuisance/trees.py": TREES, "tasks/nuisance/methods/boosted.py": TREES, "tasks/nuisance/methods": MODELS,
        "tasks/nuisance/folded.py": MODELS, "tasks/nuisance/ridge.py": ("mechanisms_ridge", *MODELS),
        "tasks/nuisance/design.py": ("mechanisms_ridge", *MODELS), "tasks/nuisance/simplex.py": ("mechanisms_ridge", *MODELS),
        "tasks/nuisance/descent.py": ("mechanisms_passes",), "tasks/nuisance/passes.py": ("mechanisms_passes",),
    }),
    "targeting": Area(12, {
        "tasks/targeting/fluctuation.py": ("estimation_fluctuation", "targeting_truncation"),
        "tasks/targeting/influence.py": ("targeting_truncation", "estimation_methods"),
        "tasks/targeting/truncation.py": ("targeting_truncation",),
    }),
    "gate table": Area(12, {
        "tasks/contract/gates": VERDICTS, "tasks/checks/metric.py": VERDICTS, "tasks/checks/verdict.py": VERDICTS,
        "tasks/checks/table.py": VERDICTS,
    }),
    "checks": Area(12, {
        "tasks/checks/conformity.py": ("checks_schema",), "tasks/checks/groups.py": DISTANCES, "tasks/checks/joint.py": DISTANCES,
        "tasks/checks/null.py": DISTANCES, "tasks/checks/pool.py": DISTANCES, "tasks/checks/laws.py": LAWS,
        "tasks/checks/comparison.py": LAWS, "tasks/checks/support.py": LAWS,
        "tasks/checks/methods": ("checks_overlap", *LAWS, "checks_schema", *VERDICTS, *DISTANCES),
    }),
    "receipts": Area(12, {"infra/workspace.py": ("infra_receipts", "infra_workspace")}),
    "digest": Area(6, {"infra/provenance.py": ("infra_receipts",)}),
}  # fmt: skip
