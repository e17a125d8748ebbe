"""Command line: `python -m services.security.caption_attack.evaluation run`, and `report` of what there is."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from services.security.caption_attack.evaluation.asking import ServiceAddress, perception_service
from services.security.caption_attack.evaluation.experiments import Experiment, experiments
from services.security.caption_attack.evaluation.report import EVALUATION, REPORT, write_report
from services.security.caption_attack.evaluation.running import Asker
from services.security.caption_attack.evaluation.summary import summarise
from shared.command_line import add_data_option, add_minutes_option, add_threads_option, deadline_of
from shared.datasets.captioned_photos import FOLDER, CaptionedPhotos, read_captioned_photos
from shared.problems import Problem
from shared.result_lines import open_lines, read_lines, write_line
from shared.runtime.cards import read_card
from shared.runtime.models.registry import newest_folder

VICTIMS: Final = (
    "captioner-lstm-lite0",
    "captioner-transformer-lite2",
    "captioner-lstm-lite0-tuned",
    "captioner-transformer-lite2-tuned",
)
"""Captioners that are attacked, the first in all settings."""
SHOWN_TO: Final = ("captioner-transformer-lite2",)
"""Those that pictures found on the first one are shown to."""
MODELS: Final = Path(__file__).parents[3] / "perception" / "models"
RUNS: Final = Path(__file__).parent / "runs.jsonl"
_FAILURES: Final = 20
_asker: Asker | None = None


def parser() -> argparse.ArgumentParser:
    """The options."""
    whole = argparse.ArgumentParser(prog="python -m services.security.caption_attack.evaluation", description=__doc__)
    whole.add_argument(
        "command", choices=["run", "report", "all"], help="go on with what is left; write the report; both"
    )
    add_data_option(whole)
    whole.add_argument("--out", type=Path, default=RUNS, help="file of finished runs, one to a line")
    whole.add_argument("--photographs", type=int, default=100, help="of the test part, by name")
    whole.add_argument("--seeds", type=int, default=3, help="of each search in the main comparison")
    whole.add_argument("--further-seeds", type=int, default=1, help="in the others, and on other captioners")
    whole.add_argument("--processes", type=int, default=3, help="that ask")
    add_threads_option(whole, about="of an inference in the service")
    add_minutes_option(whole)
    return whole


def main(arguments: list[str] | None = None) -> None:
    """Finished runs are never computed again; each is written down as soon as it is finished."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # or the service would outlive this
    photographs = read_captioned_photos(options.data / FOLDER)["test"].first(options.photographs)
    victims = released(VICTIMS)
    if options.command in ("run", "all"):
        run(options, photographs, victims)
    if options.command in ("report", "all"):
        lines = current(read_lines(options.out), victims, released(SHOWN_TO))
        figures = summarise(lines, photographs, quality=qualities(victims))
        EVALUATION.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_report(figures)
        print(REPORT)


def run(options: argparse.Namespace, photographs: CaptionedPhotos, victims: tuple[str, ...]) -> None:
    """Go on with the experiments that are left.

    Raises:
        RuntimeError: the service does not start, or too many questions fail.
    """
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = {line["key"] for line in current(read_lines(options.out), victims, released(SHOWN_TO))}
    wanted = list(
        experiments(victims, photographs=len(photographs), seeds=options.seeds, further_seeds=options.further_seeds)
    )
    left = [one for one in wanted if one.key not in done]
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    with open_lines(options.out) as lines, perception_service(threads=options.threads) as address:
        beginning = (address, victims[0], released(SHOWN_TO), tuple(photographs.files))
        with ProcessPoolExecutor(options.processes, initializer=_begin, initargs=beginning) as pool:
            found = _finished(pool, left, until_s=deadline_of(options), waiting=2 * options.processes)
            for line in tqdm(found, total=len(wanted), initial=len(wanted) - len(left), unit="run"):
                write_line(lines, {**line, "seconds": line["seconds"] / options.processes, "machine": machine})


def _finished(pool: Executor, left: Iterable[Experiment], *, until_s: float, waiting: int) -> Iterator[dict[str, Any]]:
    """Lines of experiments as they end; those under way when time is up still end.

    Raises:
        RuntimeError: more than `_FAILURES` have failed; what succeeded beside them has been given before.
    """
    failures, following, pending = 0, iter(left), set[Future[dict[str, Any]]]()
    while True:
        while len(pending) < waiting and failures <= _FAILURES and time.monotonic() < until_s:
            experiment = next(following, None)
            if experiment is None:
                break
            pending.add(pool.submit(_run, experiment))
        if not pending:
            break
        ended, pending = wait(pending, return_when=FIRST_COMPLETED)
        for one in ended:
            line = one.result()
            failures += "failed" in line
            if "failed" in line:
                tqdm.write(f"{line['key']}: {line['failed']}; to be done again")
            else:
                yield line
    if failures > _FAILURES:
        raise RuntimeError(f"{failures} runs failed; the others are written down")


def _begin(address: ServiceAddress, first: str, shown_to: tuple[str, ...], files: tuple[Path, ...]) -> None:
    global _asker  # noqa: PLW0603 - of a process that does nothing else
    _asker = Asker(address, first, shown_to, files)


def _run(experiment: Experiment) -> dict[str, Any]:
    assert _asker is not None  # noqa: S101 - begun
    began_s = time.monotonic()
    try:
        line = _asker.run(experiment)
    except Problem as problem:
        return {"key": experiment.key, "failed": str(problem)}
    return {**line, "seconds": round(time.monotonic() - began_s, 3)}


def current(
    lines: Iterable[Mapping[str, Any]], victims: Iterable[str], shown_to: Collection[str]
) -> list[Mapping[str, Any]]:
    """Runs against the weights that are released now, and shown to all that pictures are shown to."""
    weights, others = {name: _weights(name) for name in victims}, set(shown_to)
    return [
        line
        for line in lines
        if line["model"] == weights.get(line["victim"]) and others <= set(line.get("shown", others))
    ]


def _weights(name: str) -> str:
    """Digest of the model that a captioner's answers name first."""
    return read_card(newest_folder(MODELS, name)).weights.sha256


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
