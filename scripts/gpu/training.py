"""Training: killed and resumed, over NCCL, and its memory."""

from __future__ import annotations

import copy
import csv
import math
import os
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import torch

from gpu.evaluation import bench, last_words
from gpu.images import picture, use_tests_and_benchmarks, write_coco
from gpu.lines import Line, Session, check, figure, skipped

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models.detectors.base import Detector
    from zoo.types import Sample, Target

ENTRY = "shapes_faster_rcnn_r10_fpn"
STEPS, CHECKPOINT_EVERY = 30, 10
TRAINING_IMAGES = 64

RESUMED_STEP = 1e-5
"""Relative: how far the losses of the first resumed step may be off, which has the very weights and images."""

RESUMED_REST = 0.2
"""Relative: the whole loss of the steps after it. Gradients of RoIAlign add up in any order on a GPU, and the samplers
may then draw other regions."""

GRADIENTS = 1e-3
"""Relative: gradients of a model in one process, and of the same over a process group of one."""

MEMORY_ROWS = (
    "mmdet_faster_rcnn_r50_fpn_1x",
    "mmdet_faster_rcnn_r101_fpn_1x",
    "mmdet_faster_rcnn_x101_64x4d_fpn_1x",
    "mmdet_faster_rcnn_r50_fpn_amp_1x",
    "mmdet_mask_rcnn_r50_fpg_crop640_50e",
    "mmdet_retinanet_r50_fpg_crop640_50e",
)
"""Rows with a published training memory, a kind each."""

ORDINARY_STEPS = 4
"""Steps before the worst batch: they are for comparison alone, and of the larger rows take a second each."""

MEMORY_ALARM = 0.15
"""How far a row's ratio to the published memory may be from the median ratio of all."""


def training(session: Session) -> Iterator[Line]:
    """30 steps in float32 and in half precision, each killed in its last step and resumed by another process."""
    from zoo.data.shapes.dataset import draw

    data = session.folder / "train"
    draw("val", TRAINING_IMAGES, data)
    for precision in ("fp32", session.half):
        yield from _resumed(session, data, precision)


def _resumed(session: Session, data: Path, precision: str) -> Iterator[Line]:
    same = ["data.train.annotations=annotations/instances_val.json", "data.train.images=val", f"data.root={data}"]
    often = [f"run.max_steps={STEPS}", f"run.checkpoint_every={CHECKPOINT_EVERY}", f"precision={precision}"]
    rest = ["measure=[complexity]", "workers=0", f"results.dir={session.folder / 'trained'}"]
    whole, killed = session.folder / f"{precision}_whole", session.folder / f"{precision}_killed"
    command = [f"entry={ENTRY}", "run=train", *same, *often, *rest]
    done = bench(session, *command, f"hydra.run.dir={whole}")
    if done.returncode:
        yield check(f"{precision}: {STEPS} steps", False, "exit status 0", last_words(done))
        return
    shutil.copytree(whole, killed)  # in the last step: its line is written, its checkpoint is not
    for name in ("weights.pth", "record.json", f"checkpoints/step_{STEPS:09}.pt"):
        (killed / name).unlink()
    done = bench(session, *command, f"hydra.run.dir={killed}", "run.resume=true")
    if done.returncode:
        yield check(f"{precision}: resumed", False, "exit status 0", last_words(done))
        return
    first, second = _rows(whole), _rows(killed)
    finite = all(math.isfinite(value) for row in first for value in row.values())
    ends = f"loss {first[0]['loss']:.3f} at first, {first[-1]['loss']:.3f} at last"
    yield check(f"{precision}: losses", finite and len(first) == STEPS, f"{STEPS} steps, all finite", ends)
    yield from _compare(session, precision, first, second)


def _compare(
    session: Session, precision: str, whole: list[dict[str, float]], resumed: list[dict[str, float]]
) -> Iterator[Line]:
    start = STEPS - CHECKPOINT_EVERY
    kept = whole[:start] == resumed[:start] and len(whole) == len(resumed)
    yield check(f"{precision}: steps before the checkpoint", kept, "equal to the last digit")
    if not session.on_gpu:
        yield check(f"{precision}: resumed steps", whole == resumed, "equal to the last digit")
        return
    pairs = list(zip(whole[start:], resumed[start:], strict=False))
    first = max(_apart(*(row[name] for row in pairs[0])) for name in pairs[0][0])
    yield figure(f"{precision}: first resumed step, relative", first, at_most=RESUMED_STEP)
    rest = max(_apart(one["loss"], other["loss"]) for one, other in pairs)
    equal = "equal to the last digit" if whole == resumed else ""
    yield figure(f"{precision}: whole loss of all resumed steps, relative", rest, at_most=RESUMED_REST, note=equal)


def _rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _apart(one: float, other: float) -> float:
    return abs(one - other) / max(abs(one), 1e-12) if one != other else 0.0


