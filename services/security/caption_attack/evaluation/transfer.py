"""Pictures that were found on one captioner, shown once to the other one."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from services.security.caption_attack.distances import decode_png
from services.security.caption_attack.evaluation.asking import ServiceAddress
from services.security.caption_attack.evaluation.results import open_lines, read_lines, write_line
from services.security.caption_attack.evaluation.running import show


def show_elsewhere(out: Path, address: ServiceAddress, victims: tuple[str, ...]) -> None:
    """Show what was found on the first captioner to each other one, and write down what it says.

    Args:
        out: folder of results.
        address: of the service.
        victims: captioners; the first is the one that was attacked.
    """
    if len(victims) < 2:
        return
    file = out / "shown.jsonl"
    seen = {line["key"] for line in read_lines(file)}
    found: dict[str, dict[str, Any]] = {}
    for line in read_lines(out / "runs.jsonl"):
        if "png" in line and line["victim"] == victims[0] and line["key"] not in seen:
            found[line["key"]] = line
    pictures = {key: decode_png(base64.b64decode(line["png"])) for key, line in found.items()}
    with open_lines(file) as lines:
        for victim in victims[1:]:
            for key, caption in show(address, victim, pictures).items():
                line = found[key]
                about = {name: line[name] for name in ("arm", "seed", "photograph")}
                write_line(lines, {"key": key, "victim": victim, "caption": caption, **about})
