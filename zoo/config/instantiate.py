"""Objects from plain configuration, by Hydra's conventions: the only module that calls its `instantiate`.

Hydra itself finds, and may refuse, what a `_target_` names. The rest of its work, copying the configuration three times
to a tree of nodes that know their place, costs a model's construction twice over, and is not needed for mappings and
lists whose references are resolved.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

TARGET, PARTIAL = "_target_", "_partial_"


def instantiate(node: Any) -> Any:
    """A node with everything in it that has a `_target_` called, or with `_partial_` made a `functools.partial`.

    Args:
        node: resolved configuration: mappings, lists and values; nothing of it is changed or shared.

    Raises:
        ValueError: a target is not there, is refused by Hydra, or does not take what its configuration says.
    """
    if isinstance(node, list):
        return [instantiate(value) for value in node]
    if not isinstance(node, Mapping):
        return node
    values = {key: instantiate(value) for key, value in node.items() if key not in (TARGET, PARTIAL)}
    if TARGET not in node:
        return values
    path = node[TARGET]
    target = target_of(path)
    if node.get(PARTIAL):
        return functools.partial(target, **values)
    try:
        return target(**values)
    except Exception as error:  # constructors raise what they like
        raise ValueError(f"{path}: {error if isinstance(error, ValueError) else repr(error)}") from error


@functools.cache
def target_of(path: str) -> Callable[..., Any]:
    """The class or function of a `_target_`.

    Raises:
        ValueError: it is not there, or Hydra's rules of what may be called forbid it.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as hydra_instantiate

    try:
        target: Callable[..., Any] = hydra_instantiate({TARGET: path, PARTIAL: True}).func
    except InstantiationException as error:
        raise ValueError(str(error)) from error
    return target
