"""What the environment says. The only file that reads or writes it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tasks.contract.errors import SpecError

# One thread per process: the cluster is the only level of parallelism, and sums keep their order.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")

_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    # what a server on SQLite answers where several runs write at once: "database is locked"
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # with the default of 15 s a cluster whose workers restart can lose all of them for ever
    "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "600s",
    "DASK_DATAFRAME__CONVERT_STRING": "False",
}


class Verbosity(Enum):
    """How much a command says on stderr beside errors and warnings."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


def _home() -> Path:
    named = os.environ.get("WAYMINT_HOME")
    if named:
        return Path(named)
    try:
        return Path.home() / ".waymint"
    except RuntimeError:  # a container's user that no passwd knows
        raise SpecError("WAYMINT_HOME must be set where the user has no home; it is not.", "Set it to a folder of this user.") from None


@dataclass(frozen=True)
class Settings:
    """Where this machine keeps state, and which Prefect server it talks to.

    Attributes
    ----------
    home : Path
        ``WAYMINT_HOME``: the embedded Prefect server's database, locks and, by default, the workspace.
    workspace : str or None
        ``WAYMINT_WORKSPACE``: default of ``engine.workspace``.
    """

    home: Path = field(default_factory=_home)
    workspace: str | None = field(default_factory=lambda: os.environ.get("WAYMINT_WORKSPACE") or None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", Path(self.home))

    @property
    def workspace_uri(self) -> str:
        """Default workspace: ``WAYMINT_WORKSPACE``, else ``work`` below the home."""
        return self.workspace or f"file://{self.home.expanduser().resolve()}/work"


def prefect_api_url() -> str | None:
    """Return the Prefect server the user named, if any."""
    return os.environ.get("PREFECT_API_URL") or None


def use_prefect(url: str, secret: str) -> None:
    """Make this process and its children talk to one Prefect server, with the secret it asks for."""
    os.environ["PREFECT_API_URL"] = url
    os.environ["PREFECT_API_AUTH_STRING"] = secret


def shared_key() -> str | None:
    """Return the key that machines of one site share (``WAYMINT_KEY``), if any."""
    return os.environ.get("WAYMINT_KEY") or None


def sign_key_path() -> Path | None:
    """Return the file of the key that signs releases (``WAYMINT_SIGN_KEY``), if any: no SPEC, and so no manifest, names it."""
    text = os.environ.get("WAYMINT_SIGN_KEY")
    return Path(text).expanduser() if text else None


def lineage_configured() -> bool:
    """Return whether the environment says where OpenLineage events go."""
    return any(name in os.environ for name in ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT__TYPE"))


def s3_kms_key() -> str | None:
    """Return the KMS key that objects are encrypted with where no SPEC names one (``WAYMINT_S3_KMS_KEY``), if any."""
    return os.environ.get("WAYMINT_S3_KMS_KEY") or None


def s3_bucket_owner() -> str | None:
    """Return the account that buckets must belong to where no SPEC names one (``WAYMINT_S3_BUCKET_OWNER``), if any."""
    return os.environ.get("WAYMINT_S3_BUCKET_OWNER") or None


def aws_retries_configured() -> bool:
    """Return whether the environment says how often AWS requests are tried."""
    return any(name in os.environ for name in ("AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS"))


def prepare_environment() -> None:
    """Set one thread per process and no telemetry, before numpy, Prefect or Dask are imported.

    What the user has set stays, but for the thread counts: results must not depend on them.
    """
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


def quiet_terminal() -> None:
    """Keep Prefect's log lines off the terminal of this process and its children: the command line tells errors itself.

    They still reach the Prefect server, where a run's page shows them. Deployments do not call this. To see them on the
    terminal too: ``PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=INFO``.
    """
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("DASK_DISTRIBUTED__LOGGING__DISTRIBUTED", "CRITICAL")
    # a Prefect server that is gone would be told of in thousands of characters, once for each event and log line
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    logging.raiseExceptions = False


def set_verbosity(verbosity: Verbosity) -> None:
    """Say less or more, in this process and its children; verbose shows Prefect's log lines too."""
    os.environ["WAYMINT_VERBOSITY"] = verbosity.value
    if verbosity is Verbosity.VERBOSE:
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "INFO"
        os.environ["PREFECT_LOGGING_LEVEL"] = "INFO"


def verbosity() -> Verbosity:
    """Return how much is said (``WAYMINT_VERBOSITY``: quiet, normal or verbose); normal where it is none of these."""
    text = os.environ.get("WAYMINT_VERBOSITY", "")
    return next((each for each in Verbosity if each.value == text), Verbosity.NORMAL)


def server_environment(home: Path, secret: str) -> dict[str, str]:
    """Return the environment of the embedded Prefect server.

    Parameters
    ----------
    home : Path
        Its ``PREFECT_HOME``.
    secret : str
        What it asks of every request: ``"user:password"``. It asks its own services too, which are its clients.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
    auth = {"PREFECT_SERVER_API_AUTH_STRING": secret, "PREFECT_API_AUTH_STRING": secret}
    return kept | _QUIET | auth | {"PREFECT_HOME": str(home), "PREFECT_LOGGING_SERVER_LEVEL": "WARNING"}


def use_prefect_home(home: Path) -> None:
    """Keep the Prefect client's files beside the embedded server's, unless the user has a place for them."""
    os.environ.setdefault("PREFECT_HOME", str(home))


def restrict_umask() -> None:
    """Let new files of this process and its children be their owner's alone; published files keep the mode they would have had."""
    previous = os.umask(0o077)
    os.environ.setdefault("WAYMINT_STORE_MODE", f"{0o666 & ~previous:04o}")


def store_mode() -> int | None:
    """Return the mode of published files (``WAYMINT_STORE_MODE``, octal); None leaves it to the umask.

    Raises
    ------
    SpecError
        If it is no octal number of a mode.
    """
    text = os.environ.get("WAYMINT_STORE_MODE")
    if text is None:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0o400 <= mode <= 0o666:
        raise SpecError(f"WAYMINT_STORE_MODE must be an octal file mode from 0400 to 0666; got '{text}'.", "For example 0640.")
    return mode
