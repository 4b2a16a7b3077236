"""What a training step asks of a GPU between its convolutions: kernels, and waits of the host for their results."""

from __future__ import annotations

import copy

import pytest
import torch
from device_work import DeviceWork, counted
from geometries import batch_of, geometry
from small_heads import make_roi_head, make_rpn
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.measure.memory import HostPeak
from zoo.models.anchors import CentredAnchors
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.boxes import EXCLUSIVE, BoxConvention
from zoo.models.coders import DeltaCoder
from zoo.models.heads.anchor_head import AnchorOutputs, AnchorRows
from zoo.models.heads.anchor_targets import AnchorTargets
from zoo.models.heads.retina import RetinaHead
from zoo.models.heads.roi_targets import RoiTargets
from zoo.models.layers.conv import ConstantNorm, ConvNorm
from zoo.models.losses.classification import FocalLoss
from zoo.models.losses.regression import L1Loss
from zoo.models.samplers import AllSampler, RandomSampler, Sampler
from zoo.models.selection import DetectionSelector
from zoo.types import FeatureSpec, Target

SIZE = 64
GEOMETRIES = [geometry((SIZE, SIZE)), geometry((SIZE, SIZE))]
SPECS = [FeatureSpec(4, stride) for stride in (4, 8, 16)]


BOXES = torch.tensor([[4.0, 4, 20, 20], [30, 30, 62, 62], [8, 30, 16, 46]])
TARGETS = [Target(BOXES, torch.tensor([0, 1, 1])), Target(BOXES[:2], torch.tensor([1, 0]))]


def maps(per_cell: int, levels: int) -> list[Tensor]:
    cells = [SIZE // spec.stride for spec in SPECS[:levels]]
    return [torch.zeros(2, per_cell, side, side, requires_grad=True) for side in cells]


def rpn_work(levels: int, sampler: Sampler) -> DeviceWork:
    rpn = make_rpn(SPECS[:levels], CentredAnchors(ratios=[0.5, 1.0, 2.0], scales=[4]))
    rpn.sampler = sampler
    outputs = AnchorOutputs(maps(3, levels), maps(12, levels))
    rpn.losses(outputs, TARGETS, GEOMETRIES)  # the first step makes the anchors
    with counted() as work:
        rpn.losses(outputs, TARGETS, GEOMETRIES)
    return work


@pytest.mark.parametrize("sampler", [RandomSampler(64, 0.5), AllSampler()])
def test_the_first_stage_waits_twice_for_a_batch_whatever_its_levels(sampler: Sampler) -> None:
    one, three = (rpn_work(levels, sampler) for levels in (1, 3))
    assert (one.waits, three.waits) == (2, 2), three.waited
    assert three.copies == 0
    assert three.ops - one.ops == 2 * 2, "a level is nothing but a copy of its logits and one of its deltas"
    assert three.ops <= 130, three.kernels.most_common()


def test_proposals_and_losses_read_the_same_rows() -> None:
    """Logits and deltas are brought into the order of anchors once, and come out of it with the same bits."""
    rpn = make_rpn(SPECS, CentredAnchors(ratios=[0.5, 1.0, 2.0], scales=[4]))
    rpn.sampler = AllSampler()
    generator = torch.Generator().manual_seed(0)
    outputs = AnchorOutputs(maps(3, 3), maps(12, 3))
    for x in (*outputs.logits, *outputs.deltas):
        x.data.normal_(generator=generator)

    def step(rows: AnchorRows | None) -> tuple[list[Tensor], list[Tensor], int]:
        with counted() as work:
            rows = rows and outputs.rows()
            proposals = rpn.propose(outputs, GEOMETRIES, rows)
            losses = rpn.losses(outputs, TARGETS, GEOMETRIES, rows)
        gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), (*outputs.logits, *outputs.deltas))
        return [x for image in proposals for x in image] + list(losses.values()), list(gradients), work.ops

    step(None)  # makes the anchors
    (apart, of_apart, many), (shared, of_shared, few) = step(None), step(outputs.rows())
    assert all(map(torch.equal, shared + of_shared, apart + of_apart))
    assert many - few == 2 * (3 + 1) - 1, (
        "three levels and all together, twice; but logits are copied for their sigmoids"
    )


def test_the_second_stage_waits_twice_for_a_batch() -> None:
    head = make_roi_head()
    stage = head.last_stage
    stage.sampler = RandomSampler(32, 0.25)
    proposals = [torch.rand(50, 4).cumsum(dim=1) * 20 for _ in range(2)]
    with counted() as work:
        sampled = stage.assign(proposals, TARGETS, GEOMETRIES)
        count = sum(len(image.regions) for image in sampled)
        logits, deltas = torch.zeros(count, 3, requires_grad=True), torch.zeros(count, 8, requires_grad=True)
        stage.losses(logits, deltas, sampled)
    assert work.waits == 2, work.waited
    assert work.ops <= 125, work.kernels.most_common()


def test_a_single_stage_waits_twice_for_a_batch() -> None:
    head = RetinaHead(
        *(SPECS, 2, CentredAnchors(ratios=[1.0], scales=[4]), DeltaCoder()),
        DetectionSelector(score_threshold=0.05, iou_threshold=0.5, max_detections=100),
        MaxIoUAssigner(0.5, 0.4, 0.0),
        AllSampler(),
        FocalLoss(),
        L1Loss(),
        "positives",
        channels=4,
        depth=1,
    )
    outputs, batch = AnchorOutputs(maps(2, 3), maps(4, 3)), batch_of(*GEOMETRIES)
    head.losses(outputs, TARGETS, batch)
    with counted() as work:
        head.losses(outputs, TARGETS, batch)
    assert (work.waits, work.copies) == (2, 0), work.waited


