"""Command line of training, evaluation and export: `python -m services.medical.low_dose_ct.training --help`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from services.medical.low_dose_ct.training import recipes
from services.medical.low_dose_ct.training.cards import COMMAND, GAUSSIAN, LOW_DOSE_CT
from services.medical.low_dose_ct.training.evaluate import PARTS, evaluate
from services.medical.low_dose_ct.training.losses import LOSSES
from services.medical.low_dose_ct.training.network import WIDTHS
from services.medical.low_dose_ct.training.release import RELEASES, keep, release
from services.medical.low_dose_ct.training.train import Budget
from services.medical.low_dose_ct.training.weights import CHECKPOINTS, finished_weights
from shared.command_line import add_data_option, add_threads_option

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

PRETRAINED = CHECKPOINTS / "gaussian.pt"
FINE_TUNED = CHECKPOINTS / "chest.pt"


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    whole = argparse.ArgumentParser(prog="python -m services.medical.low_dose_ct.training", description=__doc__)
    commands = whole.add_subparsers(dest="command", required=True)
    _add_pretrain(commands)
    _add_fine_tune(commands)
    _add_widen(commands)
    _add_ellipses(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_keep(commands)
    return whole


def _add_folders(command: argparse.ArgumentParser) -> None:
    add_data_option(command)
    command.add_argument("--cache", type=Path, default=Path("runs/cache"), help="noise-free sinograms")
    add_threads_option(command)


def _add_training(command: argparse.ArgumentParser, *, side: int, batch: int, steps: int, loss: str) -> None:
    _add_folders(command)
    command.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished run is resumed")
    command.add_argument("--width", choices=sorted(WIDTHS), default="slim")
    command.add_argument("--steps", type=int, default=steps)
    command.add_argument("--learning-rate", type=float, default=1e-3)
    command.add_argument("--side", type=int, default=side, help="side of the training patches in pixels")
    command.add_argument("--batch", type=int, default=batch)
    command.add_argument("--loss", choices=sorted(LOSSES), default=loss)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--checkpoint-every", type=int, default=250, help="steps between checkpoints")
    command.add_argument("--device", default="cpu", help="cpu or cuda")


def _add_pretrain(commands: Commands) -> None:
    command = commands.add_parser("pretrain", help="stage 1: Gaussian denoising on photographs")
    _add_training(command, side=64, batch=16, steps=9000, loss="absolute")
    command.set_defaults(act=lambda options: recipes.pretrain(_run(options, recipes.NO_INITIAL)))


def _add_fine_tune(commands: Commands) -> None:
    command = commands.add_parser("fine-tune", help="stage 2: low-dose chest CT")
    _add_training(command, side=96, batch=8, steps=2000, loss="squared")
    command.add_argument("--initial", default=str(PRETRAINED), help='weights to start from, or "none" for the control')
    command.add_argument("--patients", type=int, help="use the slices of the first so many training patients only")
    command.add_argument("--phantoms", type=int, default=0, help="synthetic chest phantoms added")
    command.add_argument("--realisations", type=int, default=8, help="noise realisations per slice")

    def act(options: argparse.Namespace) -> None:
        recipes.fine_tune(
            _run(options, options.initial),
            patients=options.patients,
            phantoms=options.phantoms,
            realisations=options.realisations,
        )

    command.set_defaults(act=act)


def _add_widen(commands: Commands) -> None:
    command = commands.add_parser("widen", help="stage 3: other doses and kernels, and slices that need no help")
    _add_training(command, side=96, batch=8, steps=800, loss="squared")
    command.set_defaults(learning_rate=4e-4, seed=1)
    command.add_argument("--initial", default=str(FINE_TUNED), help="weights of stage 2")
    command.add_argument("--phantoms", type=int, default=8, help="synthetic chest phantoms added")
    command.add_argument("--tuned", type=int, default=4, help="realisations per slice as in stage 2")
    command.add_argument("--others", type=int, default=7, help="realisations per slice of other doses and kernels")
    command.add_argument("--share", type=float, default=0.4, help="share of the trained weights in the result")

    def act(options: argparse.Namespace) -> None:
        recipes.widen(
            _run(options, options.initial),
            phantoms=options.phantoms,
            tuned=options.tuned,
            others=options.others,
            share=options.share,
        )

    command.set_defaults(act=act)


def _add_ellipses(commands: Commands) -> None:
    command = commands.add_parser("ellipses", help="stage 2: DIVal's ellipses, sparse view")
    _add_training(command, side=96, batch=8, steps=1000, loss="squared")
    command.add_argument("--initial", default=str(PRETRAINED), help='weights to start from, or "none" for the control')
    command.add_argument("--phantoms", type=int, default=32, help="training phantoms")
    command.add_argument("--realisations", type=int, default=8, help="noise realisations per phantom")

    def act(options: argparse.Namespace) -> None:
        recipes.ellipses(_run(options, options.initial), phantoms=options.phantoms, realisations=options.realisations)

    command.set_defaults(act=act)


def _add_train(commands: Commands) -> None:
    command = commands.add_parser("train", help="all stages one after the other, then export beside the runs")
    _add_folders(command)
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs and of their models")
    command.add_argument("--width", choices=sorted(WIDTHS), default="slim")
    command.add_argument("--pretraining-steps", type=int, default=9000)
    command.add_argument("--fine-tuning-steps", type=int, default=2000)
    command.add_argument("--widening-steps", type=int, default=800)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.set_defaults(act=_train_all)


def _train_all(options: argparse.Namespace) -> None:
    first, second, third = (options.runs / name for name in ("gaussian", "chest", "widened"))
    names = ("data", "cache", "threads", "width", "seed", "device")
    common = [word for name in names for word in (f"--{name}", str(getattr(options, name)))]
    main(["pretrain", *common, "--out", str(first), "--steps", str(options.pretraining_steps)])
    initial = ["--initial", str(first / "checkpoint.pt"), "--phantoms", "8"]
    main(["fine-tune", *common, *initial, "--out", str(second), "--steps", str(options.fine_tuning_steps)])
    initial = ["--initial", str(second / "checkpoint.pt")]
    main(["widen", *common, *initial, "--out", str(third), "--steps", str(options.widening_steps)])
    for name, run in zip((GAUSSIAN, LOW_DOSE_CT), (first, third), strict=True):
        print(release(name, checkpoint=finished_weights(run), models=options.runs / "models"))


def _add_evaluate(commands: Commands) -> None:
    command = commands.add_parser("evaluate", help="measure the released models beside their baselines")
    _add_folders(command)
    command.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure")
    command.add_argument("--ellipses", type=int, default=500, help="ellipses test phantoms, at most 3200")
    command.add_argument("--table", type=Path, help="also write the tables to this Markdown file")

    def act(options: argparse.Namespace) -> None:
        tables = evaluate(options.data, options.cache, parts=options.parts, ellipses=options.ellipses)
        print(tables)
        if options.table:
            options.table.write_text(tables + "\n", encoding="utf-8")

    command.set_defaults(act=act)


def _add_export(commands: Commands) -> None:
    command = commands.add_parser("export", help="make a released model (ONNX file, card) of a committed checkpoint")
    command.add_argument("name", choices=sorted(RELEASES))
    add_threads_option(command)
    command.set_defaults(act=lambda options: print(release(options.name)))


def _add_keep(commands: Commands) -> None:
    command = commands.add_parser("keep", help="turn a finished run into a committed half-precision checkpoint")
    command.add_argument("run", type=Path, help="folder of the run")
    command.add_argument("name", help="name of the checkpoint")
    add_threads_option(command, default=1)
    command.set_defaults(act=lambda options: print(keep(options.run, options.name)))


def _run(options: argparse.Namespace, initial: str) -> recipes.Run:
    budget = Budget(
        steps=options.steps,
        learning_rate=options.learning_rate,
        seed=options.seed,
        checkpoint_every=options.checkpoint_every,
    )
    shared = {
        name: getattr(options, name) for name in ("data", "out", "cache", "width", "loss", "side", "batch", "device")
    }
    return recipes.Run(**shared, initial=initial, budget=budget, command=_command(options))


def _command(options: argparse.Namespace) -> str:
    """The command that repeats a run, with every option that decides its result and no folder of this machine."""
    left_out = ("command", "act", "data", "cache", "threads", "device", "checkpoint_every", "out", "initial")
    words = [f"--{name.replace('_', '-')} {value}" for name, value in vars(options).items() if name not in left_out]
    initial = getattr(options, "initial", str(PRETRAINED))
    if initial == recipes.NO_INITIAL:
        words.append(f"--initial {initial}")
    elif initial not in {str(PRETRAINED), str(FINE_TUNED)}:
        words.append("--initial runs/" + "/".join(Path(initial).parts[-2:]))
    shown = [word for word in words if not word.endswith(" None")]
    return " ".join([COMMAND, options.command, *shown, f"--out runs/{options.out.name}"])


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    options.act(options)


if __name__ == "__main__":
    main()
