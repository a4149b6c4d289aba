"""A local cluster as a release starts it, and a neighbour who tries every port of it; run as a module."""

from __future__ import annotations

import urllib.error
import urllib.request

import psutil
from distributed import Client, LocalCluster
from distributed.comm import CommClosedError
from distributed.security import Security

from infra.cluster import task_runner
from tasks.contract.spec import EngineSpec

PAGES = ("status", "info/main/workers.html", "info/logs.html", "json/counts.json", "metrics", "health")


def ports() -> list[tuple[str, int]]:
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return [(each.laddr.ip, each.laddr.port) for one in family for each in one.net_connections("tcp") if each.status == psutil.CONN_LISTEN]


def let_in(address: str, security: Security | None) -> bool:
    try:
        Client(address, security=security, timeout=3).close()
    except (OSError, CommClosedError, TimeoutError, RuntimeError):
        return False
    return True


def shown(port: int, page: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=2).status == 200)
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    runner = task_runner(EngineSpec(dask="local", workers=1))
    with LocalCluster(**runner.cluster_kwargs) as cluster, Client(cluster) as client:
        own = client.submit(sum, [1, 2]).result()
        host = cluster.scheduler_address.removeprefix("tls://")
        strangers = sum(let_in(f"{scheme}://{host}", key) for scheme, key in (("tcp", None), ("tls", Security.temporary())))
        pages = sum(shown(port, page) for _, port in ports() for page in PAGES)
        elsewhere = sum(ip != "127.0.0.1" for ip, _ in ports())
    print(f"its own client: {own}; strangers let in: {strangers}; pages shown: {pages}; open addresses: {elsewhere}")


if __name__ == "__main__":
    main()
