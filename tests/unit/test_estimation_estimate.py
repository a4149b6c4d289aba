"""The Python face on frames as people bring them, with plain learners."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from tasks.contract.errors import EstimationError, SpecError, WaymintError
from tasks.contract.roles import ColumnRoles
from tasks.estimation import analyse, estimate
from tasks.estimation.analysis import predict
from tasks.estimation.canonical import canonical
from tasks.estimation.table import read_roles, read_table
from tasks.nuisance.crossfit import InMemory, Rows, fit_folds, predict_folds
from tasks.nuisance.plan import Plan


def design(covariates: pd.DataFrame) -> np.ndarray:
    parts = [np.ones(len(covariates))]
    for name in covariates:
        column = covariates[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            parts += [np.asarray(column == level, dtype=float) for level in column.cat.categories[1:]]
        else:
            values = column.to_numpy(dtype=float)
            unit = 1e15 if np.nanmax(np.abs(values)) > 1e12 else 1.0  # microseconds would drown a plain regression
            parts.append(np.nan_to_num(values / unit))
        parts.append(column.isna().to_numpy(dtype=float))
    return np.column_stack(parts)


def logistic(x, y):
    """A few Newton steps with a little ridge."""
    beta = np.zeros(x.shape[1])
    for _ in range(8):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        beta += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + 0.1 * np.eye(len(beta)), x.T @ (y - p) - 0.1 * beta)
    return beta


def linear(x, y):
    """Least squares of least norm."""
    return np.linalg.lstsq(x, y, rcond=None)[0]


class Propensity:
    def __init__(self, beta):
        self.beta = beta

    def predict(self, covariates):
        return 1 / (1 + np.exp(-np.clip(design(covariates) @ self.beta, -13, 13)))


class Outcome:
    def __init__(self, beta, kind):
        self.beta, self.kind = beta, kind

    def predict(self, covariates, treatment):
        eta = interacted(design(covariates), treatment) @ self.beta
        return 1 / (1 + np.exp(-np.clip(eta, -13, 13))) if self.kind == "binary" else eta


def interacted(x, treatment):
    a = np.asarray(treatment, dtype=float)[:, None]
    return np.hstack([x, a * x])


class Plain:
    """Logistic g, logistic or linear Q with interactions."""

    def fit_propensity(self, covariates, treatment, rng, weights=None):
        return Propensity(logistic(design(covariates), treatment))

    def fit_outcome(self, covariates, treatment, outcome, kind, rng, weights=None):
        x = interacted(design(covariates), treatment)
        return Outcome(logistic(x, outcome) if kind == "binary" else linear(x, outcome), kind)


class Means:
    """Ignores the covariates: constant propensity, arm means."""

    def fit_propensity(self, covariates, treatment, rng, weights=None):
        return Constant(np.mean(treatment), np.mean(treatment))

    def fit_outcome(self, covariates, treatment, outcome, kind, rng, weights=None):
        return Constant(outcome[treatment == 0].mean(), outcome[treatment == 1].mean())


class Constant:
    def __init__(self, zero, one):
        self.means = np.array([zero, one])

    def predict(self, covariates, treatment=None):
        return self.means[np.zeros(len(covariates), dtype=int) if treatment is None else treatment]


def base_world(n: int, seed: int, assignment: str = "moderate") -> pd.DataFrame:
    """Base world B; its ATE is 0.4186."""
    rng = np.random.default_rng(seed)
    w1, w2 = (rng.random((2, n)) < 0.5).astype(float)
    w3 = (rng.random(n) < 0.3 + 0.35 * (w1 + w2) / 2).astype(float)
    w4, w5 = rng.normal(size=(2, n))
    w6 = w4 / 2 + w5 / 2 + rng.normal(size=n)
    tau = 2 + 0.5 * np.sin(w1) + 0.3 * np.log(np.abs(w2) + 1) - 0.2 * w3**2 + 0.1 * np.exp(w4) - 0.3 * np.tanh(w5) + 0.2 * np.cos(w6)
    eta = -0.4 + 0.7 * w1 - 0.7 * w2 + 0.5 * w3 + 0.4 * w4 - 0.4 * w5 + 0.5 * w6
    g = 1 / (1 + np.exp(-eta)) if assignment == "moderate" else np.full(n, 0.5)
    a = (rng.random(n) < g).astype(int)
    p = 1 / (1 + np.exp(-(-0.5 + tau * a + 0.5 * w1 + w2 - w3 + 0.2 * w4 - 0.3 * w5 + 0.1 * w6)))
    y = (rng.random(n) < p).astype(int)
    return pd.DataFrame({"w1": w1, "w2": w2, "w3": w3, "w4": w4, "w5": w5, "w6": w6, "a": a, "y": y})


def messy(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """Texts, booleans, dates, categories, missing cells, and a treatment in words; the effect is 2."""
    rng = np.random.default_rng(seed)
    age = rng.normal(50, 10, n)
    drug = np.where(rng.random(n) < 1 / (1 + np.exp(-(age - 50) / 20)), "drug", "placebo")
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.1, np.nan, age),
            "city": rng.choice(["Älpe", "b", "c, d"], n),
            "smoker": pd.array(rng.random(n) < 0.3, dtype="boolean"),
            "seen": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "grade": pd.Categorical(rng.choice(["low", "high"], n), categories=["low", "high"], ordered=True),
            "visits": pd.array(rng.integers(0, 9, n), dtype="Int64"),
            "same": 1,
            "arm": drug,
            "score": 0.1 * age + 2.0 * (drug == "drug") + rng.normal(size=n),
        }
    )
    frame.loc[rng.random(n) < 0.1, "city"] = None
    frame.loc[:4, ["smoker", "visits"]] = pd.NA
    frame.loc[7:9, "seen"] = pd.NaT
    return frame


MESSY = {"treatment": "arm", "treated": "drug", "outcome": "score", "covariates": "*"}


@pytest.mark.parametrize("assignment", ["moderate", "trial"])
def test_recovers_the_base_world(assignment):
    """n = 2000, 8 tables: mean error within 3 standard errors of the mean, single errors within their own."""
    errors = {name: [] for name in ("or", "ipw", "aipw", "tmle")}
    for seed in range(8):
        frame = base_world(2000, seed, assignment)
        for one in estimate(frame, {"treatment": "a", "outcome": "y"}, learner=Plain(), seed=seed):
            assert one.n == 2000
            errors[one.estimator].append((one.estimate - 0.4186) / one.se)
    for name, z in errors.items():
        assert abs(np.mean(z)) * np.sqrt(8) < 3, name
        assert np.max(np.abs(z)) < 3.5, name


def test_works_on_a_frame_of_every_type():
    found = analyse(messy(), MESSY, learner=Plain())
    assert [one.estimator for one in found.estimates] == ["or", "ipw", "aipw", "tmle"]
    for one in found.estimates:
        assert abs(one.estimate - 2) < 4 * one.se
    assert {row.covariate for row in found.balance} == {"age", "city", "smoker", "seen", "grade", "visits"}
    assert {row.level for row in found.balance if row.covariate == "city"} == {"Älpe", "b", "c, d", "(missing)"}
    reply = found.as_dict()
    assert reply["n"] == 300
    numbers = {"estimand", "estimator", "estimate", "se", "ci_low", "ci_high", "n", "ess", "clipped"}
    # of more than two arms these say which; of two they are None
    assert set(reply["estimates"][0]) == numbers | {"arm", "control", "joint_low", "joint_high", "outcome"}


def test_row_order_and_index_change_nothing():
    frame = pd.concat([messy(200), messy(20)])  # some rows are there twice
    shuffled = frame.sample(frac=1, random_state=3)
    assert estimate(frame, MESSY, learner=Plain()) == estimate(shuffled, MESSY, learner=Plain())


def test_another_seed_gives_other_folds():
    assert estimate(messy(), MESSY, learner=Plain(), seed=1) != estimate(messy(), MESSY, learner=Plain(), seed=2)


def test_calling_the_other_label_treated_flips_the_sign_exactly():
    here = analyse(messy(), MESSY, ("or", "ipw", "aipw", "tmle", "att", "ato"), learner=Plain())
    there = analyse(messy(), {**MESSY, "treated": "placebo"}, ("or", "ipw", "aipw", "tmle", "atc", "ato"), learner=Plain())
    for one, other in zip(here.estimates, there.estimates):
        assert (one.estimate, one.ci_low, one.se, one.ess) == (-other.estimate, -other.ci_high, other.se, other.ess)
    assert here.overlap.arm1 == there.overlap.arm0


@pytest.mark.parametrize(
    ("coding", "treated"),
    [(int, 1), (bool, 1), (float, True), (str, 1), ("boolean", "1"), ("Int8", 1.0), ("category", "1"), (bool, "True")],
)
def test_every_coding_of_the_treatment_means_the_same(coding, treated):
    frame = base_world(300, 1)
    expected = estimate(frame, {"treatment": "a", "outcome": "y"}, learner=Plain())
    frame["a"] = frame["a"].astype(coding)
    assert estimate(frame, {"treatment": "a", "outcome": "y", "treated": treated}, learner=Plain()) == expected


@pytest.mark.parametrize("coding", [int, bool, float, object, "boolean", "Int8"])
def test_every_coding_of_a_binary_outcome_means_the_same(coding):
    frame = base_world(300, 1)
    roles = ColumnRoles(treatment="a", outcome="y", covariates=("w1", "w2", "w3", "w4", "w5", "w6"))
    expected = estimate(frame, roles, learner=Plain())
    frame["y"] = frame["y"].astype(coding)
    assert estimate(frame, roles, learner=Plain()) == expected


def test_stretching_the_outcome_stretches_the_effect():
    frame = messy()
    here = estimate(frame, MESSY, learner=Plain())
    there = estimate(frame.assign(score=1000 - 50 + 7 * frame["score"]), MESSY, learner=Plain())
    for one, other in zip(here, there):
        assert other.estimate == pytest.approx(7 * one.estimate, rel=1e-8)
        assert other.se == pytest.approx(7 * one.se, rel=1e-8)


def test_arm_means_give_nearly_the_difference_in_means():
    """Cross-fitted means differ from the means by the folds' rounding only."""
    frame = base_world(1000, 4, "trial")
    gap = frame["y"][frame["a"] == 1].mean() - frame["y"][frame["a"] == 0].mean()
    for one in estimate(frame, {"treatment": "a", "outcome": "y"}, learner=Means(), propensity=float(frame["a"].mean())):
        assert one.estimate == pytest.approx(gap, abs=2e-3), one.estimator


