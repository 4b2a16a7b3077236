"""What code means, as a hash: the syntax trees of files, and of everything of this package that they import.

Comments, docstrings, layout and imports for type checkers alone make no difference. Nothing is imported to find out
what would be.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zoo.files import PACKAGE

ROOT = PACKAGE.name
"""The package whose files are followed."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """One file of Python.

    Attributes:
        sha256: hash over its syntax tree, without what newer versions of Python have added to all trees.
        imports: dotted names that it imports when it runs, inside functions too; some are names inside a module.
    """

    sha256: str
    imports: frozenset[str]


def import_closure(
    modules: Iterable[str], *, without: Iterable[str] = (), alone: Iterable[str] = ()
) -> Mapping[str, Path]:
    """The modules of this package that some modules import, directly or not, and these themselves.

    Args:
        modules: dotted names. What is no module of this package is left out.
        without: modules and packages that are not followed into.
        alone: modules that are there themselves, and not followed.

    Returns:
        Dotted name -> file.
    """
    excluded = tuple(without)
    found = {name: path for name in alone if (path := module_file(name)) is not None}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name == ROOT or any(name == other or name.startswith(f"{other}.") for other in excluded):
            continue
        path = module_file(name)
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)  # it is imported first; and of a class it is the module
        if path is not None:
            found[name] = path
            waiting += syntax(path).imports
    return found


def code_hash(files: Iterable[Path]) -> str:
    """The sha256 over the syntax trees of files, in lower-case hex; neither their names nor their order count.

    Raises:
        OSError: a file cannot be read.
    """
    return hashlib.sha256("\n".join(sorted(syntax(path).sha256 for path in files)).encode()).hexdigest()


def module_file(name: str) -> Path | None:
    """The file of a module of this package; None where it has none of that name."""
    root, *parts = name.split(".")
    if root != ROOT:
        return None
    place = PACKAGE.joinpath(*parts)
    candidates = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


@cache
def syntax(path: Path) -> Syntax:
    """What a file of Python means. A process reads it once, as it imports it once: what is edited later never ran.

    Raises:
        OSError: it cannot be read.
    """
    return syntax_of(path.read_bytes())


def syntax_of(text: str | bytes) -> Syntax:
    """The same of a text. Raises SyntaxError, ValueError: it is no Python."""
    tree, tokens, imports = ast.parse(text), list[str](), set[str]()
    for part in _meaning(tree):
        if isinstance(part, ast.Import):
            imports |= {alias.name for alias in part.names}
        elif isinstance(part, ast.ImportFrom) and part.module is not None:
            imports |= {f"{part.module}.{alias.name}" for alias in part.names}
        tokens.append(type(part).__name__ if isinstance(part, ast.AST) else repr(part))
    own = frozenset(name for name in imports if name.split(".")[0] == ROOT)
    return Syntax(hashlib.sha256("\n".join(tokens).encode("utf-8", "surrogatepass")).hexdigest(), own)


def _meaning(tree: ast.AST) -> Iterator[Any]:
    """Everything of a tree that counts: nodes, the names of their fields, lengths of lists, and plain values.

    Fields that are empty are left out, as those are that only newer versions of Python have.
    """
    waiting: list[Any] = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            kept = [item for item in part if not _says_nothing(item)]
            yield len(kept)
            waiting += kept
            continue
        yield part
        if isinstance(part, ast.AST):
            for name in part._fields:
                value = getattr(part, name, None)
                if value is not None and value != []:
                    waiting += (value, name)


def _says_nothing(node: Any) -> bool:
    """Whether a statement does nothing when it runs: a docstring, or imports for type checkers."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    is_condition = isinstance(node, ast.If) and isinstance(node.test, ast.Name)
    return is_condition and node.test.id == "TYPE_CHECKING" and not node.orelse
