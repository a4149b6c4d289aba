"""Thresholdout, and the ledger that two writers can't make forget."""

import json
import threading
import uuid

import numpy as np
import pytest

from infra.store import open_store
from tasks.checks.evidence import DistanceEvidence, Evidence, HoldoutEvidence
from tasks.checks.methods.dcr import DistanceCheck
from tasks.checks.methods.holdout import HoldoutCheck
from tasks.contract.budget import Answer, Entry, Query, Terms, answer, digest_of, holdout_name
from tasks.contract.errors import StoreError
from tasks.contract.spec import GatesSpec
from tasks.publish.holdouts import ask, keep, read_entries, splits
from tasks.publish.layout import place_of

TERMS = Terms(4.0, 0.1, 3)
HOLDOUT = holdout_name("f" * 64, 7, 0.3)


def entry(query, said, charged=None, run="r"):
    charged = said.above if charged is None else charged
    return Entry(
        query=query.digest, above=said.above, answer=said.value, charged=charged, left=said.left, release="trial", run=run, created="now"
    )


def query(value, name="one"):
    return Query(digest_of(TERMS, name), value)


def played(values, holdout=HOLDOUT, terms=TERMS):
    """Ask one question after the other; return answers."""
    entries, answers = [], []
    for number, value in enumerate(values):
        asked = query(value, f"question {number}")
        said = answer(holdout, entries, asked, terms)
        answers.append(said)
        if not said.recorded and not said.spent:
            entries.append(entry(asked, said))
    return answers


def test_agreement_is_free_and_tells_no_number():
    answers = played([0.5] * 200)
    assert not any(said.above for said in answers)
    assert {said.value for said in answers} == {None}
    assert {said.left for said in answers} == {3}


def test_every_difference_is_charged_until_nothing_is_said():
    answers = played([30.0, 0.0, 25.0, 28.0, 0.0, 31.0])
    assert [said.above for said in answers] == [True, False, True, True, False, False]
    assert [said.left for said in answers] == [3, 2, 2, 1, 0, 0]
    assert [said.spent for said in answers] == [False] * 4 + [True] * 2
    assert answers[0].value == pytest.approx(30, abs=1)
    assert answers[0].value != 30.0
    assert answers[4].value is None


def test_noise_is_that_of_the_algorithm():
    """At T the comparison is a fair coin; above it P(value > T + Lap(2 s) + Lap(4 s)) has a closed form."""
    terms, away = Terms(4.0, 0.5, 3), 3.0
    said = [answer(holdout_name(f"{n}", 0, 0.3), [], Query(f"q{n}", 4.0), terms).above for n in range(2000)]
    assert np.mean(said) == pytest.approx(0.5, abs=0.04)
    above = np.mean([answer(holdout_name(f"{n}", 0, 0.3), [], Query(f"q{n}", 4.0 + away), terms).above for n in range(2000)])
    a, b = 2 * terms.noise, 4 * terms.noise
    tail = (b**2 * np.exp(-away / b) - a**2 * np.exp(-away / a)) / (2 * (b**2 - a**2))
    assert above == pytest.approx(1 - tail, abs=0.02)
    values = [answer(holdout_name(f"{n}", 0, 0.3), [], Query(f"q{n}", 100.0), terms).value - 100 for n in range(2000)]
    assert np.mean(np.abs(values)) == pytest.approx(0.5, abs=0.05)  # the mean size of Lap(s) is s


def test_the_same_question_has_the_same_answer_and_costs_nothing():
    first = played([30.0, 28.0, 29.0])  # spent
    assert first[-1].left == 1
    entries = [entry(query(value, f"question {n}"), said) for n, (value, said) in enumerate(zip([30.0, 28.0, 29.0], first))]
    again = answer(HOLDOUT, entries, query(30.0, "question 0"), TERMS)
    assert again == first[0]._replace(recorded=True)
    assert answer(HOLDOUT, entries, query(0.0, "a new one"), TERMS).spent


def test_a_new_threshold_is_drawn_after_a_charge():
    """A question near the threshold may be answered otherwise once the budget was charged: else the noise could be averaged out."""
    holdouts = [holdout_name(f"{n}", 0, 0.3) for n in range(300)]
    charge = entry(query(30.0, "other"), Answer(3, True, 30.0, False, 0))
    before = [answer(name, [], query(4.05), TERMS).above for name in holdouts]
    after = [answer(name, [charge], query(4.05), TERMS).above for name in holdouts]
    assert sum(one != other for one, other in zip(before, after)) > 30


