"""Composed configuration to objects: the only module that calls Hydra's `instantiate`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo.catalog.entry import Entry, conf_dir, resolve
from zoo.config.settings import without_null
from zoo.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.checkpoints.convert import LoadReport
    from zoo.data.batching import Batching
    from zoo.models.detectors.base import Detector
    from zoo.types import Transform


def compose(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The whole configuration of an entry, as plain mappings and lists.

    Args:
        name: an entry, or its name without the zoo.
        overrides: as on the command line, `key=value`.

    Raises:
        UsageError: no such entry, or an override that fits nothing.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.singleton import Singleton
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    entry, _ = resolve(name)
    outer = Singleton.get_state()  # a program that is a Hydra application itself keeps its own state
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = hydra_compose("config", overrides=[f"entry={entry}", *map(without_null, overrides)])
            plain = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        message = " ".join(str(error).split())
        raise UsageError(message, next_step=f"see `zoo show {entry}` for its parts") from None
    finally:
        Singleton.set_state(outer)
    return dict(cast("dict[str, Any]", plain))


def build_model(parts: Mapping[str, Any], num_classes: int) -> Detector:
    """A detector from its parts, with fresh weights.

    Args:
        parts: composed configuration by group: detector, backbone, neck, head, loss, protocol.
        num_classes: object classes, without background.

    Raises:
        UsageError: a part does not take what its configuration says.
    """
    from hydra.errors import InstantiationException

    try:
        made = _factories(parts)
        backbone = made["backbone"]()
        neck = made["neck"](in_specs=backbone.out_specs) if made["neck"] else None
        offered = {"num_classes": num_classes, **{name: loss() for name, loss in made["loss"].items()}}
        _check_losses(made)
        heads = {name: _head(head, (neck or backbone).out_specs, offered) for name, head in made["head"].items()}
        transform, normalizer = made["transform"](), made["normalize"]()
        detector: Detector = made["detector"](
            backbone=backbone, neck=neck, transform=transform, normalizer=normalizer, **heads
        )
    except (InstantiationException, TypeError, ValueError) as error:
        message = f"the parts do not fit together: {' '.join(str(error).split())}"
        raise UsageError(message, next_step="correct the override, or the part's YAML under conf/") from error
    return detector


def build_batching(parts: Mapping[str, Any], transform: Transform) -> Batching:
    """How the protocol puts the images of an evaluation into batches; in order where it does not say.

    Args:
        parts: composed configuration by group.
        transform: the detector's; a rule may ask it what images need that share a batch.
    """
    from hydra.utils import instantiate

    from zoo.data.batching import InOrder

    rule = parts["protocol"].get("batching")
    if rule is None:
        return InOrder()
    batching: Batching = instantiate({**rule, "_partial_": True}, _convert_="all")(transform=transform)
    return batching


def load_weights(detector: Detector, tensors: Mapping[str, Tensor], keymap: str) -> LoadReport:
    """Put a checkpoint's tensors into a detector, strictly; they are copied only where their type is another.

    Args:
        detector: possibly on the meta device.
        tensors: by the checkpoint's own keys.
        keymap: name of the zoo's key table.

    Raises:
        ConversionError: keys or shapes do not correspond one to one.
    """
    from zoo.checkpoints.convert import convert
    from zoo.checkpoints.keymaps import key_map

    state = detector.state_dict()
    expected = {key: tuple(tensor.shape) for key, tensor in state.items()}
    converted, report = convert(tensors, key_map(keymap), expected)
    # Files of half precision hold what is computed with in full.
    widened = {key: tensor.to(state[key].dtype) for key, tensor in converted.items()}
    detector.load_state_dict(widened, strict=True, assign=True)
    return report


def load_detector(parts: Mapping[str, Any], entry: Entry, num_classes: int, path: Path) -> tuple[Detector, LoadReport]:
    """An eval-mode detector with the weights of a file, on the CPU.

    It is built without storage and takes the file's tensors as they are, so that nothing is
    initialised in vain and nothing is held twice.

    Raises:
        CheckpointError: the file cannot be read.
        ConversionError: it belongs to another model.
    """
    import torch

    from zoo.checkpoints.readers import read
    from zoo.models.layers.unfilled import Unfilled

    tensors = read(path, entry.checkpoint.format)
    with torch.device("meta"), Unfilled():
        detector = build_model(parts, num_classes)
    report = load_weights(detector, tensors, entry.checkpoint.keymap)
    return detector.eval(), report


def _factories(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Every part as a function that still lacks the values of the running program.

    Those go in by an ordinary call: passed through Hydra they would come out as containers of its
    own (a FeatureSpec as a dict).
    """
    from hydra.utils import instantiate

    def partial(node: Mapping[str, Any] | None) -> dict[str, Any] | None:
        return {**node, "_partial_": True} if node else None

    protocol = parts["protocol"]
    nodes = {group: partial(parts.get(group)) for group in ("detector", "backbone", "neck")}
    nodes |= {name: partial(protocol[name]) for name in ("transform", "normalize")}
    nodes |= {
        group: {name: partial(node) for name, node in (parts.get(group) or {}).items()} for group in ("head", "loss")
    }
    made: dict[str, Any] = instantiate(nodes, _convert_="all")
    return made


def _check_losses(made: Mapping[str, Any]) -> None:
    """Raises ValueError for a loss that no head would take: it must not be left out in silence."""
    taken = {name for head in made["head"].values() for name in inspect.signature(head.func).parameters}
    idle = sorted(made["loss"].keys() - taken)
    if idle:
        heads = ", ".join(head.func.__name__ for head in made["head"].values())
        raise ValueError(f"loss: {' and '.join(idle)} is taken by none of {heads}")


def _head(head: functools.partial[Any], in_specs: Any, offered: Mapping[str, Any]) -> Any:
    """A head with those of the offered values (number of classes, losses by name) that its constructor takes."""
    takes = inspect.signature(head.func).parameters
    return head(in_specs=in_specs, **{name: value for name, value in offered.items() if name in takes})
