"""The hash of code: what changes it, what does not, and which files it is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.runtime import syntax as module
from zoo.runtime.syntax import code_hash, import_closure, module_file, syntax_of

CODE = '''"""A module."""

from typing import TYPE_CHECKING

from zoo.types import Json

if TYPE_CHECKING:
    from zoo.models.boxes import area

LIMIT = 3
"""How many."""


def half(value: float) -> float:
    """Half of it."""
    from zoo.errors import ZooError, closest
    import zoo.data.rle

    return value / 2  # exact
'''

THE_SAME = """# Another head.
from typing import TYPE_CHECKING
from zoo.types import Json
if TYPE_CHECKING:
    import zoo.run.evaluate
LIMIT = 3
def half(value: float) -> float:
    from zoo.errors import (
        ZooError,
        closest,
    )
    import zoo.data.rle
    return (value / 2)
"""


def test_comments_docstrings_and_layout_do_not_count() -> None:
    assert syntax_of(CODE) == syntax_of(THE_SAME)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("value / 2", "value / 2.0"),
        ("value / 2", "value // 2"),
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMITS = 3"),
        ("LIMIT = 3", "LIMIT = '3'"),
        ("LIMIT = 3", "LIMIT = 3\nOTHER = 3"),
        ("return value", "yield value"),
        ("import zoo.data.rle", "import zoo.data.coco"),
        ("value: float)", "value: float = 1.0)"),
        ("value: float)", "*, value: float)"),
    ],
)
def test_everything_else_counts(before: str, after: str) -> None:
    changed = CODE.replace(before, after)
    assert changed != CODE
    assert syntax_of(changed).sha256 != syntax_of(CODE).sha256


def test_the_other_branch_of_a_type_check_counts() -> None:
    text = "if TYPE_CHECKING:\n    import zoo.types\nelse:\n    import zoo.errors\n"
    assert "zoo.errors" in syntax_of(text).imports


def test_imports_inside_functions_count_and_those_for_types_do_not() -> None:
    expected = {"zoo.types.Json", "zoo.errors.ZooError", "zoo.errors.closest", "zoo.data.rle"}
    assert syntax_of(CODE).imports == expected


def test_the_hash_is_the_same_in_every_process_and_version_of_python() -> None:
    # Newer versions give functions an empty list of type parameters.
    assert syntax_of("def f(a, *, b=1.5): return a + b").sha256[:16] == "1b6c29fc3ef1b2b1"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "zoo"
    for name, text in {
        "__init__.py": "import zoo.house",
        "house.py": "",
        "measure/__init__.py": "",
        "measure/accuracy.py": "from zoo.models.boxes import area\nimport numpy\nimport zoo.results.table",
        "measure/speed.py": "def run():\n    from zoo import clock",
        "clock.py": "from zoo.models import boxes",
        "models/__init__.py": "from zoo.models.registry import known",
        "models/registry.py": "import zoo.models.boxes",
        "models/boxes.py": "def area(): return 1",
        "results/table.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(module, "PACKAGE", folder)
    return folder


def test_the_files_that_a_module_imports(package: Path) -> None:
    models = {"zoo.models", "zoo.models.registry", "zoo.models.boxes"}
    found = import_closure(["zoo.measure.accuracy"], without=["zoo.results"])
    assert found.keys() == {"zoo.measure", "zoo.measure.accuracy", *models}, "packages, but the front door itself"
    assert found["zoo.models.boxes"] == package / "models" / "boxes.py"
    assert import_closure(["zoo.measure.speed"]).keys() == {"zoo.measure", "zoo.measure.speed", "zoo.clock", *models}
    assert import_closure(["zoo.models.boxes.Area", "torch.nn"]).keys() == models, "a class is in its module"
    assert import_closure([], alone=["zoo.clock"]).keys() == {"zoo.clock"}
    assert module_file("zoo.models.nowhere") is None


def test_neither_names_nor_order_of_files_count(package: Path) -> None:
    boxes, clock = package / "models" / "boxes.py", package / "clock.py"
    assert code_hash([boxes, clock]) == code_hash([clock, boxes])
    moved = boxes.rename(package / "moved.py")
    assert code_hash([moved, clock]) == code_hash([boxes, clock]), "this process has read it"
    assert code_hash([moved]) != code_hash([clock])
