import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss, roc_auc_score

from tasks.contract.errors import EstimationError
from tasks.contract.nuisance import Nuisances
from tasks.contract.results import Estimate
from tasks.estimation.fidelity import effect_identity, error_ledger
from tasks.estimation.transfer import transfer_scores


def test_terms_sum_to_the_gap_between_release_and_source():
    rng = np.random.default_rng(0)
    phi, source, release = rng.normal(size=500), rng.normal(size=500), rng.normal(size=900)
    found = effect_identity(phi, source, release)
    assert found.contrast.value == pytest.approx(np.mean(source - phi))
    assert found.covariate_law.value == pytest.approx(release.mean() - source.mean())
    assert found.contrast.value + found.covariate_law.value == pytest.approx(found.total.value)
    assert found.total.value == pytest.approx(release.mean() - phi.mean())


def test_terms_cover_the_truth():
    """tau = w, tau~ = 0.8 w + 0.3; W ~ N(0, 1), W~ ~ N(0.5, 1): contrast 0.3, covariate law 0.4, total 0.7."""
    rng, hits = np.random.default_rng(1), np.zeros(3)
    for _ in range(1000):
        w, released = rng.normal(size=300), rng.normal(0.5, 1, 400)
        phi = w + 2 * rng.normal(size=300)
        found = effect_identity(phi, 0.8 * w + 0.3, 0.8 * released + 0.3)
        hits += [term.ci_low <= truth <= term.ci_high for term, truth in zip(found, (0.3, 0.4, 0.7))]
    assert np.all((hits >= 925) & (hits <= 975)), hits


def test_a_wrong_contrast_is_seen_although_the_transfer_score_is_perfect_elsewhere():
    rng = np.random.default_rng(2)
    phi = 1 + rng.normal(size=2000)
    good, flat = effect_identity(phi, np.ones(2000), np.ones(2000)), effect_identity(phi, np.zeros(2000), np.zeros(2000))
    assert abs(good.contrast.value) < 3 * good.contrast.se
    assert flat.contrast.ci_high < -0.8


def test_the_ledger_adds_up():
    rng = np.random.default_rng(3)
    phi, source, release = rng.normal(size=500), rng.normal(size=500), rng.normal(size=900)
    released = Estimate("ate", "tmle", 0.4, 0.05, 0.3, 0.5, 900, 900.0, 0.0)
    ledger = {entry.name: entry for entry in error_ledger(phi, source, release, released)}
    assert list(ledger) == ["sampling", "contrast", "covariate_law", "monte_carlo", "gap"]
    known = ledger["contrast"].value + ledger["covariate_law"].value + ledger["monte_carlo"].value
    assert ledger["gap"].value == pytest.approx(known)
    assert ledger["gap"].value == pytest.approx(0.4 - phi.mean())
    assert ledger["sampling"].value is None
    assert ledger["sampling"].se == pytest.approx(phi.std(ddof=1) / np.sqrt(500))
    assert ledger["monte_carlo"].se == 0.05
    assert error_ledger(phi, source, release)[3].value is None


def test_identity_refuses_what_it_cannot_use():
    one = np.ones(10)
    with pytest.raises(EstimationError, match="phi of the identity"):
        effect_identity(np.append(one[:9], np.nan), one, one)
    with pytest.raises(EstimationError, match="tau_source of the identity"):
        effect_identity(one, one[:5], one)


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(4)
    p = rng.random(400).round(2)  # ties
    y = (rng.random(400) < p) * 1.0
    auc, loss = transfer_scores(y, p, np.full(400, 0.5), "binary")
    assert auc.tstr.value == pytest.approx(roc_auc_score(y, p))
    assert auc.trtr.value == 0.5
    assert loss.tstr.value == pytest.approx(log_loss(y, np.clip(p, 1e-6, 1 - 1e-6)))
    assert loss.difference.value == pytest.approx(loss.tstr.value - loss.trtr.value)
    (rmse,) = transfer_scores(y, p, p + 1, "continuous")
    assert rmse.tstr.value == pytest.approx(np.sqrt(np.mean((y - p) ** 2)))


def test_score_intervals_cover():
    """AUC of N(1, 1) against N(0, 1) is Phi(1 / sqrt 2) = 0.7602; RMSE of a unit residual is 1; two such models differ by 0."""
    rng, hits = np.random.default_rng(5), np.zeros(3)
    for _ in range(600):
        y = (rng.random(250) < 0.4) * 1.0
        auc = transfer_scores(y, y + rng.normal(size=250), y, "binary")[0].tstr
        (rmse,) = transfer_scores(y, y + rng.normal(size=250), y + rng.normal(size=250), "continuous")
        hits += [
            auc.ci_low <= 0.76025 <= auc.ci_high,
            rmse.tstr.ci_low <= 1 <= rmse.tstr.ci_high,
            rmse.difference.ci_low <= 0 <= rmse.difference.ci_high,
        ]
    assert np.all((hits >= 600 * 0.92) & (hits <= 600 * 0.98)), hits


def test_one_class_has_no_auc():
    with pytest.raises(EstimationError, match="classes of a binary outcome"):
        transfer_scores(np.ones(5), np.ones(5), np.ones(5), "binary")
    with pytest.raises(EstimationError, match="of one length"):
        transfer_scores(np.ones(5), np.ones(4), np.ones(5), "continuous")


class Linear:
    def fit_outcome(self, covariates, treatment, outcome, kind, rng, weights=None):
        self.model = LinearRegression().fit(np.column_stack([covariates.to_numpy(), treatment]), outcome)
        return self

    def predict(self, covariates, treatment):
        return self.model.predict(np.column_stack([covariates.to_numpy(), treatment]))


def test_a_release_of_another_law_transfers_worse():
    rng = np.random.default_rng(6)

    def table(n, slope):
        w = pd.DataFrame({"w0": rng.normal(size=n)})
        a = rng.integers(0, 2, n).astype(np.int8)
        return w, a, slope * w["w0"].to_numpy() + a + rng.normal(size=n)

    def learnt(w, a, y):
        return Linear().fit_outcome(w, a, y, "continuous", rng)

    w, a, y = table(1000, 1.0)
    fit = Linear().fit_outcome(w, a, y, "continuous", rng)
    nuisances = Nuisances(np.full(1000, 0.5), fit.predict(w, np.zeros(1000)), fit.predict(w, np.ones(1000)))
    scores = {
        slope: transfer_scores(y, learnt(*table(1000, slope)).predict(w, a), nuisances.observed(a), "continuous")[0]
        for slope in (1.0, -1.0)
    }
    assert scores[1.0].difference.value < 0.02
    assert scores[-1.0].difference.ci_low > 0.5
