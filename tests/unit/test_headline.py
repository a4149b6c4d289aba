"""The effect that a release is made for stands first wherever a release is summed up: the ATE, or another target."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.contract.headline import built_in, combined_effect, main_effect, main_estimand

EFFECTS: dict[str, Any] = {
    "source": {"ate": {"estimate": 1.0, "estimator": "adaptive"}, "att": {"estimate": 2.0, "estimator": "aipw"}},
    "release": {
        "ate": {"estimate": 1.1, "estimator": "adaptive"},
        "att": {"estimate": 2.1, "estimator": "aipw"},
        "combined": [
            {"estimand": "ate", "estimator": "adaptive", "estimate": 1.2},
            {"estimand": "att", "estimator": "aipw", "estimate": 2.2},
        ],
    },
    "truth": {"ate": 0.9, "mc_se": 0.01, "others": [{"estimand": "att", "value": 1.9, "mc_se": 0.02}]},
}
CASES = {"ate": (EFFECTS, 1.0, 1.2, 0.9), "att": (EFFECTS | {"truth": EFFECTS["truth"] | {"estimand": "att"}}, 2.0, 2.2, 1.9)}


@pytest.mark.parametrize("estimand", CASES)
def test_the_main_effect_is_that_of_the_estimand(estimand: str) -> None:
    effects, source, combined, carried = CASES[estimand]
    assert main_estimand(effects) == estimand
    main, whole, exact = main_effect(effects, "source"), combined_effect(effects), built_in(effects)
    assert main is not None
    assert main["estimate"] == source
    assert whole is not None
    assert whole["estimate"] == combined
    assert exact is not None
    assert exact.value == carried


@pytest.mark.parametrize("effects", [{}, {"source": None, "truth": None}, {"truth": {"estimand": "att"}}])
def test_a_manifest_without_effects_has_no_headline(effects: dict[str, Any]) -> None:
    assert (main_effect(effects, "source"), combined_effect(effects), built_in(effects)) == (None, None, None)