@pytest.mark.parametrize("inclusive", [False, True])
def test_on_a_pretended_gpu_matching_and_losses_wait_for_nothing_and_mix_no_devices(inclusive: bool) -> None:
    """FakeTensorMode refuses both: a value that the host asks for, and tensors of two devices in one operation."""
    with FakeTensorMode(), torch.device("cuda"):
        assigner = MaxIoUAssigner(0.7, 0.3, 0.3, convention=BoxConvention(inclusive), skip_pixels=inclusive)
        for count in (0, 7):
            matches = assigner(torch.rand(100, 4), torch.rand(count, 4))
            assert {tensor.device.type for tensor in matches} == {"cuda"}
        rpn = make_rpn(SPECS, CentredAnchors(ratios=[0.5, 1.0, 2.0], scales=[4]))
        places = torch.zeros(5, dtype=torch.int64)
        assigned = AnchorTargets(places, places, places, places, torch.rand(5, 4), ([2, 3], [1, 4]))
        losses = rpn.assigned_losses(AnchorOutputs(maps(3, 3), maps(12, 3)), assigned)
        assert {loss.device.type for loss in losses} == {"cuda"}
        image = RoiTargets(
            torch.rand(8, 4), torch.zeros(8).long(), torch.rand(8), places[:3], torch.rand(3, 4), torch.rand(3, 4)
        )
        stage_losses = make_roi_head().last_stage.losses(torch.zeros(16, 3), torch.zeros(16, 8), [image, image])
        assert {loss.device.type for loss in stage_losses.values()} == {"cuda"}
        part = ConvNorm(3, 5, 3).eval()
        part.norm.requires_grad_(False)
        assert part(torch.rand(1, 3, 8, 8)).device.type == "cuda"


def test_overlaps_of_many_boxes_take_little_more_than_their_coordinates() -> None:
    boxes, others = torch.rand(50, 4), torch.rand(20_000, 4)
    peak = HostPeak()
    with peak:
        overlaps = EXCLUSIVE.iou(boxes, others)
    assert peak.peak_bytes <= 4.2 * overlaps.nbytes


@pytest.mark.parametrize("constant", [False, True])
def test_a_frozen_normalisation_is_folded_into_its_convolution_and_keeps_no_map(constant: bool) -> None:
    torch.manual_seed(0)
    part = ConvNorm(3, 5, 3, activation=nn.ReLU(inplace=True)).eval()
    norm = part.norm
    assert isinstance(norm, nn.BatchNorm2d)
    for value in (*norm.parameters(), norm.running_mean, norm.running_var):
        assert value is not None
        nn.init.uniform_(value, 0.5, 1.5)
    norm.requires_grad_(False)
    if constant:
        part.norm = ConstantNorm(norm)
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    for _ in range(2):
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            folded = part.activation(part.frozen(images))
        plain = part.activation(part.norm(part.conv(images)))
        torch.testing.assert_close(folded, plain, rtol=1e-5, atol=1e-5)
        wanted = torch.autograd.grad(plain.square().sum(), (images, part.conv.weight))
        found = torch.autograd.grad(folded.square().sum(), (images, part.conv.weight))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        assert sum(kept.values()) < images.nbytes + folded.nbytes + 4096, "the input, the answer and weights"
        part.load_state_dict({name: value + 0.25 for name, value in part.state_dict().items()})  # other values are seen


def test_only_what_is_frozen_is_folded() -> None:
    part = ConvNorm(3, 5, 3).eval()
    assert not part._is_frozen()
    part.norm.requires_grad_(False)
    assert part._is_frozen()
    assert not part.train()._is_frozen()
    part.eval().fold()
    assert not part._is_frozen()


def test_a_constant_normalisation_is_computed_once_for_as_long_as_its_values_stay() -> None:
    """In inference, then in training; values that are loaded, or lie elsewhere, are seen."""
    norm = nn.BatchNorm2d(3).eval()
    for value in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert value is not None
        nn.init.uniform_(value, 0.5, 1.5)
    constant, x = ConstantNorm(norm), torch.randn(2, 3, 4, 5)

    def plain(x: Tensor = x) -> Tensor:
        assert constant.running_mean is not None
        assert constant.running_var is not None
        factor = constant.weight * (constant.running_var + constant.eps).rsqrt()
        shift = constant.bias - constant.running_mean * factor
        return x * factor[:, None, None] + shift[:, None, None]

    for ops in (7, 2):
        with torch.inference_mode(), counted() as work:
            found = constant(x.clone())
        assert work.ops - work.kernels["aten::clone"] == ops, work
        assert torch.equal(found, plain())
    images = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(plain(images).sum(), images)
    assert torch.equal(torch.autograd.grad(constant(images * 1).sum(), images)[0], wanted)
    for change in (
        lambda: constant.load_state_dict({name: value + 1 for name, value in norm.state_dict().items()}),
        lambda: constant.to(torch.float16).to(torch.float32),
        lambda: constant.load_state_dict({n: v.clone() + 2 for n, v in norm.state_dict().items()}, assign=True),
    ):
        change()
        with torch.inference_mode():
            assert torch.equal(constant(x.clone()), plain())
            assert torch.equal(copy.deepcopy(constant)(x.clone()), plain())
    assert set(constant.state_dict()) == set(norm.state_dict())
