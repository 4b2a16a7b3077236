"""Weights to begin with: the files of conf/initial, their key tables, and what they do in a detector."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from class_names import class_names
from parity import shapes
from torch import Tensor, nn
from torchvision.models import mobilenetv3, resnet, vgg

from zoo.catalog.entry import Checkpoint, conf_dir, read_entries, read_entry
from zoo.checkpoints.convert import Drop, Fresh, Rename, convert
from zoo.checkpoints.keymaps import key_map
from zoo.checkpoints.readers import read_contents
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import CheckpointError, ConversionError, UsageError
from zoo.fetch.hashes import published_prefix_from_name
from zoo.models.layers.skip_init import SkipInit

ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {
    "resnet50": resnet.resnet50,
    "resnet101": resnet.resnet101,
    "32x4d": lambda: resnet.ResNet(resnet.Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4),
    "64x4d": resnet.resnext101_64x4d,
    "32x8d": resnet.resnext101_32x8d,
    "vgg16_features": lambda: nn.ModuleDict({"features": vgg.vgg16().features}),
    "vgg16": vgg.vgg16,
    "mobilenet_v3_large": mobilenetv3.mobilenet_v3_large,
}
"""The classification networks whose names and shapes the files have, by a part of the file's name here."""

PADDLE = {
    "paddle_resnet34": "faster_rcnn_r34_fpn_1x_coco",
    "paddle_resnet50_cos": "faster_rcnn_r50_fpn_1x_coco",
    "paddle_resnet101": "faster_rcnn_r101_fpn_1x_coco",
    "paddle_resnet50_vd_ssld": "faster_rcnn_dcn_r50_vd_fpn_3x_server_side",
    "paddle_resnet101_vd_ssld": "cascade_rcnn_dcn_r101_vd_fpn_3x_server_side",
    "paddle_resnet50_vd_ssld_v2": "faster_rcnn_enhance_3x_coco",
    "paddle_res2net50_26w_4s": "faster_rcnn_res2net50_vb_26w_4s_fpn_1x_coco",
    "paddle_res2net50_vd_26w_4s": "mask_rcnn_res2net50_vd_26w_4s_fpn_2x_coco",
}
"""PaddlePaddle's files -> a parity case of a detector that has the backbone."""

INITIAL = sorted(path.stem for path in (conf_dir() / "initial").glob("*.yaml") if path.stem != "published")
BEGINNING = list(
    {
        tuple(entry.parts.get(group) for group in ("initial", "backbone", "neck", "head")): entry.name
        for entry in read_entries()
        if "initial" in entry.parts
    }.values()
)
"""An entry of every composition that begins with a file."""


def initial(name: str) -> Checkpoint:
    return Checkpoint.from_mapping(yaml.safe_load((conf_dir() / "initial" / f"{name}.yaml").read_text()), "initial")


@functools.cache
def shapes_of(name: str) -> Mapping[str, tuple[int, ...]]:
    """Shape of every tensor in a file of conf/initial."""
    if name == "mmdet_caffe_fpn_3x":
        return shapes("mmdet/faster_rcnn_r50_caffe_fpn_1x_coco")
    if name in PADDLE:
        return classifier_of_paddle(PADDLE[name])
    with SkipInit("meta"):
        network = next(make for part, make in ARCHITECTURES.items() if part in name)()
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def classifier_of_paddle(case: str) -> Mapping[str, tuple[int, ...]]:
    """Shape of every tensor of a classification network, in the names of the time that its detector is of."""
    detector = {name: shape for name, shape in shapes(f"paddle/{case}").items() if "conv_offset" not in name}
    if "server_side" in case:
        found = {name: shape for name, shape in detector.items() if re.match(r"res\d|bn\d|conv1_|bnv1_", name)}
        return found | {"fc_0.w_0": (2048, 1000), "fc_0.b_0": (1000,), "@LR_DECAY_COUNTER@": (1,)}
    backbone = {name.removeprefix("backbone."): shape for name, shape in detector.items() if "backbone." in name}
    if "bbox_head.bbox_score_0.weight" not in detector:
        return backbone | {"fc.weight": (2048, 1000), "fc.bias": (1000,)}
    return {_static(name): shape for name, shape in backbone.items()} | {"fc_0.w_0": (2048, 1000), "fc_0.b_0": (1000,)}


def _static(name: str) -> str:
    """The variable of the static graph: "res2.res2a.branch2a.norm.weight" was "bn2a_branch2a_scale"."""
    *layers, kind, part = name.split(".")
    layer = "_".join(layers[1:]).replace("short", "branch1")
    if kind == "conv":
        return f"{layer}_weights"
    norm = "bn_conv1" if layer == "conv1" else layer.replace("res", "bn")
    return norm + {"weight": "_scale", "bias": "_offset", "_mean": "_mean", "_variance": "_variance"}[part]


def converted(entry: str, given: Mapping[str, tuple[int, ...]], keymap: str) -> tuple[set[str], dict[str, Any]]:
    """The keys that stay fresh in an entry's model, and the load report."""
    config = compose(entry)
    with SkipInit("meta"):
        detector = build_model(config, config["entry"].get("classes") or config["data"]["classes"])
        tensors = {key: torch.empty(shape) for key, shape in given.items()}
    expected = {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}
    placed, report = convert(tensors, key_map(keymap), expected)
    return expected.keys() - placed.keys(), report.to_json()


@pytest.mark.parametrize("name", INITIAL)
def test_files_are_told_by_their_hash(name: str) -> None:
    found = initial(name)
    if found.format == "pdparams":  # pinned at first use
        assert (found.sha256_prefix, found.sha256) == (None, None)
        return
    assert [published_prefix_from_name(url) for url in found.urls] == [found.sha256_prefix] * len(found.urls)


