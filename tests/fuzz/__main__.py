"""`make fuzz`: generated requests against every route of the merged document of a fleet that runs.

All of schemathesis' checks are on but one: `positive_data_acceptance` takes any bytes for a valid picture, any text for
a cursor and one Idempotency-Key for many requests, and expects success.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.e2e.fleet import start_fleet

LEFT_OUT_CHECKS = ("positive_data_acceptance",)
LEFT_OUT_PATHS = "/events$"
"""Event streams stay open; tests/integration/gateway has them."""


def main(arguments: list[str]) -> int:
    """Start a fleet and let schemathesis loose on it; its exit status.

    Args:
        arguments: the command of schemathesis, then further options of `schemathesis run`.
    """
    command, *options = arguments
    with tempfile.TemporaryDirectory() as folder:
        fleet = start_fleet(Path(folder), arguments=["--without-torch"])
        try:
            run = [command, "run", f"{fleet.url}/openapi.json", "--checks", "all", "--continue-on-failure"]
            run += ["--exclude-checks", ",".join(LEFT_OUT_CHECKS), "--exclude-path-regex", LEFT_OUT_PATHS, *options]
            return subprocess.run(run, check=False).returncode
        finally:
            fleet.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
