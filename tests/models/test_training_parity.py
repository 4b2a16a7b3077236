"""Training losses and gradients agree with mmdetection on a batch of two real images of different sizes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from class_names import class_names
from mmdet_cases import ARCHITECTURES, load
from parity import SHARED, golden, needs_coco, needs_shared, weights
from torch import Tensor

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.data.augment import mmdet
from zoo.data.augment.source import LabeledImages
from zoo.data.coco import CocoGroundTruth
from zoo.models.boxes import EXCLUSIVE
from zoo.models.detectors.base import Detector
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.anchor_head import AnchorHead, AnchorOutputs
from zoo.models.heads.anchor_targets import AnchorTargets
from zoo.models.layers.conv import norms
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import AllSampler
from zoo.models.selection import Proposals
from zoo.types import Batch, Target

pytestmark = [pytest.mark.long, needs_shared, needs_coco]

FASTER_RCNN = "faster_rcnn_r50_fpn_1x_coco"
RETINANET = "retinanet_r50_fpg_crop640_50e_coco"
C4 = "faster_rcnn_r50_caffe_c4_1x_coco"
GRADIENTS = {
    FASTER_RCNN: 11,
    C4: 8,
    "mask_rcnn_r50_fpg_crop640_50e_coco": 15,
    RETINANET: 11,
}
"""Case -> how many of its parameters have a known gradient."""
QUICK_GRADIENTS = {RETINANET}
GRADIENT_CASES = [
    pytest.param(case, marks=() if case in QUICK_GRADIENTS else pytest.mark.nightly) for case in GRADIENTS
]
DEAR = {C4, "mask_rcnn_r50_fpg_crop640_50e_coco"}
"""Of C4 every region costs a stage, of FPG every map; its masks are trained on in torchvision's rows as well."""
CASES = [pytest.param(case, marks=pytest.mark.nightly if case in DEAR else ()) for case in GRADIENTS]
IMAGES = (520707, 349184)

EXTRA = f"mmdet/extra/{RETINANET}__loss_bn_batch"
needs_extra = pytest.mark.skipif(not (SHARED / "parity" / f"{EXTRA}.npz").exists(), reason="no such parity case")

Answers = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class Step:
    """One training step on everything that is assigned: what went through the network, and what came out of it.

    Attributes:
        parameters: by the key of the checkpoint each was loaded from, those with a known gradient.
        features: that the heads got.
        outputs: what the head that slides over them said of the anchors.
        proposals: (P, 4) an image, of the model's own first stage; the second got those of the golden answers.
    """

    case: str
    model: Detector
    batch: Batch
    targets: list[Target]
    losses: dict[str, Tensor]
    parameters: dict[str, Tensor]
    features: list[Tensor]
    outputs: AnchorOutputs
    proposals: list[Tensor]

    @property
    def answers(self) -> Answers:
        return golden(f"mmdet/{self.case}", "loss")


