"""`make house`: its figures of sources that can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.declarations import SERVICES
from shared.http.negotiation import choose_media_type
from shared.imaging.windows import parse_window
from tests.benchmarks.house.__main__ import CODE, ROOT
from tests.benchmarks.house.duplicates import duplicates
from tests.benchmarks.house.graph import by_package, circles, read_imports
from tests.benchmarks.house.request_paths import Recorder, RequestPath, profiler
from tests.benchmarks.house.sizes import Module, Spread, function_lines, is_annotated, read_modules, sizes

SOURCE = '''"""A module."""

import os  # type: ignore[import]


class Shown:
    """Documented."""

    def bare(self, value):
        return value

    def _hidden(self, value: int) -> int:
        """Has a docstring

        of four
        lines."""
        return value

    def __init__(self, *rest: int):
        self.rest = rest


def test_it() -> None:
    def inner(x: int) -> int:
        return x
'''


@pytest.fixture
def module(tmp_path: Path) -> Module:
    (tmp_path / "one.py").write_text(SOURCE)
    return read_modules([tmp_path])[0]


def test_functions_are_counted_without_their_docstrings(module: Module) -> None:
    lengths = {function.name: function_lines(function) for function in module.functions()}
    assert lengths == {"bare": 2, "_hidden": 2, "__init__": 2, "test_it": 3, "inner": 2}
    assert [one.name for one in module.functions() if not is_annotated(one)] == ["bare"]


def test_shares_and_ratios(module: Module) -> None:
    found = sizes([module], [module, module])
    assert found["code lines / modules"] == "25 / 1"
    assert found["public names with docstring"] == "33 %", "Shown, and neither bare nor test_it"
    assert found["modules with docstring"] == "100 %"
    assert found["functions fully annotated"] == "80 %"
    assert found["type: ignore per 1000 lines"] == "40.0"
    assert found["tests : code (lines)"] == "2.00"
    assert found["test functions"] == "2"


def test_spread() -> None:
    assert str(Spread.of([*range(101)], quantile=0.95)) == "50 / 95 / 100"


def test_no_file_and_no_package_here_imports_itself_by_way_of_others() -> None:
    folders = {part: ROOT / part for part in CODE}
    imports = read_imports(folders)
    assert circles(imports) == []
    assert circles(by_package(imports, folders)) == []


def test_circles_are_found_whoever_is_asked_first() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"f"}}
    assert circles(imports) == [["a", "b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_packages_are_folders_and_modules_right_below_a_root_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    imports = {"root.sub": set[str](), "root.sub.x": {"root.sub.y", "root.flat"}, "root.flat": {"root.sub.x"}}
    found = by_package(imports, {"root": tmp_path / "root"})
    assert found == {"root.sub": {"root.flat"}, "root.flat": {"root.sub"}}
    assert circles(found) == [["root.flat", "root.sub"]]


def test_imports_are_those_of_the_files() -> None:
    found = read_imports(["deploy"])
    assert "deploy.local.processes" in found["deploy.local.redis_server"]


def test_a_copy_is_found_where_it_begins_and_as_long_as_it_is(tmp_path: Path) -> None:
    same = [f"value_{number} = {number}" for number in range(10)]
    (tmp_path / "one.py").write_text("\n".join(["import os", "first = 1", *same, "end = 1"]))
    (tmp_path / "two.py").write_text("\n".join(["other = 1", "", *same[:5], "# a comment", *same[5:], "end = 2"]))
    (tmp_path / "three.py").write_text("\n".join([*same[:7], "own = 3"]))
    (found,) = duplicates(read_modules([tmp_path]), least=8)
    assert found.lines == 10
    assert {found.one, found.other} == {(tmp_path / "one.py", 3), (tmp_path / "two.py", 3)}


def test_a_path_is_what_all_recordings_have_in_common() -> None:
    with profiler() as recorder:
        with recorder.recording():
            choose_media_type("application/json", ["application/json"])
        first = dict(recorder.calls)
        with recorder.recording():
            choose_media_type("application/json", ["application/json"])
            parse_window("lung", pointer="/body/window")
        second = dict(recorder.calls)
    path = RequestPath.of([first, second])
    assert path.files == ["shared/http/negotiation.py"]
    assert path.functions == len(first) < len(second)
    assert path.calls == sum(first.values())


def test_nothing_but_the_house_is_recorded() -> None:
    recorder = Recorder()
    with recorder.recording():
        sorted(Path(SERVICES).iterdir())
    assert recorder.calls == {}
