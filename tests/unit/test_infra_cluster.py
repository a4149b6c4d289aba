"""Clusters that a run starts for itself."""

from __future__ import annotations

import gc

from distributed import Client, LocalCluster

import infra.cluster
from tasks.contract.spec import EngineSpec


class Given:
    """What a task is given."""


def test_a_cluster_forgets_what_its_tasks_were_given() -> None:
    infra.cluster.task_runner(EngineSpec(dask="local"))  # configures Dask for the clusters of this process
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, Client(cluster) as client:
        for number in range(100):
            assert client.submit(isinstance, Given(), Given, key=f"task-{number}").result()
        gc.collect()
        assert sum(isinstance(each, Given) for each in gc.get_objects()) < 50
