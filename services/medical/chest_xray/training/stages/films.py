"""The films of a run by split: real ones, those with inserted findings and those with boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from services.medical.chest_xray.training.data.manifest import Split, in_fold, read_manifest
from services.medical.chest_xray.training.data.preparation import PreparedFilms, prepare_films
from services.medical.chest_xray.training.stages.batches import boxed_source, real_source, simulated_source
from services.medical.chest_xray.training.stages.objectives import Sources
from services.medical.chest_xray.training.stages.recipes import Recipe
from services.medical.chest_xray.training.targets.simulation import SimulatedFilms, simulate_films


@dataclass(frozen=True, slots=True)
class FilmFolder:
    """Data of a run and where what is made of them once is kept.

    Attributes:
        data: folder of all data sets.
        cache: folder of prepared and simulated films.
    """

    data: Path
    cache: Path

    def films(self, recipe: Recipe, split: Split) -> PreparedFilms:
        """Real films of a split: the manifest's, or the recipe's fold."""
        found = read_manifest(self.data)
        if recipe.fold is not None:
            splits = in_fold(found, recipe.fold, recipe.folds)
            found = [replace(film, split=one) for film, one in zip(found, splits, strict=True)]
        height, width = recipe.network.size
        prepared = prepare_films(self.data, found, self.cache / f"films-{height}x{width}", recipe.network.size)
        return prepared.of_split(split)

    def simulated(self, recipe: Recipe, split: Split) -> SimulatedFilms:
        """Films with inserted findings of a split."""
        height, width = recipe.network.size
        fold = "" if recipe.fold is None else f"-fold{recipe.fold}of{recipe.folds}"
        count: int = getattr(recipe.simulation, split)
        folder = self.cache / f"simulated-{split}-{height}x{width}{fold}"
        return simulate_films(self.films(recipe, split), split, count, folder)

    def sources(self, recipe: Recipe, split: Split) -> Sources:
        """What stages draw from."""
        films = self.films(recipe, split)
        return Sources(real_source(films), simulated_source(self.simulated(recipe, split)), boxed_source(films))
