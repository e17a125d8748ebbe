"""Command line: `python -m services.security.caption_attack.evaluation run`, and `report` of what there is."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from services.security.caption_attack.evaluation.asking import ServiceAddress, perception_service
from services.security.caption_attack.evaluation.experiments import Experiment, experiments
from services.security.caption_attack.evaluation.report import EVALUATION, REPORT, write_report
from services.security.caption_attack.evaluation.results import open_lines, read_lines, write_line
from services.security.caption_attack.evaluation.running import Asker
from services.security.caption_attack.evaluation.summary import summarise
from services.security.caption_attack.evaluation.transfer import show_elsewhere
from shared.datasets.captioned_photos import FOLDER, CaptionedPhotos, read_captioned_photos
from shared.runtime.cards import read_card
from shared.runtime.registry import newest_folder
from shared.settings import get_settings

VICTIMS: Final = ("captioner-lstm-lite0", "captioner-transformer-lite2")
MODELS: Final = Path(__file__).parents[3] / "perception" / "models"
_asker: Asker | None = None


def parser() -> argparse.ArgumentParser:
    """The options."""
    whole = argparse.ArgumentParser(prog="python -m services.security.caption_attack.evaluation", description=__doc__)
    whole.add_argument(
        "command", choices=["run", "report", "all"], help="go on with what is left; write the report; both"
    )
    whole.add_argument("--data", type=Path, default=get_settings().data, help="data sets (default: FACET_DATA)")
    whole.add_argument("--out", type=Path, default=Path("runs/caption-attacks"), help="folder of results")
    whole.add_argument("--photographs", type=int, default=100, help="of the test part, by name")
    whole.add_argument("--seeds", type=int, default=3, help="of each search")
    whole.add_argument("--processes", type=int, default=2, help="that ask")
    whole.add_argument("--threads", type=int, default=1, help="of an inference in the service")
    whole.add_argument("--minutes", type=float, default=0.0, help="after which to stop; 0: at the end")
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Finished runs are never computed again; each is written down as soon as it is finished."""
    options = parser().parse_args(arguments)
    photographs = read_captioned_photos(options.data / FOLDER)["test"].first(options.photographs)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.command in ("run", "all"):
        run(options, photographs)
    if options.command in ("report", "all"):
        lines, shown = (read_lines(options.out / name) for name in ("runs.jsonl", "shown.jsonl"))
        figures = summarise(lines, shown, photographs, quality=qualities(released(VICTIMS)))
        EVALUATION.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_report(figures)
        print(REPORT)


def run(options: argparse.Namespace, photographs: CaptionedPhotos) -> None:
    """Go on with the experiments that are left."""
    file, victims = options.out / "runs.jsonl", released(VICTIMS)
    done = {line["key"] for line in read_lines(file)}
    wanted = list(experiments(victims, photographs=len(photographs), seeds=options.seeds))
    left = [one for one in wanted if one.key not in done]
    with perception_service(threads=options.threads) as address, open_lines(file) as lines:
        for line in tqdm(_work(options, address, photographs, left), total=len(wanted), initial=len(done), unit="run"):
            write_line(lines, line)
        show_elsewhere(options.out, address, victims)


def _work(
    options: argparse.Namespace, address: ServiceAddress, photographs: CaptionedPhotos, left: list[Experiment]
) -> Iterator[dict[str, Any]]:
    until_s = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    arguments = (address, tuple(photographs.files))
    with ProcessPoolExecutor(options.processes, initializer=_begin, initargs=arguments) as pool:
        chunk = 8 * options.processes
        for start in range(0, len(left), chunk):
            if time.monotonic() > until_s:
                return
            began = time.monotonic()
            found = list(pool.map(_run, left[start : start + chunk]))
            seconds = round((time.monotonic() - began) / len(found), 3)
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            yield from ({**line, "seconds": seconds, "machine": machine} for line in found)


def _begin(address: ServiceAddress, files: tuple[Path, ...]) -> None:
    global _asker  # noqa: PLW0603 - of a process that does nothing else
    _asker = Asker(address, files)


def _run(experiment: Experiment) -> dict[str, Any]:
    assert _asker is not None  # noqa: S101 - begun
    return _asker.run(experiment)


def released(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the captioners that are there."""
    return tuple(name for name in names if (MODELS / name).is_dir())


def qualities(names: Iterable[str]) -> dict[str, Any]:
    """BLEU-4 and CIDEr-D of captioners with three beams, beside borrowed captions, from their cards."""
    found: dict[str, Any] = {}
    for name in names:
        card = read_card(newest_folder(MODELS, name))
        found[name] = {
            one.metric.partition(",")[0]: {"value": one.value, "baseline": one.baseline.value}
            for one in card.quality
            if one.baseline is not None and one.metric in ("BLEU-4, best of 3 beams", "CIDEr-D, best of 3 beams")
        }
    return found


if __name__ == "__main__":
    main()
