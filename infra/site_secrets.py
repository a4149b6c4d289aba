"""The secrets of a site: random words, and the certificate that closes its Dask cluster to everybody else."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.ownership import private_folder
from tasks.contract.errors import SpecError

#: Files of words, and what they are for.
WORDS = {
    "database-password": "the Prefect server's database",
    "prefect-auth": "every request to the Prefect server, as user:password",
    "s3-key": "AWS_ACCESS_KEY_ID of the store",
    "s3-secret": "AWS_SECRET_ACCESS_KEY of the store",
    "waymint-key": "WAYMINT_KEY: receipts of runs, shared by all machines",
}
CERTIFICATE, KEY = "dask-certificate.pem", "dask-key.pem"
VALID_DAYS = 730


def write_secrets(folder: Path) -> list[Path]:
    """Make the secrets that are not there yet, in a folder that its owner alone can enter; return the new files.

    Files themselves can be read by all: containers see each of them alone, as a user of their own.

    Parameters
    ----------
    folder : Path
        Made where it is missing.

    Raises
    ------
    SpecError
        If one of certificate and key is there without the other.
    """
    private_folder(folder)
    written = [_write(folder / name, _word(name).encode()) for name in WORDS if not (folder / name).exists()]
    there = [name for name in (CERTIFICATE, KEY) if (folder / name).exists()]
    if len(there) == 1:
        raise SpecError(f"folder '{folder}' must hold both {CERTIFICATE} and {KEY}, or none; got '{there[0]}'.", "Remove it.")
    if not there:
        certificate, key = self_signed()
        written += [_write(folder / CERTIFICATE, certificate), _write(folder / KEY, key)]
    return written


def self_signed() -> tuple[bytes, bytes]:
    """Make a certificate that is its own authority, for scheduler, workers and clients alike; return it and its key as PEM.

    Whoever holds the key gets in, and nobody else: Dask asks both sides of every connection for it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "waymint dask")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of machines differ
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


def dask_environment(certificate: str, key: str) -> dict[str, str]:
    """Return the environment in which Dask's scheduler, workers and clients speak ``tls://`` and nothing else.

    Parameters
    ----------
    certificate, key : str
        Paths of the files, as the process sees them.
    """
    values = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True", "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": certificate}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        values[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = certificate
        values[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = key
    return values


def _word(name: str) -> str:
    word = secrets.token_urlsafe(24).replace("-", "x").replace("_", "y")
    return f"waymint:{word}" if name == "prefect-auth" else word


def _write(path: Path, data: bytes) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444), "wb") as file:
        os.fchmod(file.fileno(), 0o444)
        file.write(data)
    return path