def distributed(session: Session) -> Iterator[Line]:
    """A step over a process group of one process: NCCL on a GPU, Gloo on a CPU."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    import zoo

    detector = zoo.build(ENTRY).to(session.device).train()
    samples, targets = _training_batch(detector)
    losses, gradients = _gradients(detector, detector, samples, targets)
    for library in ("GLOO", "NCCL"):  # one process needs no network, and a machine without one may not know its name
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    if session.on_gpu:
        torch.cuda.set_device(0)
    backend = "cpu:gloo,cuda:nccl" if session.on_gpu else "gloo"
    dist.init_process_group(backend, init_method=f"file://{session.folder}/processes", rank=0, world_size=1)
    try:
        twin = copy.deepcopy(detector)
        wrapped = DistributedDataParallel(twin, device_ids=[0] if session.on_gpu else None)
        found, reduced = _gradients(wrapped, twin, samples, targets)
        gathered = [torch.zeros(2, dtype=torch.float64, device=session.device)]
        dist.all_gather(gathered, torch.arange(2, dtype=torch.float64, device=session.device))
    finally:
        dist.destroy_process_group()
    version = f"NCCL {torch.cuda.nccl.version()}" if session.on_gpu else "Gloo"  # type: ignore[no-untyped-call]
    yield figure("loss, relative", _apart(losses, found), at_most=RESUMED_STEP, note=version)
    scale = max(float(gradient.abs().max()) for gradient in gradients.values())
    worst = max(float((gradients[name] - reduced[name]).abs().max()) for name in gradients) / scale
    yield figure("gradients, relative to the largest", worst, at_most=GRADIENTS)
    yield check("numbers of the steps gathered", gathered[0].tolist() == [0, 1], "the numbers that were sent")


def _training_batch(detector: Detector) -> tuple[list[Sample], list[Target]]:
    from zoo.types import Target

    samples = [detector.transform(picture(160, 224, seed=i, cell=16), i) for i in range(2)]
    boxes = torch.tensor([[8.0, 8.0, 72.0, 88.0], [90.0, 40.0, 190.0, 130.0]])
    return samples, [Target(boxes, torch.tensor([0, 3])) for _ in samples]


def _gradients(
    model: torch.nn.Module, detector: Detector, samples: list[Sample], targets: list[Target]
) -> tuple[float, dict[str, Tensor]]:
    """The whole loss of a batch, and the gradients of the detector inside the model."""
    from zoo.runtime.seeding import seed_everything

    seed_everything(0)
    detector.zero_grad(set_to_none=True)
    loss = torch.stack(list(model(samples, targets).values())).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach()), {n: p.grad.clone() for n, p in detector.named_parameters() if p.grad is not None}


class Memory(NamedTuple):
    """GB of a row's training: of the worst batch, at most of ordinary steps, and as published."""

    measured: float
    ordinary: float
    published: float


def memory(session: Session) -> Iterator[Line]:
    """Training memory of some rows, measured as `measure=train_memory` does, against what was published.

    The published figure is a whole training's peak; ours is that of the worst batch the recipe makes.
    """
    if not session.on_gpu:
        yield skipped("training memory", "needs a CUDA device", "ratios to the published memory")
        return
    use_tests_and_benchmarks()
    from class_names import class_names

    from zoo.config.compose import compose

    data = write_coco(session.folder / "coco", 16, compose(MEMORY_ROWS[0])["data"]["classes"] or class_names(80))
    found = {entry: _memory_of(session, entry, data) for entry in MEMORY_ROWS}
    median = statistics.median(one.measured / one.published for one in found.values())
    yield figure("median of measured / published", median)
    for entry, one in found.items():
        ratio = one.measured / one.published
        alarm = "" if abs(ratio / median - 1) <= MEMORY_ALARM else f"; over {MEMORY_ALARM:.0%} from the median: DRIFT"
        note = f"{one.measured:.2f} GB for {one.published} GB; ordinary steps at most {one.ordinary:.2f} GB{alarm}"
        yield figure(f"{entry}: measured / published", ratio, at_most=1.0, note=note)


def _memory_of(session: Session, entry: str, data: Path) -> Memory:
    """What a row's training takes."""
    from subjects import make_subject

    from zoo.catalog.entry import read_entry
    from zoo.measure import train_memory

    # The weights are drawn: at the recipe's rate they diverge, and memory does not depend on it.
    subject = make_subject(entry, data, session.folder, ["schedule.optimizer.lr=1e-9"], workers=2)
    subject.detector.to(session.device)
    with mock.patch.object(train_memory, "STEPS", ORDINARY_STEPS):
        values: Any = train_memory.MEASUREMENT.run(subject)
    print(entry, values["train_memory"], file=sys.stderr)
    ordinary = train_memory.published_gigabytes(values["train_memory"]["ordinary"]["peak_allocated_bytes"])
    return Memory(values["train_memory_gb"], ordinary, read_entry(entry).cells("train_memory_gb")[0].value)