@pytest.fixture(scope="module", params=CASES)
def step(request: pytest.FixtureRequest) -> Step:
    case: str = request.param
    model, answers = load(case), golden(f"mmdet/{case}", "loss")
    model.train()
    for norm in norms(model):
        norm.eval()
    samples = [model.transform(SHARED / "coco" / "val2017" / f"{i:012d}.jpg", i) for i in IMAGES]
    batch = model.prepare(samples)
    targets = read_targets(batch, masks=model.has_masks)
    seen: dict[str, Any] = {"proposals": []}

    def watch(_module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        seen.update(features=inputs[0], outputs=outputs)

    with pytest.MonkeyPatch.context() as patch, anchor_head(model).register_forward_hook(watch):
        if isinstance(model, TwoStageDetector):
            model.rpn_head.sampler = model.roi_head.last_stage.sampler = AllSampler()
            propose = model.rpn_head.propose

            def propose_golden(*arguments: Any) -> list[Proposals]:
                seen.update(proposals=[found.boxes for found in propose(*arguments)])
                return [Proposals(boxes, boxes[:, 0]) for boxes in golden_proposals(answers)]

            patch.setattr(model.rpn_head, "propose", propose_golden)
        losses = model(batch, targets)
    known = golden(f"mmdet/{case}", "grad")
    parameters = {key: p for key, p in by_checkpoint_key(model, case).items() if key in known}
    return Step(case, model, batch, targets, losses, parameters, **seen)


def anchor_head(model: Detector) -> AnchorHead:
    """The head that slides over the maps."""
    head = model.rpn_head if isinstance(model, TwoStageDetector) else model.get_submodule("dense_head")
    assert isinstance(head, AnchorHead)
    return head


def by_checkpoint_key(model: Detector, case: str) -> dict[str, Tensor]:
    """The parameters under the first key of the checkpoint that holds their values."""
    keys: dict[int, str] = {}
    for key, tensor in weights(f"mmdet/{case}").items():
        keys.setdefault(fingerprint(tensor), key)
    return {keys[fingerprint(parameter)]: parameter for parameter in model.parameters()}


def fingerprint(values: Tensor) -> int:
    """The same for equal weights; the drawn ones all differ, but for those of equal normalisations."""
    return hash((tuple(values.shape), values.detach().flatten()[:64].numpy().tobytes()))


def golden_proposals(answers: Answers) -> list[Tensor]:
    return [torch.from_numpy(answers[f"train_proposals_{i}"]) for i in range(len(IMAGES))]


def read_targets(batch: Batch, masks: bool) -> list[Target]:
    """What is trained on in each image, in pixels of the resized image."""
    truth = CocoGroundTruth.load(SHARED / "coco" / "annotations" / "instances_val2017.json")
    files = [SHARED / "coco" / "val2017" / name for name in truth.file_names]
    images = LabeledImages(truth, files, mmdet.LABELS)
    targets = []
    for image_id, geometry in zip(batch.image_ids, batch.geometries, strict=True):
        view = images.load(int(np.searchsorted(images.image_ids, image_id))).resize(geometry.size).clip()
        target = Target(torch.from_numpy(view.boxes), torch.from_numpy(view.labels))
        if masks:
            target.masks = torch.from_numpy(view.bitmaps())
        targets.append(target)
    return targets


def assert_close(name: str, got: Tensor, expected: npt.NDArray[Any], tolerance: float) -> None:
    """Equal to a relative tolerance."""
    values = got.detach().double().numpy()
    worst = float((np.abs(values - expected) / np.abs(expected)).max())
    assert worst <= tolerance, f"{name}: off by {worst:.2g}, relative"


def assert_gradients(total: Tensor, parameters: dict[str, Tensor], case: str) -> None:
    """Norms of the gradients, taken in float64: in float32 those of millions of values are off."""
    known = golden(f"mmdet/{case}", "grad")
    gradients = torch.autograd.grad(total, list(parameters.values()), retain_graph=True)
    for key, gradient in zip(parameters, gradients, strict=True):
        assert_close(key, gradient.double().norm(), known[key], 1e-3)


def test_targets_are_those_of_the_original(step: Step) -> None:
    for i, target in enumerate(step.targets):
        assert np.abs(target.boxes.numpy() - step.answers[f"gt_boxes_{i}"]).max() < 1e-3
        assert target.labels.tolist() == step.answers[f"gt_labels_{i}"].tolist()
        if target.masks is not None:
            assert target.masks.sum(dim=(1, 2)).tolist() == step.answers[f"gt_mask_area_{i}"].tolist()


def test_training_proposals(step: Step) -> None:
    # Of some cases the answers hold the best of each image only.
    for own, expected in zip(step.proposals, golden_proposals(step.answers) if step.proposals else [], strict=True):
        assert len(own) >= len(expected)
        overlaps = EXCLUSIVE.iou(expected, own[: len(expected)]).amax(dim=1)
        assert float((overlaps > 0.99).float().mean()) > 0.99


def test_losses(step: Step) -> None:
    expected = {name for name in step.answers if name.startswith("loss_") and not name.endswith("_levels")}
    assert step.losses.keys() == expected
    for name, value in step.losses.items():
        assert_close(name, value, step.answers[name], 1e-4)
    assert_close("total", torch.stack(list(step.losses.values())).sum(), step.answers["total"], 1e-4)


def test_each_level_has_its_share(step: Step) -> None:
    targets, names = step.targets, ("loss_cls", "loss_bbox")
    if isinstance(step.model, TwoStageDetector):  # any class is an object
        targets = [Target(target.boxes, torch.zeros_like(target.labels)) for target in targets]
        names = ("loss_rpn_cls", "loss_rpn_bbox")
    head, outputs = anchor_head(step.model), step.outputs
    assigned = head.assign(outputs.cells, targets, step.batch.geometries, outputs.device)
    ends = np.cumsum([0, *outputs.level_sizes]).tolist()
    shares = [
        head.assigned_losses(outputs, within(assigned, start, stop, ends[-1]))
        for start, stop in itertools.pairwise(ends)
    ]
    for name, share in zip(names, zip(*shares, strict=True), strict=True):
        assert_close(name, torch.stack(share), step.answers[f"{name}_levels"], 1e-4)


def within(assigned: AnchorTargets, start: int, stop: int, count: int) -> AnchorTargets:
    """What is assigned to the anchors from start to before stop of the `count` that each image has."""
    positive, negative = (
        (places % count >= start) & (places % count < stop) for places in (assigned.positive, assigned.negative)
    )
    return AnchorTargets(
        positive=assigned.positive[positive],
        negative=assigned.negative[negative],
        anchors=assigned.anchors[positive],
        labels=assigned.labels[positive],
        boxes=assigned.boxes[positive],
        counts=assigned.counts,
    )


def test_numbers_of_positives_and_negatives(step: Step) -> None:
    if not isinstance(step.model, TwoStageDetector):
        pytest.skip("a dense head trains on all anchors")
    rpn, stage = step.model.rpn_head, step.model.roi_head.last_stage
    assigned = rpn.assign(step.outputs.cells, step.targets, step.batch.geometries, torch.device("cpu"))
    assert torch.tensor(assigned.counts).t().tolist() == step.answers["rpn_pos_neg"].tolist()
    chosen = stage.assign(golden_proposals(step.answers), step.targets, step.batch.geometries)
    regions = [[int((image.labels < 80).sum()), int((image.labels == 80).sum())] for image in chosen]
    assert regions == step.answers["rcnn_pos_neg"].tolist()


@pytest.mark.parametrize("step", GRADIENT_CASES, indirect=True, scope="module")
def test_gradients(step: Step) -> None:
    # Convolutions that levels share are among them: their gradient is the sum over all levels.
    assert len(step.parameters) == GRADIENTS[step.case]
    assert_gradients(torch.stack(list(step.losses.values())).sum(), step.parameters, step.case)


@pytest.mark.parametrize("step", [FASTER_RCNN], indirect=True, scope="module")
@pytest.mark.parametrize("loss", ["iou", "giou", "bounded_iou"])
def test_box_losses_on_decoded_boxes(step: Step, loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the box loss of the second stage differs: the features are those of the step, whose losses are taken.
    case = FASTER_RCNN.replace("_1x_", f"_{loss}_1x_")
    if not (SHARED / "parity" / "mmdet" / f"{case}.npz").exists():
        pytest.skip(f"no golden answers for {loss}")
    answers = golden(f"mmdet/{case}", "loss")
    assert isinstance(step.model, TwoStageDetector)
    head = step.model.roi_head
    features = [feature.detach() for feature in step.features]
    head.last_stage.box_loss = composed_box_loss(loss)
    losses = head.losses(features, golden_proposals(answers), step.targets, step.batch.geometries)
    for name, value in losses.items():
        assert_close(name, value, answers[name], 1e-4)
    known = golden(f"mmdet/{case}", "grad")
    parameters = {key: p for key, p in step.parameters.items() if key.startswith("roi_head.") and key in known}
    assert len(parameters) == 3
    assert_gradients(torch.stack(list(losses.values())).sum(), parameters, case)


@pytest.fixture(scope="module")
def trained_batch() -> tuple[Detector, Batch, dict[str, Tensor]]:
    """RetinaNet on FPG in training mode on two images as its recipe pads them, and its BN statistics by their keys."""
    model = load(RETINANET).train()
    buffers = {fingerprint(values): values for values in model.buffers()}
    statistics = {key: buffers.get(fingerprint(values)) for key, values in weights(f"mmdet/{RETINANET}").items()}
    samples = [model.transform(SHARED / "coco" / "val2017" / f"{i:012d}.jpg", i) for i in (175364, 300039)]
    for sample in samples:  # neither is as high: (481, 640) and (479, 640)
        sample.batch_shape = (640, 640)
    known = golden(EXTRA, "bn_after")
    kept = {key: value for key, value in statistics.items() if value is not None and key in known and "running" in key}
    return model, model.prepare(samples), kept


@needs_extra
def test_a_batch_as_it_was_trained_on(trained_batch: tuple[Detector, Batch, dict[str, Tensor]]) -> None:
    """Batch statistics, and every image padded to the whole square, where anchors over the padding are background."""
    model, batch, statistics = trained_batch
    answers = golden(EXTRA, "loss")
    assert list(batch.images.shape) == answers["input_shape"].tolist()
    frozen = {key: values.clone() for key, values in statistics.items() if "bn1.running" in key and "layer" not in key}
    with torch.no_grad():
        losses = model(batch, read_targets(batch, masks=False))
    for name, value in losses.items():
        assert_close(name, value, answers[name], 1e-5)
    known = golden(EXTRA, "bn_after")
    assert len(statistics) == 18
    assert len(frozen) == 2
    for key, values in statistics.items():
        assert values.numpy() == pytest.approx(known[key], rel=1e-4, abs=1e-5), key
    assert all(torch.equal(statistics[key], values) for key, values in frozen.items())


@needs_extra
@pytest.mark.nightly
def test_gradients_of_a_batch_as_it_was_trained_on(trained_batch: tuple[Detector, Batch, dict[str, Tensor]]) -> None:
    model, batch, _ = trained_batch
    known = golden(EXTRA, "grad")
    parameters = {key: p for key, p in by_checkpoint_key(model, RETINANET).items() if key in known}
    assert len(parameters) == 11
    losses = model(batch, read_targets(batch, masks=False))
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), list(parameters.values()))
    for key, gradient in zip(parameters, gradients, strict=True):
        assert_close(key, gradient.double().norm(), known[key], 1e-3)


def composed_box_loss(loss: str) -> BoxLoss:
    """The box loss of the entry composed with another `loss`."""
    with torch.device("meta"):
        model = build_model(compose(ARCHITECTURES["faster_rcnn_r50_fpn_1x_coco"], [f"loss={loss}"]), class_names(80))
    assert isinstance(model, TwoStageDetector)
    return model.roi_head.last_stage.box_loss
