"""Composed configuration to objects."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog.entry import Entry
from zoo.config.instantiate import PARTIAL, TARGET, instantiate, target_of
from zoo.errors import ConversionError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.checkpoints.contents import Contents
    from zoo.checkpoints.convert import LoadReport
    from zoo.config.run_settings import RunSettings
    from zoo.config.settings import DataSettings
    from zoo.data.batching import Batching, PlannedBatch
    from zoo.data.splits import Split
    from zoo.models.detectors.base import Detector
    from zoo.types import Mode, Transform

_log = logging.getLogger(__name__)


def build_model(parts: Mapping[str, Any], classes: Sequence[str]) -> Detector:
    """A detector from its parts, with fresh weights.

    Args:
        parts: composed configuration by group: detector, backbone, neck, head, loss, protocol.
        classes: names of the object classes, without background, in label order.

    Raises:
        UsageError: a part does not take what its configuration says.
    """
    try:
        made = _factories(parts)
        backbone = made["backbone"]()
        given = _maps("backbone", backbone)
        neck = None
        if made["neck"]:
            with _taking(given, f"neck {made['neck'].func.__name__}"):
                neck = made["neck"](in_specs=backbone.out_specs)
            given = _maps("neck", neck)
        offered = {
            "in_specs": (neck or backbone).out_specs,
            "num_classes": len(classes),
            "next_stage": getattr(backbone, "next_stage", None),
        }
        heads = {}
        for name, head in made["head"].items():
            with _taking(given, f"head {head.func.__name__}"):
                heads[name] = _head(head, offered)
        transform, normalizer = made["transform"](), made["normalize"]()
        detector: Detector = made["detector"](
            classes=classes, backbone=backbone, neck=neck, transform=transform, normalizer=normalizer, **heads
        )
    except (TypeError, ValueError) as error:
        message = f"the parts do not fit together: {' '.join(str(error).split())}"
        raise UsageError(message, next_step="correct the override, or the part's YAML under conf/") from error
    detector.protocol = parts["protocol"]
    return detector


def _maps(group: str, part: Any) -> str:
    """What a backbone or a neck gives, for a message."""
    maps = [f"{spec.channels} at stride {spec.stride}" for spec in part.out_specs]
    count = f"{len(maps)} map{'s' if len(maps) > 1 else ''}"
    return f"{group} {type(part).__name__} gives {count} (channels: {', '.join(maps)})"


@contextmanager
def _taking(given: str, taker: str) -> Iterator[None]:
    """Name both sides where a part cannot be built for the maps that it is given. Raises ValueError."""
    try:
        yield
    except IndexError:
        raise ValueError(f"{given}, too few for {taker}") from None
    except ValueError as error:
        raise ValueError(f"{given}, which {taker} does not take: {error}") from None


def plan_batches(parts: Mapping[str, Any], transform: Transform, split: Split, batch_size: int) -> list[PlannedBatch]:
    """Which images of an evaluation share a batch, as the protocol says; in order where it does not say.

    Args:
        parts: composed configuration by group.
        transform: the detector's; a rule may ask it what images need that share a batch.
        split: images.
        batch_size: most images at a time.
    """
    from zoo.data.batching import InOrder

    rule = parts["protocol"].get("batching")
    batching: Batching = InOrder()
    if rule is not None:
        batching = instantiate({**rule, PARTIAL: True})(transform=transform)
    return batching.plan(split.ground_truth.sizes, batch_size, whole=not split.partial)


def cached_transform(settings: RunSettings, transform: Transform) -> Transform:
    """A detector's preprocessing, with what it gives kept on the disk where `image_cache_gb` says so."""
    size = settings.asked.image_cache_gb
    if size is None:
        return transform
    from zoo.data.image_cache import CachedTransform, ImageCache
    from zoo.fetch.cache import cache_root

    cache = ImageCache(cache_root() / "images", int(size * 1e9))
    return CachedTransform(transform, settings.parts["protocol"]["transform"], cache)


def load_weights(detector: Detector, tensors: Mapping[str, Tensor], keymap: str) -> LoadReport:
    """Put a checkpoint's tensors into a detector, strictly; they are copied only where their type is another.

    Args:
        detector: possibly on the meta device.
        tensors: by the checkpoint's own keys.
        keymap: name of the zoo's key table.

    Raises:
        ConversionError: keys or shapes do not correspond one to one, or whole numbers stand for weights.
    """
    from zoo.checkpoints.convert import convert
    from zoo.checkpoints.keymaps import key_map

    state = detector.state_dict()
    converted, report = convert(tensors, key_map(keymap), {key: tuple(held.shape) for key, held in state.items()})
    whole = [key for key, tensor in converted.items() if state[key].is_floating_point() > tensor.is_floating_point()]
    if whole:
        first = f"{whole[0]} ({converted[whole[0]].dtype})"
        message = f"whole numbers stand in the place of {len(whole)} weights, such as {first}"
        raise ConversionError(message, next_step="give the file from before its quantisation")
    # Files of half precision hold what is computed with in full.
    widened = {key: tensor.to(state[key].dtype) for key, tensor in converted.items()}
    detector.load_state_dict(widened, strict=True, assign=True)
    return report


