"""Training losses and gradients agree with mmdetection on a batch of two real images of different sizes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from parity import SHARED, needs_coco, needs_shared, weights
from torch import Tensor

from zoo.compose import build_model, compose, load_weights
from zoo.models.boxes import clip, pairwise_iou
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import AllSampler
from zoo.types import Sample, Target

pytestmark = [pytest.mark.slow, needs_shared, needs_coco]

CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
COCO = SHARED / "coco"
IMAGES = (520707, 349184)
PADDED_SIZES = [(800, 1088), (1216, 800)]
LOSSES = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox")

Answers = dict[str, npt.NDArray[np.float32]]


@dataclass(slots=True)
class Step:
    """One training step: what went through the network, and what came out of it.

    Attributes:
        keys: parameter name -> the key of the checkpoint it was loaded from.
        own_proposals: (P, 4) an image, of the model's own first stage; the second got those of the golden answers.
    """

    model: TwoStageDetector
    keys: dict[str, str]
    targets: list[Target]
    losses: dict[str, Tensor]
    features: list[Tensor]
    objectness: list[Tensor]
    anchor_deltas: list[Tensor]
    own_proposals: list[Tensor]


def answers(loss: str) -> Answers:
    """The golden answers of the entry with this box loss in its second stage."""
    name = CASE if loss == "l1" else CASE.replace("_1x_", f"_{loss}_1x_")
    path = SHARED / "parity" / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no golden answers for {loss}")
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files if key.startswith(("loss/", "grad/"))}


def golden_proposals(golden: Answers) -> list[Tensor]:
    return [torch.from_numpy(golden[f"loss/train_proposals_{i}"]) for i in range(len(IMAGES))]


@pytest.fixture(scope="module")
def step() -> Step:
    """A step with the weights of the case, trained on everything that is assigned."""
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x"), num_classes=80)
    tensors = weights(CASE)
    load_weights(model, tensors, "mmdet")
    assert isinstance(model, TwoStageDetector)
    place = {tensor.data_ptr(): key for key, tensor in tensors.items()}  # loading does not copy
    model.rpn_head.sampler = model.roi_head.sampler = AllSampler()
    samples = [model.transform(COCO / "val2017" / f"{i:012d}.jpg", i) for i in IMAGES]
    targets = read_targets(samples)
    seen: dict[str, Any] = {}
    propose = model.rpn_head.propose

    def watch(_module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        seen.update(features=inputs[0], objectness=outputs[0], anchor_deltas=outputs[1])

    def propose_golden(*arguments: Any) -> list[tuple[Tensor, Tensor]]:
        seen.update(own_proposals=[boxes for boxes, _ in propose(*arguments)])
        return [(boxes, boxes[:, 0]) for boxes in golden_proposals(answers("l1"))]

    with pytest.MonkeyPatch.context() as patch, model.rpn_head.register_forward_hook(watch):
        patch.setattr(model.rpn_head, "propose", propose_golden)
        losses = model.train()(samples, targets)
    keys = {name: place[parameter.data_ptr()] for name, parameter in model.named_parameters()}
    return Step(model=model, keys=keys, targets=targets, losses=losses, **seen)


def read_targets(samples: list[Sample]) -> list[Target]:
    """The annotations of samples, crowds left out, in pixels of the resized images."""
    content = json.loads((COCO / "annotations" / "instances_val2017.json").read_text(encoding="utf-8"))
    labels = {category: i for i, category in enumerate(sorted(category["id"] for category in content["categories"]))}
    targets = []
    for sample in samples:
        objects = [x for x in content["annotations"] if x["image_id"] == sample.image_id and not x["iscrowd"]]
        given = torch.tensor([x["bbox"] for x in objects])  # x, y, width, height
        boxes = torch.cat((given[:, :2], given[:, :2] + given[:, 2:]), dim=1) * torch.tensor(sample.scale).repeat(2)
        height, width = sample.pixels.shape[:2]
        targets.append(Target(clip(boxes, (height, width)), torch.tensor([labels[x["category_id"]] for x in objects])))
    return targets


def assert_close(name: str, got: Tensor, expected: npt.NDArray[np.float32], tolerance: float) -> None:
    """Equal to a relative tolerance."""
    values = got.detach().double().numpy()
    worst = float((np.abs(values - expected) / np.abs(expected)).max())
    assert worst <= tolerance, f"{name}: off by {worst:.2g}, relative"


def assert_gradients(parameters: dict[str, Tensor], gradients: list[Tensor], golden: Answers) -> None:
    """Norms, taken in float64, of gradients by checkpoint key."""
    for key, gradient in zip(parameters, gradients, strict=True):
        assert_close(key, gradient.double().norm(), golden[f"grad/{key}"], 1e-3)


def with_answers(step: Step, golden: Answers, prefix: str = "") -> dict[str, Tensor]:
    """The parameters of the model whose gradient is known, by checkpoint key."""
    named = {step.keys[name]: p for name, p in step.model.named_parameters() if name.startswith(prefix)}
    return {key: p for key, p in named.items() if f"grad/{key}" in golden}


def test_targets_are_those_of_the_original(step: Step) -> None:
    golden = answers("l1")
    for i, target in enumerate(step.targets):
        assert np.abs(target.boxes.numpy() - golden[f"loss/gt_boxes_{i}"]).max() < 1e-3
        assert target.labels.tolist() == golden[f"loss/gt_labels_{i}"].tolist()


def test_training_proposals(step: Step) -> None:
    for own, expected in zip(step.own_proposals, golden_proposals(answers("l1")), strict=True):
        assert len(own) == len(expected)
        assert float((pairwise_iou(expected, own).amax(dim=1) > 0.99).float().mean()) > 0.99


def test_losses(step: Step) -> None:
    golden = answers("l1")
    assert tuple(step.losses) == LOSSES
    for name in LOSSES:
        assert_close(name, step.losses[name], golden[f"loss/{name}"], 1e-4)
    assert_close("total", torch.stack(list(step.losses.values())).sum(), golden["loss/total"], 1e-4)


def test_each_level_has_its_share(step: Step) -> None:
    golden = answers("l1")
    shares = step.model.rpn_head.level_losses(step.objectness, step.anchor_deltas, step.targets, PADDED_SIZES)
    for name, share in zip(LOSSES, shares, strict=False):
        assert_close(name, share, golden[f"loss/{name}_levels"], 1e-4)


def test_numbers_of_positives_and_negatives(step: Step) -> None:
    golden = answers("l1")
    rpn, roi = step.model.rpn_head, step.model.roi_head
    cells = [(x.shape[2], x.shape[3]) for x in step.objectness]
    labels = rpn.assign(rpn.anchors.grid(cells, torch.device("cpu")), cells, step.targets, PADDED_SIZES).labels
    anchors = [[int((row == 1).sum()), int((row == 0).sum())] for row in labels]
    assert anchors == golden["loss/rpn_pos_neg"].tolist()
    chosen = [roi.assign(*image).labels for image in zip(golden_proposals(golden), step.targets, strict=True)]
    regions = [[int((row < 80).sum()), int((row == 80).sum())] for row in chosen]
    assert regions == golden["loss/rcnn_pos_neg"].tolist()


def test_gradients(step: Step) -> None:
    golden = answers("l1")
    parameters = with_answers(step, golden)
    assert len(parameters) == 11
    total = torch.stack(list(step.losses.values())).sum()
    assert_gradients(parameters, list(torch.autograd.grad(total, list(parameters.values()))), golden)


@pytest.mark.parametrize("loss", ["iou", "giou", "bounded_iou"])
def test_box_losses_on_decoded_boxes(step: Step, loss: str) -> None:
    # Only the box loss of the second stage differs: the features are those of the step, whose losses are taken.
    golden = answers(loss)
    head = step.model.roi_head
    features = [feature.detach() for feature in step.features]
    head.box_loss = composed_box_loss(loss)
    losses = head.losses(features, golden_proposals(golden), step.targets)
    for name, value in losses.items():
        assert_close(name, value, golden[f"loss/{name}"], 1e-4)
    parameters = with_answers(step, golden, "roi_head.")
    assert len(parameters) == 3
    total = torch.stack(list(losses.values())).sum()
    assert_gradients(parameters, list(torch.autograd.grad(total, list(parameters.values()))), golden)


def composed_box_loss(loss: str) -> BoxLoss:
    """The box loss of the entry composed with another `loss`."""
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_fpn_1x", [f"loss={loss}"]), num_classes=80)
    assert isinstance(model, TwoStageDetector)
    return model.roi_head.box_loss
