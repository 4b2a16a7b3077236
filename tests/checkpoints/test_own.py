"""Files of the user's own: whatever the entry's published format is, they are known by their content."""

from __future__ import annotations

import logging
import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import ENTRIES
from class_names import class_names
from parity import shapes
from safetensors.torch import save_file
from torch import Tensor

import zoo
from zoo.catalog.entry import entry_names, read_entry
from zoo.checkpoints.containers.file_bytes import FileBytes
from zoo.checkpoints.own import recognise_keymap
from zoo.config.build import build_model, load_detector, load_weights
from zoo.config.compose import compose
from zoo.errors import CheckpointError, ConversionError
from zoo.models.detectors.base import Detector
from zoo.models.layers.skip_init import SkipInit
from zoo.train.state import export_weights

SMALL = ("backbone=resnet10_small", "backbone.frozen_stages=1")
MMDET = {
    "mmdet_faster_rcnn_r50_fpn_1x": ("neck=fpn64", "head=faster_rcnn_small"),
    "mmdet_mask_rcnn_r50_fpg_crop640_50e": ("neck=fpn64", "head=mask_rcnn_small"),
    "mmdet_retinanet_r50_fpg_crop640_50e": ("neck=fpn64_p3", "head=retinanet_small"),
}
"""One entry of each family, with parts that make its network small: the names stay those of the family."""

ROWS = {
    **{name: () for name in entry_names() if name.startswith("shapes_")},
    **{name: (*SMALL, *parts) for name, parts in MMDET.items()},
    "ultralytics_yolov8n": (),
    "ultralytics_yolov8n_seg": (),
}
"""Entry -> changes of its composition: every kind of network, and every published format."""


def fresh(name: str) -> tuple[dict[str, Any], Detector, list[str]]:
    """Composition, a detector with numbers of its own in every tensor, and its classes."""
    config = compose(name, ROWS[name])
    classes = list(config["entry"].get("classes") or config["data"]["classes"])
    with SkipInit():
        detector = build_model(config, classes)
    generator = torch.Generator().manual_seed(0)
    for tensor in detector.state_dict().values():
        tensor.copy_(torch.randint(1, 100, tensor.shape, generator=generator))
    return config, detector, classes


def test_whole_numbers_are_no_weights() -> None:
    _, detector, _ = fresh("shapes_retinanet_r10_fpn")
    tensors = detector.state_dict()
    key = next(key for key, tensor in tensors.items() if tensor.dim() == 4)
    with pytest.raises(ConversionError, match=rf"in the place of 1 weights, such as {key} \(torch.int8\)"):
        load_weights(detector, {**tensors, key: tensors[key].to(torch.int8)}, "zoo")
    load_weights(detector, {**tensors, key: tensors[key].half()}, "zoo")


def as_exported(detector: Detector, path: Path) -> None:
    export_weights(path, detector.state_dict(), detector.classes)


def as_plain_state_dict(detector: Detector, path: Path) -> None:
    torch.save(detector.state_dict(), path)


def as_safetensors(detector: Detector, path: Path) -> None:
    save_file({key: tensor.contiguous() for key, tensor in detector.state_dict().items()}, path)


def as_checkpoint(detector: Detector, path: Path) -> None:
    """A training's own, without an average."""
    state = {"step": 1, "classes": list(detector.classes), "model": detector.state_dict(), "ema": None}
    torch.save({**state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}, path)


def as_averaged_checkpoint(detector: Detector, path: Path) -> None:
    """A training's own, of which the average counts."""
    other = {key: torch.zeros_like(tensor) for key, tensor in detector.state_dict().items()}
    average = {"updates": 1, "tensors": dict(detector.state_dict())}
    torch.save({"step": 1, "model": other, "ema": average, "optimizer": {}}, path)


WRITERS = (as_exported, as_plain_state_dict, as_safetensors, as_checkpoint, as_averaged_checkpoint)


def assert_loads(name: str, path: Path, expected: Detector, config: dict[str, Any], classes: list[str]) -> None:
    detector, report = load_detector(config, read_entry(name), classes, path, own=True)
    state = expected.state_dict()
    assert detector.state_dict().keys() == state.keys()
    for key, tensor in detector.state_dict().items():
        assert torch.equal(tensor, state[key]), key
    dropped = [key for keys in report.dropped.values() for key in keys]
    assert (report.loaded, set(dropped) - {"step", "optimizer", "model"}) == (len(state), set())


@pytest.mark.parametrize("name", ROWS)
def test_what_a_training_exports_is_read_for_every_kind_of_entry(tmp_path: Path, name: str) -> None:
    config, detector, classes = fresh(name)
    as_exported(detector, tmp_path / "weights.pth")
    assert_loads(name, tmp_path / "weights.pth", detector, config, classes)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", ["shapes_yolov8_p", "shapes_mask_rcnn_r10_fpn"])
def test_the_name_of_a_file_does_not_matter(tmp_path: Path, name: str, write: Any) -> None:
    config, detector, classes = fresh(name)
    write(detector, tmp_path / "mine")
    assert_loads(name, tmp_path / "mine", detector, config, classes)


def test_a_published_format_takes_every_one_of_them(tmp_path: Path) -> None:
    name = "ultralytics_yolov8n"
    config, detector, classes = fresh(name)
    for write in WRITERS:
        write(detector, tmp_path / "mine")
        assert_loads(name, tmp_path / "mine", detector, config, classes)