def load_detector(
    parts: Mapping[str, Any],
    entry: Entry,
    row_classes: Sequence[str],
    path: Path,
    *,
    own: bool = False,
    own_classes: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[Detector, LoadReport]:
    """An eval-mode detector with the weights of a file, on the CPU.

    It is built without storage and takes the file's tensors as they are, so that nothing is initialised in vain and
    nothing is held twice. Where it is to know other classes than the file, the layers that depend on them keep fresh
    weights; that is logged, and stands in the report.

    Args:
        parts: composed configuration by group.
        entry: the row, which says how its published file is read.
        row_classes: names of the row's object classes, in label order.
        path: the file.
        own: whether it is the user's own, and known by its content: its format, names and classes.
        own_classes: names of that file's classes, in label order, where the user says them; None for those it names.
        classes: names of the classes that the detector is to have, in label order; None for those of the file.

    Raises:
        CheckpointError: the file cannot be read.
        ConversionError: it belongs to another model.
    """
    from zoo.checkpoints.own import OWN_NAMES, read_own, recognise_keymap, tell_other_classes
    from zoo.checkpoints.readers import read_contents

    published = entry.checkpoint
    contents = read_own(path, published) if own else read_contents(path, published.format)
    detector = _without_storage(parts, own_classes or row_classes)
    keymap = recognise_keymap(contents.tensors, detector.state_dict(), published) if own else published.keymap
    if own and own_classes is None and contents.classes is not None:
        other = _without_storage(parts, contents.classes)
        # This code's own class lists are true; those of other frameworks are believed where nothing else fits.
        if keymap == OWN_NAMES or (not _fits(detector, contents, keymap) and _fits(other, contents, keymap)):
            detector = other
        else:
            tell_other_classes(contents.classes, row_classes, path)
    try:
        report = load_weights(detector, contents.tensors, keymap)
    except ConversionError:
        if own:
            _refuse_other_number(parts, detector.classes, contents, keymap, path)
        raise
    report.include(contents)
    if classes is not None and tuple(classes) != detector.classes:
        detector, report = _with_classes(parts, detector, classes, report)
    return detector.eval(), report


def _without_storage(parts: Mapping[str, Any], classes: Sequence[str]) -> Detector:
    from zoo.models.layers.skip_init import SkipInit

    with SkipInit("meta"):
        return build_model(parts, classes)


def _fits(detector: Detector, contents: Contents, keymap: str) -> bool:
    """Whether a file's tensors have the names and the shapes of a detector's."""
    from zoo.checkpoints.convert import convert
    from zoo.checkpoints.keymaps import key_map

    try:
        convert(contents.tensors, key_map(keymap), _shapes(detector))
    except ConversionError:
        return False
    return True


def _refuse_other_number(
    parts: Mapping[str, Any], classes: Sequence[str], contents: Contents, keymap: str, path: Path
) -> None:
    """Say so where a file differs from a detector in the number of its classes alone.

    Raises:
        ConversionError: it does.
    """
    from zoo.checkpoints.convert import convert
    from zoo.checkpoints.keymaps import key_map

    fewer, more = (_shapes(_without_storage(parts, names)) for names in (classes, [*classes, "another"]))
    unsaid = {
        key: tuple(None if length != other else length for length, other in zip(shape, more[key], strict=True))
        for key, shape in fewer.items()
    }
    try:
        converted, _ = convert(contents.tensors, key_map(keymap), unsaid)
    except ConversionError:
        return  # it differs in more than that
    # So many rows of a layer belong to a class: that tells the number of classes.
    counts = {
        len(classes) + (len(converted[key]) - shape[0]) / (more[key][0] - shape[0])
        for key, shape in fewer.items()
        if None in unsaid[key]
    }
    count = counts.pop()
    if not counts and count >= 1 and count.is_integer():
        message = f"{path}: its layers are made for {count:.0f} classes, not for {len(classes)}"
        step = "name its classes in label order with checkpoint.classes=[NAME,...]"
        raise ConversionError(message, next_step=f"{step}, or `zoo predict --classes NAME,...`")


def _with_classes(
    parts: Mapping[str, Any], known: Detector, classes: Sequence[str], report: LoadReport
) -> tuple[Detector, LoadReport]:
    """A detector for other classes with the weights of one, but for the layers that depend on its classes."""
    detector = build_model(parts, classes)
    state, expected = known.state_dict(), _shapes(detector)
    another = _shapes(known)
    if len(classes) == len(known.classes):  # then the shapes alone do not tell which layers these are
        another = _shapes(_without_storage(parts, [*classes, "another"]))
    fresh = [key for key, shape in expected.items() if another[key] != shape]
    detector.load_state_dict({key: tensor for key, tensor in state.items() if key not in fresh}, strict=False)
    layers = ", ".join(dict.fromkeys(key.rpartition(".")[0] for key in fresh))
    reason = f"of other classes ({len(known.classes)} in the file, {len(classes)} in the model)"
    _log.warning("these layers begin anew, %s: %s", reason, layers)
    return detector, replace(report, loaded=report.loaded - len(fresh), kept={reason: fresh})


def _shapes(detector: Detector) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}


