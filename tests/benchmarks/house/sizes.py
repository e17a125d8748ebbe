"""How long modules and functions are, and how many are documented and annotated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

LONG_FUNCTION_LINES = 40
_IGNORE = re.compile(r"#\s*type:\s*ignore")


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed file."""

    path: Path
    source: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """All lines, blank ones and comments too."""
        return len(self.source.splitlines())

    def functions(self) -> Iterator[Function]:
        """All functions and methods, inner ones too."""
        yield from (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def read_modules(folders: Iterable[Path]) -> list[Module]:
    """Parse all Python files below some folders, generated and hidden ones left out."""
    paths = sorted(path for folder in folders for path in folder.rglob("*.py") if "__pycache__" not in path.parts)
    sources = {path: path.read_text(encoding="utf-8") for path in paths}
    return [Module(path, source, ast.parse(source)) for path, source in sources.items()]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, a high quantile and the largest of some lengths."""

    median: float
    high: float
    largest: int

    @classmethod
    def of(cls, lengths: Sequence[int], *, quantile: float) -> Spread:
        """The spread of at least one length."""
        return cls(float(np.median(lengths)), float(np.quantile(lengths, quantile)), max(lengths))

    def __str__(self) -> str:
        return f"{self.median:.0f} / {self.high:.0f} / {self.largest}"


def function_lines(function: Function) -> int:
    """Lines of a function from `def` to its end, its docstring left out."""
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function, clean=False) is not None:
        docstring = (first.end_lineno or first.lineno) - first.lineno + 1
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def is_annotated(function: Function) -> bool:
    """Whether the result and all parameters but self and cls have a type; `__init__` needs none for its result."""
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    starred = [one for one in (function.args.vararg, function.args.kwarg) if one is not None]
    bare = [one for one in (*named, *starred) if one.annotation is None and one.arg not in {"self", "cls"}]
    return not bare and (function.returns is not None or function.name == "__init__")


def public_definitions(module: Module) -> Iterator[Function | ast.ClassDef]:
    """Classes and functions of a module, and methods of its classes, whose names do not begin with an underscore."""
    pending: list[ast.AST] = [module.tree]
    while pending:
        for node in ast.iter_child_nodes(pending.pop()):
            if isinstance(node, Documented) and not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    pending.append(node)


def share(flags: Iterable[bool]) -> float:
    """Per cent of them that hold."""
    values = list(flags)
    return 100 * sum(values) / max(1, len(values))


def sizes(code: Sequence[Module], tests: Sequence[Module]) -> dict[str, str]:
    """The figures of this module, by what they are of."""
    functions = [function for module in code for function in module.functions()]
    lengths = [function_lines(function) for function in functions]
    lines = sum(module.lines for module in code)
    ignores = sum(len(_IGNORE.findall(module.source)) for module in code)
    documented = [ast.get_docstring(node) is not None for module in code for node in public_definitions(module)]
    test_lines = sum(module.lines for module in tests)
    return {
        "code lines / modules": f"{lines:,} / {len(code)}",
        "module lines: median / p90 / max": str(Spread.of([module.lines for module in code], quantile=0.9)),
        "function lines: median / p95 / max": str(Spread.of(lengths, quantile=0.95)),
        "functions over 40 lines": f"{sum(length > LONG_FUNCTION_LINES for length in lengths)} of {len(lengths)}",
        "public names with docstring": f"{share(documented):.0f} %",
        "modules with docstring": f"{share(ast.get_docstring(module.tree) is not None for module in code):.0f} %",
        "functions fully annotated": f"{share(map(is_annotated, functions)):.0f} %",
        "type: ignore per 1000 lines": f"{1000 * ignores / lines:.1f}",
        "tests : code (lines)": f"{test_lines / lines:.2f}",
        "test functions": str(sum(name.startswith("test_") for name in _names(tests))),
    }


def _names(modules: Iterable[Module]) -> Iterator[str]:
    yield from (function.name for module in modules for function in module.functions())
