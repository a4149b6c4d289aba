"""Entry points: the command line and Prefect load these files by name."""

from infra.settings import prepare_environment

# one thread per process and no telemetry, before any flow loads numpy, Prefect or Dask
prepare_environment()