@pytest.mark.parametrize("entry", BEGINNING)
def test_every_entry_takes_the_file_it_begins_with(entry: str) -> None:
    name = read_entry(entry).parts["initial"]
    fresh, report = converted(entry, shapes_of(name), initial(name).keymap)
    trained = fresh
    if name in PADDLE:
        trained = {key for key in fresh if not key.endswith(".num_batches_tracked") and ".conv_offset." not in key}
    assert not any(key.startswith("backbone.") or ".shared." in key for key in trained)
    assert not (name == "jwyang_vgg16" and any(".fc" in key for key in fresh)), "all but its last layer"
    last = {"jwyang_vgg16": "classifier.6.", "torchvision_mobilenet_v3_large": "classifier."}.get(name, "fc")
    whole_images = {"classifies whole images": [key for key in shapes_of(name) if key.startswith(last)]}
    if name == "mmdet_caffe_fpn_3x":
        head = "roi_head.stages.0.box_head."
        assert fresh == {f"{head}{layer}.{p}" for layer in ("logits", "deltas") for p in ("weight", "bias")}
        assert sorted(report["dropped"]["of other classes"]) == [
            f"roi_head.bbox_head.{layer}.{p}" for layer in ("fc_cls", "fc_reg") for p in ("bias", "weight")
        ]
    else:
        dropped = dict(report["dropped"])
        assert dropped.pop("state of the optimizer", None) in (None, ["@LR_DECAY_COUNTER@"])
        assert dropped == {reason: keys for reason, keys in whole_images.items() if keys}
        assert sum(report["fresh"].values()) == len(fresh)


def test_old_files_count_no_batches() -> None:
    given = {key: shape for key, shape in shapes_of("caffe_resnet50").items() if "num_batches" not in key}
    fresh, report = converted("mmdet_faster_rcnn_r50_fpn_1x", given | {"conv1.bias": (64,)}, "torchvision_resnet")
    assert {key for key in fresh if key.startswith("backbone.")} == {
        key for key in fresh if key.endswith("num_batches_tracked")
    }
    assert ["conv1.bias"] in report["dropped"].values()


@pytest.mark.parametrize(
    ("missing", "stranger", "message"),
    [
        ("layer3.2.bn1.running_var", None, r"lacks model keys: backbone\.layer3\.2\.conv1\.norm\.running_var"),
        ("layer4.0.downsample.0.weight", None, "lacks model keys: .*layer4|shared"),
        (None, "se.fc.weight", "no rule for checkpoint keys: se"),
        (None, "layer5.0.conv1.weight", "the model has no place for: layer5"),
    ],
)
@pytest.mark.parametrize("kind", ["fpn", "caffe_c4"])
def test_a_file_of_another_network_is_refused(
    kind: str, missing: str | None, stranger: str | None, message: str
) -> None:
    given = dict(shapes_of("torchvision_resnet50"))
    if missing is not None:
        del given[missing]
    if stranger is not None:
        given[stranger] = (1,)
    with pytest.raises(ConversionError, match=message):
        converted(f"mmdet_faster_rcnn_r50_{kind}_1x", given, "torchvision_resnet")


@torch.inference_mode()
def test_the_backbone_computes_what_the_classifier_did() -> None:
    torch.manual_seed(0)
    network = resnet.resnet50().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    detector = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x"), class_names(2)).eval()
    expected = {key: tuple(tensor.shape) for key, tensor in detector.state_dict().items()}
    placed, _ = convert(network.state_dict(), key_map("torchvision_resnet"), expected)
    detector.load_state_dict(placed, strict=False)
    images = torch.randn(1, 3, 64, 96)
    x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
    for stage, ours in zip(
        (network.layer1, network.layer2, network.layer3, network.layer4), detector.backbone(images), strict=True
    ):
        x = stage(x)
        torch.testing.assert_close(ours, x)


def test_the_second_name_serves_where_the_model_has_none_of_the_first() -> None:
    rules = (Rename("{p}", "a.{p}", "b.{p}"), Drop("x", "reason"), Fresh("c.{*p}", "new"))
    tensors: dict[str, Tensor] = {"w": torch.zeros(2)}
    assert set(convert(tensors, rules, {"a.w": (2,)})[0]) == {"a.w"}
    placed, report = convert(tensors, rules, {"b.w": (2,), "c.d.e": (1,)})
    assert set(placed) == {"b.w"}
    assert report.to_json() == {"loaded": 1, "dropped": {}, "fresh": {"new": 1}}
    with pytest.raises(ConversionError, match=r"lacks model keys: b\.w"):
        convert(tensors, rules, {"a.w": (2,), "b.w": (2,)})


def test_a_faulty_file_of_conf_is_named() -> None:
    with pytest.raises(UsageError, match="initial: missing format"):
        Checkpoint.from_mapping({"urls": ["https://example.org/w.pth"], "keymap": "torchvision_resnet"}, "initial")


def test_what_a_publisher_filled_with_nan_is_left_out(tmp_path: Path) -> None:
    weights = {"features.0.weight": torch.ones(2, 3), "classifier.0.bias": torch.full((4,), torch.nan)}
    torch.save(weights, tmp_path / "features.pth")
    with pytest.raises(CheckpointError, match="4 values are NaN or infinite"):
        read_contents(tmp_path / "features.pth", "pth")
    contents = read_contents(tmp_path / "features.pth", initial("torchvision_vgg16_features").format)
    assert list(contents.tensors) == ["features.0.weight"]
    assert contents.dropped == {"filled with NaN by its publisher": ["classifier.0.bias"]}