def test_known_propensities_are_used_as_given():
    frame = base_world(400, 2, "trial")
    roles = {"treatment": "a", "outcome": "y"}
    number, array = (analyse(frame, roles, learner=Plain(), propensity=p) for p in (0.5, np.full(400, 0.5)))
    assert number == array or number.estimates == array.estimates
    assert number.overlap.quantiles0 == (0.5,) * 5
    assert number.estimates != estimate(frame, roles, learner=Plain())
    order = np.random.default_rng(0).permutation(400)
    p = np.random.default_rng(1).uniform(0.3, 0.7, 400)
    assert estimate(frame, roles, learner=Plain(), propensity=p) == estimate(frame.iloc[order], roles, learner=Plain(), propensity=p[order])
    flipped = estimate(frame, {**roles, "treated": 0}, learner=Plain(), propensity=0.5)
    assert [one.estimate for one in flipped] == [-one.estimate for one in number.estimates]
    with pytest.raises(EstimationError, match=r"in \(0, 1\); got 400"):
        estimate(frame, roles, learner=Plain(), propensity=1.0)
    with pytest.raises(SpecError, match=r"shape \(400,\)"):
        estimate(frame, roles, learner=Plain(), propensity=p[:10])


def fold_predictions(plan, table, repeat):
    """Out-of-fold predictions of one repeat alone."""
    rows, covariates = Rows(table.keys, table.label, table.y, table.kind), InMemory(table.covariates)
    fold_of = plan.assign(table.keys, table.label, table.y, table.kind, repeat)
    return predict_folds(fit_folds(plan, Plain(), rows, covariates, fold_of, repeat)[0], fold_of, covariates)


