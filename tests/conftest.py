"""What every test has: a fleet token, without which no gateway and no service starts."""

from __future__ import annotations

import os

from tests.support.serving import FLEET_TOKEN

os.environ["FACET_FLEET_TOKEN"] = FLEET_TOKEN