def test_through_the_python_api(tmp_path: Path) -> None:
    _, detector, classes = fresh("shapes_retinanet_r10_fpn")
    as_exported(detector, tmp_path / "weights.pth")
    loaded = zoo.load("shapes_retinanet_r10_fpn", checkpoint=tmp_path / "weights.pth")
    assert list(loaded.classes) == classes
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, detector.state_dict()[key]), key


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ENTRIES)
def test_published_names_are_never_taken_for_our_own(case: str) -> None:
    entry = read_entry(ENTRIES[case][0])
    config = compose(entry.name)
    with SkipInit("meta"):
        detector = build_model(config, config["entry"].get("classes") or config["data"]["classes"])
    expected = detector.state_dict()
    assert recognise_keymap(shapes(case), expected, entry.checkpoint) == entry.checkpoint.keymap
    assert recognise_keymap(expected, expected, entry.checkpoint) == "zoo"


def test_a_file_that_lacks_a_key_says_so_by_our_names(tmp_path: Path) -> None:
    config, detector, classes = fresh("ultralytics_yolov8n")
    state = {key: tensor for key, tensor in detector.state_dict().items() if key != "backbone.stem.conv.weight"}
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ConversionError, match=r"lacks model keys: backbone\.stem\.conv\.weight"):
        load_detector(config, read_entry("ultralytics_yolov8n"), classes, tmp_path / "w.pth", own=True)


# --- classes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [as_exported, as_checkpoint])
def test_a_file_of_other_classes_brings_them_along(tmp_path: Path, write: Any) -> None:
    config, detector, classes = fresh("shapes_retinanet_r10_fpn")
    write(detector, tmp_path / "w.pth")
    other = [classes[1], classes[0], *classes[2:]]
    loaded, _ = load_detector(config, read_entry("shapes_retinanet_r10_fpn"), other, tmp_path / "w.pth", own=True)
    assert loaded.classes == tuple(classes)


@pytest.mark.parametrize(
    "meta",
    [{"CLASSES": ["person"]}, {"dataset_meta": {"classes": ("person",)}}, {"dataset_meta": {"CLASSES": ("person",)}}],
)
def test_what_another_framework_says_of_classes_is_told(
    tmp_path: Path, meta: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    name = "mmdet_faster_rcnn_r50_fpn_1x"
    from zoo.checkpoints.own import read_own, tell_other_classes

    torch.save({"meta": meta, "state_dict": {"a": torch.zeros(1)}}, tmp_path / "w.pth")
    contents = read_own(tmp_path / "w.pth", read_entry(name).checkpoint)
    assert contents.classes == ("person",)
    with caplog.at_level(logging.WARNING):
        tell_other_classes(contents.classes, class_names(80), tmp_path / "w.pth")
    assert "it names 1 class (person), where the model has 80 classes (class 0, " in caplog.text
    assert "its labels are read as the model's" in caplog.text


def test_a_file_that_names_no_classes_is_told_them(tmp_path: Path) -> None:
    """What torchvision's scripts write of one's own classes: a state dict, whose shapes alone tell their number."""
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    original = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    torch.save(original.state_dict(), tmp_path / "w.pth")
    name = "torchvision_ssdlite320_mobilenet_v3_large"
    for told in (None, ["helmet", "vest"]):
        with pytest.raises(ConversionError, match=rf"made for 3 classes, not for {90 if told is None else 2}") as error:
            zoo.load(name, tmp_path / "w.pth", checkpoint_classes=told)
        assert "checkpoint.classes=[NAME,...]" in error.value.next_step

    loaded = zoo.load(name, tmp_path / "w.pth", checkpoint_classes=["helmet", "vest", "boot"])
    assert loaded.classes == ("helmet", "vest", "boot")
    theirs = original.head.classification_head.module_list[0][1].weight  # of each of 6 boxes: background, 3 classes
    ours = loaded.get_parameter("dense_head.logits.0.1.weight")
    assert torch.equal(ours.view(6, 4, -1)[:, [3, 0, 1, 2]], theirs.view(6, 4, -1))


def test_a_file_that_differs_in_more_than_its_classes(tmp_path: Path) -> None:
    config, detector, classes = fresh("shapes_retinanet_r10_fpn")
    state = {key: tensor for key, tensor in detector.state_dict().items() if "backbone.stem" not in key}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    with pytest.raises(ConversionError, match="the checkpoint lacks model keys"):
        load_detector(config, read_entry("shapes_retinanet_r10_fpn"), classes[1:], tmp_path / "w.pth", own=True)


def test_older_spellings_are_the_same_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from zoo.checkpoints.own import tell_other_classes

    with caplog.at_level(logging.WARNING):
        tell_other_classes(["dining_table", "TV"], ["dining table", "tv"], tmp_path)
    assert not caplog.text


# --- formats --------------------------------------------------------------------------------------


def test_formats_by_their_first_bytes(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {"a.weight": torch.zeros(3)}
    save_file(tensors, tmp_path / "s")
    torch.save(tensors, tmp_path / "p")
    torch.save(tensors, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "text").write_text("{}", encoding="utf-8")
    (tmp_path / "plain").write_bytes(pickle.dumps({}))
    with tarfile.open(tmp_path / "tar", "w") as archive:
        archive.add(tmp_path / "s", "s")
    found = {name: FileBytes(tmp_path / name).container() for name in ("s", "p", "old", "tar", "plain", "text")}
    expected = {"s": "safetensors", "p": "zip", "old": "legacy", "tar": "tar", "plain": "pickle", "text": "unknown"}
    assert found == expected


def test_a_file_of_no_known_format_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"<html>not found</html>")
    config, _, classes = fresh("shapes_yolov8_p")
    with pytest.raises(CheckpointError, match=r"not a torch\.save file and not a safetensors file"):
        load_detector(config, read_entry("shapes_yolov8_p"), classes, tmp_path / "w.pth", own=True)