def test_repeats_average_predictions():
    roles = {"treatment": "a", "outcome": "y"}
    frame = base_world(300, 3)
    (three,) = estimate(frame, roles, ("aipw",), learner=Plain(), repeats=3)
    (one,) = estimate(frame, roles, ("aipw",), learner=Plain(), repeats=1)
    assert three.estimate != one.estimate
    assert three.estimate == pytest.approx(one.estimate, abs=one.se / 2)
    table = read_table(frame, read_roles(frame, roles))
    alone = [fold_predictions(Plan("source", 0, 5, repeat + 1), table, repeat) for repeat in range(3)]
    whole = predict(table, Plan("source", 0, 5, 3), Plain()).nuisances
    for values, single in zip(whole, zip(*alone)):
        np.testing.assert_allclose(values, np.mean(single, axis=0), rtol=1e-12)


def test_subgroups_add_their_effects():
    found = estimate(messy(600), {**MESSY, "subgroups": ("city", "smoker")}, ("aipw",), learner=Plain())
    names = [one.estimand for one in found]
    assert names == ["ate", "gate[city=b]", "gate[city=c, d]", "gate[city=Älpe]", "gate[smoker=false]", "gate[smoker=true]"]
    with pytest.raises(SpecError, match="levels of subgroup 'age' must be 1 to 20"):
        estimate(messy(), {**MESSY, "subgroups": ("age",)}, learner=Plain())


