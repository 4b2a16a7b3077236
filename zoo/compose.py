"""Composed configuration to objects: the only module that calls Hydra's `instantiate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo.entry import Entry, conf_dir, resolve
from zoo.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.checkpoints.convert import LoadReport
    from zoo.models.detectors.base import Detector


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
            config = hydra_compose("config", overrides=[f"entry={entry}", *overrides])
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
        backbone = _instantiate(parts["backbone"])
        neck = _instantiate(parts["neck"], in_specs=backbone.out_specs) if parts["neck"] else None
        specs = (neck or backbone).out_specs
        losses = {name: _instantiate(loss) for name, loss in (parts["loss"] or {}).items()}
        heads = {name: _head(head, specs, num_classes, losses) for name, head in parts["head"].items()}
        protocol = parts["protocol"]
        detector: Detector = _instantiate(
            parts["detector"],
            backbone=backbone,
            neck=neck,
            transform=_instantiate(protocol["transform"]),
            normalizer=_instantiate(protocol["normalize"]),
            **heads,
        )
    except InstantiationException as error:
        raise UsageError(str(error).splitlines()[0], next_step="correct the part's YAML under conf/") from error
    return detector


def load_weights(detector: Detector, tensors: Mapping[str, Tensor], keymap: str) -> LoadReport:
    """Put a checkpoint's tensors into a detector, strictly and without copying them.

    Args:
        detector: possibly on the meta device.
        tensors: by the checkpoint's own keys.
        keymap: name of the zoo's key table.

    Raises:
        ConversionError: keys or shapes do not correspond one to one.
    """
    from zoo.checkpoints.convert import convert
    from zoo.checkpoints.keymaps import key_map

    expected = {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}
    converted, report = convert(tensors, key_map(keymap), expected)
    detector.load_state_dict(converted, strict=True, assign=True)
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

    tensors = read(path, entry.checkpoint.format)
    with torch.device("meta"):
        detector = build_model(parts, num_classes)
    report = load_weights(detector, tensors, entry.checkpoint.keymap)
    return detector.eval(), report


def _instantiate(node: Any, **values: Any) -> Any:
    from hydra.utils import instantiate

    # Values of the running program go in by an ordinary call: passed through Hydra they would come
    # out as containers of its own (a FeatureSpec as a dict).
    return instantiate(node, _partial_=True, _convert_="all")(**values)


def _head(node: Mapping[str, Any], in_specs: Any, num_classes: int, losses: Mapping[str, Any]) -> Any:
    """A head with those of the number of classes and the losses, by name, that its constructor takes."""
    import inspect

    from hydra.utils import get_class

    takes = inspect.signature(get_class(node["_target_"])).parameters
    offered = {"num_classes": num_classes, **losses}
    return _instantiate(node, in_specs=in_specs, **{name: offered[name] for name in offered if name in takes})
