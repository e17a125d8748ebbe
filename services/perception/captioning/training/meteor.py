"""METEOR 1.5 (Denkowski, Lavie 2014) by its authors' program, which needs Java.

Its paraphrase table and its synonyms make up the figure, so nothing written anew here would give the published one.
`fetch_meteor` of the training package brings program and table; neither is part of this repository.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.captions.ngrams import Words, require_pairs

JAR: Final = "meteor-1.5.jar"
TABLE: Final = "data/paraphrase-en.gz"
_SEPARATOR: Final = " ||| "


class MeteorMissing(Exception):
    """Java or the program is not there."""


def meteor(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]], folder: Path
) -> tuple[float, list[float]]:
    """METEOR of the corpus, and of each caption; in [0, 1].

    Args:
        candidates: captions.
        references: of each caption.
        folder: with the program and its table.

    Raises:
        MeteorMissing: there is no Java, or no program in the folder.
    """
    require_pairs(candidates, references)
    java = shutil.which("java")
    if java is None or not (folder / JAR).exists() or not (folder / TABLE).exists():
        raise MeteorMissing(f"METEOR needs Java on the path and {JAR} with {TABLE} in {folder}")
    command = [java, "-Xmx2G", "-jar", JAR, "-", "-", "-stdio", "-l", "en", "-norm"]
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        try:
            statistics = [_ask(program, _pair(one, those)) for one, those in zip(candidates, references, strict=True)]
            scores = [float(_ask(program, _SEPARATOR.join(["EVAL", *statistics])))]
            scores += [float(_read(program)) for _ in candidates]
        finally:
            program.kill()
    return scores[-1], scores[:-1]


def _pair(candidate: Words, references: Sequence[Words]) -> str:
    texts = [" ".join(words).replace("|", " ") for words in (*references, candidate)]
    return _SEPARATOR.join(["SCORE", *texts])


def _ask(program: subprocess.Popen[str], line: str) -> str:
    if program.stdin is None:
        raise MeteorMissing(f"{JAR} has no input")
    program.stdin.write(line + "\n")
    program.stdin.flush()
    return _read(program)


def _read(program: subprocess.Popen[str]) -> str:
    line = program.stdout.readline() if program.stdout else ""
    if not line:
        raise MeteorMissing(f"{JAR} ended without an answer")
    return line.strip()