CASES = [
    (messy().drop(columns="age"), {**MESSY, "covariates": ("age",)}, SpecError, "column 'age' of the frame"),
    (messy().drop(columns="score"), MESSY, SpecError, "column 'score'"),
    (messy(), {**MESSY, "treated": "other"}, SpecError, "treated of roles"),
    (messy().assign(arm=messy()["arm"].replace({"placebo": "red", "drug": "blue"})), MESSY | {"treated": 1}, SpecError, "treated of roles"),
    (messy(), {**MESSY, "outcome": "arm"}, SpecError, "one part"),
    (messy(), {**MESSY, "covariates": ("age", "age")}, SpecError, "one part"),
    (messy(), {**MESSY, "outcom": "arm"}, SpecError, "roles of estimate"),
    (messy(), {**MESSY, "outcome_kind": "binary"}, SpecError, "kind binary"),
    (messy(), {**MESSY, "outcome_kind": "count"}, SpecError, "kind count"),
    (messy(), {**MESSY, "covariates": ("same",)}, EstimationError, "one that varies"),
    (pd.concat([messy(), messy()[["age"]]], axis=1), MESSY, SpecError, "once; got 2"),
    (messy().query("arm == 'drug'"), MESSY, EstimationError, "must be two; got 1"),
    (messy().assign(arm=["third"] * 30 + messy()["arm"].tolist()[30:]), MESSY, EstimationError, "must be two; got 3"),
    (messy().assign(arm=[None] * 3 + messy()["arm"].tolist()[3:]), MESSY, EstimationError, "got 3 missing"),
    (messy().assign(score=[None] * 4 + messy()["score"].tolist()[4:]), MESSY, EstimationError, "got 4 missing"),
    (messy().assign(score=messy()["score"].astype(str)), MESSY, EstimationError, "number or a boolean; got text"),
    (messy().assign(score=messy()["seen"].fillna(pd.Timestamp("2020-01-01"))), MESSY, EstimationError, "number or a boolean"),
    (messy().assign(score=1.5), MESSY, EstimationError, "at least two values"),
    (messy().assign(score=[np.inf] * 2 + messy()["score"].tolist()[2:]), MESSY, EstimationError, "outcome 'score' .* got 2 infinite"),
    (messy().assign(age=[np.inf] * 2 + messy()["age"].tolist()[2:]), MESSY, EstimationError, "covariate 'age' .* got 2 infinite"),
    (messy().assign(city=[f"id{j}" for j in range(300)]), MESSY, SpecError, "at most 200; got 300"),
    (messy().head(12), MESSY, EstimationError, "smaller arm must be at least 10"),
    (messy().head(0), MESSY, EstimationError, "must be two; got 0"),
]


