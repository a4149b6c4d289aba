"""``python -m infra.cli``."""

from infra.cli import main

main()
