"""Imports run one way: a module may import only what stands before it in the flow of the data."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FLOW = (
    ("errors",),
    ("coco_tasks", "front_door", "schema", "terminal", "types"),
    ("files",),
    ("runtime",),
    ("catalog",),
    ("fetch",),
    ("checkpoints",),
    ("data",),
    ("models",),
    ("run",),
    ("train",),
    ("measure",),
    ("results",),
    ("console",),
    ("config",),
    ("pipeline",),
    ("sweep",),
    ("bench",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
"""In the order data flows. Modules of one group do not import each other, but for those inside one package."""

RANK = {name: rank for rank, group in enumerate(FLOW) for name in group}


def stage(module: str) -> str:
    """zoo.models.boxes -> models"""
    return module.split(".")[1]


def imported_modules(path: Path) -> set[str]:
    """Every zoo module a file imports, inside functions too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            modules |= {f"zoo.{alias.name}" for alias in node.names} if node.module == "zoo" else {node.module}
    return {module for module in modules if module.startswith("zoo.")}


FILES = [path for path in sorted((ROOT / "zoo").rglob("*.py")) if path != ROOT / "zoo" / "__init__.py"]


def test_imports_only_what_comes_before() -> None:
    against_the_flow = []
    for path in FILES:
        module = "zoo." + ".".join(path.relative_to(ROOT / "zoo").with_suffix("").parts)
        own = stage(module)
        assert own in RANK, f"{module} has no place in the flow; give it one in FLOW"
        against_the_flow += [
            f"{module} must not import {other}"
            for other in sorted(imported_modules(path))
            if own != stage(other) and RANK[stage(other)] >= RANK[own]
        ]
    assert not against_the_flow, "\n".join(against_the_flow)


def test_only_one_module_instantiates() -> None:
    users = [path.name for path in FILES if "hydra.utils" in path.read_text(encoding="utf-8")]
    assert users == ["instantiate.py"]


def test_models_know_no_configuration() -> None:
    for path in FILES:
        if path.is_relative_to(ROOT / "zoo" / "models"):
            text = path.read_text(encoding="utf-8")
            assert "omegaconf" not in text
            assert "hydra" not in text


def test_the_conductor_fits_on_a_screen() -> None:
    lines = (ROOT / "zoo" / "pipeline.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