@pytest.mark.parametrize(("frame", "roles", "error", "match"), CASES, ids=[case[3][:30] for case in CASES])
def test_what_cannot_be_answered_is_refused_by_name(frame, roles, error, match):
    with pytest.raises(error, match=match) as caught:
        estimate(frame, roles, learner=Plain())
    assert isinstance(caught.value, WaymintError)
    text = str(caught.value)
    assert not any(cell in text for cell in ("Älpe", "id17"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"folds": 1}, "folds"), ({"folds": 21}, "folds"), ({"repeats": 0}, "repeats"), ({"estimators": ("x",)}, "estimator")],
)
def test_arguments_are_checked(changes, match):
    with pytest.raises(SpecError, match=match):
        estimate(messy(), MESSY, **{"learner": Plain(), **changes})


def test_canonical_values():
    assert canonical(pd.Series([True, None, False], dtype=object)).tolist()[0] == "true"
    assert canonical(pd.Series([1, None], dtype="Int64")).tolist()[0] == 1.0
    assert canonical(pd.Series([Decimal("1.5"), None])).iloc[0] == 1.5
    assert canonical(pd.Series([dt.date(1970, 1, 2), None])).iloc[0] == 86_400_000_000.0
    assert canonical(pd.Series(pd.to_datetime(["1970-01-02T00:00:00+01:00"]))).iloc[0] == 82_800_000_000.0
    assert canonical(pd.Series(pd.to_timedelta([1, None], unit="s"))).iloc[0] == 1_000_000.0
    assert np.isnan(canonical(pd.Series(pd.to_datetime(["2020-01-01", None]))).iloc[1])
    assert canonical(pd.Series(pd.Categorical(["z", "b", None], categories=["z", "b", "unused"]))).cat.categories.tolist() == ["b", "z"]
    assert canonical(pd.Series(pd.Categorical([2, 1, None]))).cat.categories.tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        ([0, 1, 1], "binary"),
        ([0, 3, 2], "count"),
        ([2, 3, 4], "count"),
        ([0, 31, 2], "count"),
        ([-1, 3, 2], "continuous"),
        ([1, 2, 1], "continuous"),
    ],
)
def test_the_kind_of_an_outcome_is_seen(y, kind):
    frame = pd.DataFrame({"w": [1.0, 2.0, 3.0], "a": [0, 1, 0], "y": y})
    assert read_table(frame, read_roles(frame, {"treatment": "a", "outcome": "y"})).kind == kind


def test_keys_are_distinct_follow_content_and_ignore_the_scale_of_the_outcome():
    frame = pd.concat([messy(100)] * 2 + [messy(100).assign(score=0.0, extra=1)[messy(100).columns]], ignore_index=True)
    table = read_table(frame, read_roles(frame, MESSY))
    assert len(set(table.keys.tolist())) == 300
    scaled = read_table(frame.assign(score=3 + 2 * frame["score"]), read_roles(frame, MESSY))
    assert np.array_equal(table.keys, scaled.keys)
    negative_zero = frame.assign(age=frame["age"].where(frame.index > 5, -0.0))
    positive_zero = frame.assign(age=frame["age"].where(frame.index > 5, 0.0))
    assert np.array_equal(
        read_table(negative_zero, read_roles(frame, MESSY)).keys, read_table(positive_zero, read_roles(frame, MESSY)).keys
    )
    assert not np.array_equal(read_table(positive_zero, read_roles(frame, MESSY)).keys, table.keys)