def prepare(detector: Detector, protocol: Mapping[str, Any], mode: Mode = "eager") -> Detector:
    """Set, fold and lay out an eval-mode detector as its protocol says, in place, and have it run in a mode.

    Raises:
        DeviceError: its device does not know the mode.
    """
    from zoo.models.layers.conv import fold_batch_norm, norms

    if (eps := protocol.get("norm_eps")) is not None:
        for norm in norms(detector):
            norm.eps = eps
    if protocol["fold_batch_norm"]:
        fold_batch_norm(detector)
    if protocol["channels_last"]:
        detector.use_channels_last()
    if mode == "graph":
        from zoo.run.graphs import use_graphs

        use_graphs(detector)
    return detector


def open_data(data: DataSettings, classes: tuple[str, ...], *, training: bool = False) -> Split:
    """The split that is evaluated, or the one that is trained on.

    Args:
        data: data set.
        classes: category names in label order.
        training: which of the two.

    Raises:
        UsageError: the data set has no split to train on.
        DataError, DownloadError: it cannot be had, or is not what it should be.
    """
    from zoo.data.splits import open_split

    chosen = data.train if training else data
    if chosen is None:
        message = f"{data.name} has no training split"
        raise UsageError(message, next_step="choose another data set with data=NAME, or run=evaluate")
    return open_split(
        data.name,
        chosen.split,
        root=data.root,
        annotations=chosen.annotations,
        images=chosen.images,
        num_images=None if training else data.num_images,
        limit=chosen.limit,
        classes=classes,
        categories=data.classes,
        known=data.annotations_sha256,
        sizes=data.annotations_size,
        hash_images=not training,  # a training set may have many gigabytes
    )


def _factories(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Every part as a function that still lacks the values of the running program."""

    def partial(node: Mapping[str, Any] | None) -> dict[str, Any] | None:
        return {**node, PARTIAL: True} if node else None

    protocol = parts["protocol"]
    heads = _with_convention(_with_losses(parts), protocol.get("boxes"))
    nodes = {group: partial(parts.get(group)) for group in ("detector", "backbone", "neck")}
    nodes |= {name: partial(protocol[name]) for name in ("transform", "normalize")}
    nodes["head"] = {name: partial(node) for name, node in heads.items()}
    made: dict[str, Any] = instantiate(nodes)
    return made


def _with_losses(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The heads, each loss of the group `loss` in the place that the heads' `loss_slots` give it.

    Raises:
        ValueError: a loss that has no place: it must not be left out in silence.
    """
    heads = copy.deepcopy(dict(parts.get("head") or {}))
    slots = heads.pop("loss_slots", None) or {}
    losses = parts.get("loss") or {}
    idle = sorted(losses.keys() - slots.keys())
    if idle:
        raise ValueError(f"loss: {' and '.join(idle)} is taken by none of {', '.join(heads)}")
    for name, loss in losses.items():
        *way, last = slots[name].split(".")
        functools.reduce(operator.getitem, way, heads)[last] = loss
    return heads


def _with_convention(node: Any, convention: Mapping[str, Any] | None) -> Any:
    """A part and the parts inside it, all that take a box convention with the protocol's."""
    if isinstance(node, Mapping):
        node = {name: _with_convention(value, convention) for name, value in node.items()}
        if convention and TARGET in node and "convention" in _parameters(target_of(node[TARGET])):
            node.setdefault("convention", convention)
    return node


def _head(head: functools.partial[Any], offered: Mapping[str, Any]) -> Any:
    """A head with those of the offered values (feature maps, number of classes) that its constructor takes."""
    takes = _parameters(head.func)
    return head(**{name: value for name, value in offered.items() if name in takes})


@functools.cache
def _parameters(target: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(target).parameters)
