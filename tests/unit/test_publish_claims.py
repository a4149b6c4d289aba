"""Owners of a claim: alive, dead, or not to be known from here."""

import os
import subprocess
import sys

import pyarrow as pa
import pytest
from pydantic import ValidationError

from infra.store import open_store
from tasks.contract.errors import StoreError
from tasks.contract.roles import Column, TableSchema, pack_field
from tasks.publish.claims import Decision, Owner, read_decision, read_owner
from tasks.publish.identity import identity_of
from tasks.publish.layout import decision_key, owner_key


def test_this_process_is_alive():
    assert not Owner.here("run", "token").is_dead()


def test_an_ended_process_is_dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert Owner.here("run", "token").model_copy(update={"pid": child.pid}).is_dead()


def test_a_process_nobody_waited_for_is_dead():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # ended, still in the process table
        assert Owner.here("run", "token").model_copy(update={"pid": pid}).is_dead()
    finally:
        os.waitpid(pid, 0)


def test_a_number_used_again_is_another_process():
    owner = Owner.here("run", "token")
    assert owner.model_copy(update={"started": owner.started - 100}).is_dead()


def test_elsewhere_nobody_is_known_dead():
    owner = Owner.here("run", "token", "another/machine")
    assert not owner.model_copy(update={"pid": 2**22 - 1, "started": 0.0}).is_dead()


def test_a_decision_is_one_of_two():
    for values in ({}, {"sealed": "r"}, {"sealed": "r", "manifest": "{}", "abandoned": "x"}, {"manifest": "{}"}):
        with pytest.raises(ValidationError):
            Decision(**values)


def test_damaged_records_are_said_to_be(tmp_path):
    store = open_store(str(tmp_path))
    assert read_owner(store, "n", 1) is None
    assert read_decision(store, "n", 1) is None
    store.put(owner_key("n", 1), b"{}")
    store.put(decision_key("n", 1), b"half a rec")
    with pytest.raises(StoreError, match="must be readable"):
        read_owner(store, "n", 1)
    with pytest.raises(StoreError, match="must be readable"):
        read_decision(store, "n", 1)


def test_identity_is_names_and_types():
    def column(id_, name, role, type_):
        return Column(id=id_, name=name, role=role, kind="continuous", field=pack_field(pa.field(name, type_)))

    columns = (
        column("w0", "age", "covariate", pa.int64()),
        column("y", "wt", "outcome", pa.float64()),
        column("a", "qsmk", "treatment", pa.string()),
    )
    schema = TableSchema(columns=columns, treated="1", control="0", outcome_kind="continuous", rows=10)
    assert identity_of(schema) == {
        "treatment": "qsmk",
        "outcome": "wt",
        "columns": [["age", "int64"], ["wt", "double"], ["qsmk", "string"]],
    }