def test_names_of_holdouts_tell_source_and_split_apart():
    names = [holdout_name("a", 7, 0.3), holdout_name("a", 8, 0.3), holdout_name("a", 7, 0.2), holdout_name("b", 7, 0.3)]
    assert len(set(names)) == 4
    assert len({name.partition("-")[0] for name in names[:3]}) == 1
    assert names[3].partition("-")[0] != names[0].partition("-")[0]


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.s3)])
def store(request, tmp_path):
    if request.param == "file":
        return open_store(f"file://{tmp_path}/store")
    request.getfixturevalue("s3_env")
    return open_store(f"s3://{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}")


def test_two_writers_never_lose_a_charge(store):
    """Six writers fail the same holdout at once: each charge has a number of its own, and the budget is what is left of it."""
    terms, found, barrier = Terms(4.0, 0.1, 4), [], threading.Barrier(6)

    def write(number):
        asked = query(30.0, f"writer {number}")
        barrier.wait()
        for _ in range(50):
            said = ask(store, HOLDOUT, asked, terms)
            if keep(store, HOLDOUT, said, entry(asked, said, run=f"r{number}")):
                found.append(said)
                return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said.left for said in found) == [0, 0, 1, 2, 3, 4]
    entries = read_entries(store, HOLDOUT)
    assert [one.left for one in entries] == [4, 3, 2, 1]
    assert len({one.run for one in entries}) == 4


def test_a_ledger_counts_splits_of_a_source_and_no_other(store):
    other = holdout_name("f" * 64, 8, 0.3)
    for name, value in ((HOLDOUT, 30.0), (HOLDOUT, 0.0), (other, 31.0), (holdout_name("e" * 64, 7, 0.3), 30.0)):
        asked = query(value, f"{name}{value}")
        said = ask(store, name, asked, TERMS)
        assert keep(store, name, said, entry(asked, said))
    assert splits(store, HOLDOUT) == splits(store, other) == (2, 2)
    assert len(read_entries(store, HOLDOUT)) == 2


def test_a_ledger_is_no_release_and_holds_no_number_of_a_row(tmp_path):
    store = open_store(f"file://{tmp_path}/store")
    asked = query(30.0)
    said = ask(store, HOLDOUT, asked, TERMS)
    assert keep(store, HOLDOUT, said, entry(asked, said))
    (item,) = store.list("")
    assert place_of(item.key) is None
    assert set(json.loads(store.get(item.key))) == {"query", "above", "answer", "charged", "left", "release", "run", "created"}


def test_a_ledger_with_a_gap_or_a_damaged_entry_is_refused(tmp_path):
    store = open_store(f"file://{tmp_path}/store")
    for number in range(3):
        asked = query(30.0, f"{number}")
        said = ask(store, HOLDOUT, asked, TERMS)
        keep(store, HOLDOUT, said, entry(asked, said))
    keys = [item.key for item in store.list("")]
    whole = store.get(keys[1])
    store.put(keys[1], b"{}")
    with pytest.raises(StoreError, match="damaged"):
        ask(store, HOLDOUT, query(1.0), TERMS)
    store.delete(keys[1])
    with pytest.raises(StoreError, match="gap"):
        ask(store, HOLDOUT, query(1.0), TERMS)
    store.put(keys[1], whole)
    assert ask(store, HOLDOUT, query(1.0, "new"), TERMS).spent


def distances(n=300):
    rng = np.random.default_rng(1)
    training = np.repeat([1, 0], [n // 2, n // 2])
    return DistanceEvidence(
        rng.random(n) + 0.1, rng.random(n // 2) + 0.1, training, 1 - training, rng.random((n, 1)), rng.integers(0, n, (n, 1)), 0
    )


def test_gates_of_a_holdout_that_agrees_differs_and_is_spent():
    def gates(said, **settings):
        evidence = Evidence(distance=distances(), holdout=None if said is None else HoldoutEvidence(said))
        return {metric.name: metric for metric in HoldoutCheck().measure(evidence, GatesSpec(**settings))}

    agrees = gates(Answer(10, False, None, False, 0))
    assert (agrees["holdout_query"].value, agrees["holdout_budget"].value) == (0.0, 10.0)
    differs = gates(Answer(2, True, 3.9, False, 12))
    assert differs["holdout_query"].value > differs["holdout_query"].threshold == 4.0
    assert differs["holdout_budget"].value >= differs["holdout_budget"].threshold
    spent = gates(Answer(0, False, None, False, 30))
    assert spent["holdout_budget"].value < spent["holdout_budget"].threshold
    assert spent["holdout_query"].refused
    off = gates(None, holdout_budget=False)
    assert [metric.threshold for metric in off.values()] == [None, None]
    assert gates(None) == {}  # nobody asked


def test_a_spent_holdout_gives_no_number_away():
    spent = Evidence(distance=distances(), holdout=HoldoutEvidence(Answer(0, False, None, False, 30)))
    metrics = DistanceCheck().measure(spent, GatesSpec())
    assert len(metrics) == 4
    assert all(metric.refused and metric.value is None and "spent" in metric.detail for metric in metrics)
