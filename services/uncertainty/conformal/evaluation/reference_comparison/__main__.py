"""Compares with TorchCP, MAPIE and crepes in an environment of their own: `make compare-conformal`.

What equals to 1e-12 and what does not, and why, goes into classification.json; the unit tests compare with plain loops
and need none of the three.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from services.uncertainty.conformal.evaluation.reference_comparison import classification_peers, torchcp_classification
from services.uncertainty.conformal.evaluation.reference_comparison.findings import EQUAL, Finding
from services.uncertainty.conformal.evaluation.reference_comparison.references import stand_in_for_unneeded

RESULT = Path(__file__).parent / "classification.json"


def main() -> None:
    """Compare, write the result, and print what differs.

    Raises:
        SystemExit: something differs and no reason is on record.
    """
    stand_in_for_unneeded()
    found = [*torchcp_classification.findings(), *classification_peers.findings()]
    unexplained = [one for one in found if not one.is_equal and not one.note]
    record = {
        "equal_to": EQUAL,
        "compared": len(found),
        "equal": sum(one.is_equal for one in found),
        "findings": [{**asdict(one), "equal": one.is_equal} for one in found],
    }
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print("\n".join(_line(one) for one in found if not one.is_equal))
    print(f"{record['equal']} of {record['compared']} quantities equal to {EQUAL}; the others above.")
    if unexplained:
        raise SystemExit(f"{len(unexplained)} differences without a reason")


def _line(finding: Finding) -> str:
    size = "fails" if finding.difference is None else f"{finding.difference:.3g}"
    return f"{finding.library} | {finding.quantity} | {size} | {finding.note or 'NO REASON'}"


if __name__ == "__main__":
    main()
