"""The graph of imports: who imports most, who is imported most, and circles of files and of packages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

import grimp
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

Imports = Mapping[str, Set[str]]
"""What each module imports, by name."""


def read_imports(roots: Iterable[str]) -> dict[str, set[str]]:
    """The direct imports of all modules of some packages, those inside functions too."""
    graph = grimp.build_graph(*roots, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}


def circles(imports: Imports) -> list[list[str]]:
    """Groups of modules each of which reaches all others of its group."""
    names = sorted(imports.keys() | {name for found in imports.values() for name in found})
    place = {name: index for index, name in enumerate(names)}
    pairs = [(place[one], place[other]) for one, found in imports.items() for other in found if one != other]
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    edges = csr_array((np.ones(len(pairs)), (rows, columns)), shape=(len(names), len(names)))
    _, labels = connected_components(edges, directed=True, connection="strong")
    large = {label for label, count in Counter(labels.tolist()).items() if count > 1}
    return [[name for name, at in zip(names, labels, strict=True) if at == label] for label in sorted(large)]


def by_package(imports: Imports, folders: Mapping[str, Path]) -> dict[str, set[str]]:
    """The same between packages.

    Args:
        imports: between modules.
        folders: of the roots by name; what is a folder there is a package, and modules right below a root stay modules.
    """

    def package(module: str) -> str:
        root, *below = module.split(".")
        if len(below) <= 1 or (folders[root].joinpath(*below)).is_dir():
            return module
        return module.rpartition(".")[0]

    packages: dict[str, set[str]] = {}
    for module, found in imports.items():
        packages.setdefault(package(module), set()).update(map(package, found))
    return {name: found - {name} for name, found in packages.items()}


def graph_figures(roots: Mapping[str, Path]) -> dict[str, str]:
    """The figures of this module, by what they are of."""
    imports = read_imports(roots)
    fan_out = {name: len(found) for name, found in imports.items()}
    fan_in = Counter(other for found in imports.values() for other in found)
    widest, (most, times) = max(fan_out, key=lambda name: fan_out[name]), fan_in.most_common(1)[0]
    high = float(np.quantile(list(fan_out.values()), 0.95))
    packages = circles(by_package(imports, roots))
    files = circles(imports)
    return {
        "imports of a module: p95 / most": f"{high:.0f} / {fan_out[widest]} ({widest})",
        "imported most": f"{most}, by {times}",
        "circles of files": _words(files),
        "circles of packages": _words(packages),
    }


def _words(found: list[list[str]]) -> str:
    return "none" if not found else f"{len(found)}: " + "; ".join(", ".join(group) for group in found)
