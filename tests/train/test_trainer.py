"""The training loop, on a detector of a few hundred weights."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
from tiny_training import CPU, TinyDetector, make_dataset, make_trainer, meeting_point, start, train
from torch import Tensor, nn

from zoo.data.loader import TrainLoader
from zoo.data.sampler import AspectRatioBatchSampler
from zoo.errors import UsageError, ZooError
from zoo.runtime.distributed import DistributedContext
from zoo.train.optimizers import make_optimizer
from zoo.train.rates import LRSchedule
from zoo.train.schedule import ParameterRule
from zoo.train.state import export_weights
from zoo.train.trainer import Trainer
from zoo.types import Batch, Target


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def metrics(folder: Path) -> bytes:
    return (folder / "metrics.csv").read_bytes()


def weights_of(detector: nn.Module) -> list[Tensor]:
    """Copies of all parameters."""
    return [parameter.detach().clone() for parameter in detector.parameters()]


def gradients_of(detector: nn.Module) -> list[Tensor]:
    """Copies of the gradients of all parameters."""
    return [parameter.grad.clone() for parameter in detector.parameters() if parameter.grad is not None]


def test_a_line_a_step(tiny_coco: Path, tmp_path: Path) -> None:
    trainer = train(tiny_coco, tmp_path, steps=8)
    lines = rows(tmp_path)
    assert list(lines[0]) == ["step", "epoch", "lr", "loss", "loss_cls", "loss_bbox"]
    assert [int(line["step"]) for line in lines] == list(range(8))
    assert [int(line["epoch"]) for line in lines] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [float(line["lr"]) for line in lines] == [trainer.lr_schedule(i) for i in range(8)]
    for line in lines:
        assert float(line["loss"]) == pytest.approx(float(line["loss_cls"]) + float(line["loss_bbox"]), rel=1e-6)


def test_training_learns(tiny_coco: Path, tmp_path: Path) -> None:
    train(tiny_coco, tmp_path, steps=40)
    losses = [float(line["loss"]) for line in rows(tmp_path)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_the_same_seed_gives_the_same_bits(tiny_coco: Path, tmp_path: Path) -> None:
    for name, seed, workers in (("a", 1, 0), ("b", 1, 2), ("c", 2, 0)):
        torch.manual_seed(seed * 17)  # what happened before does not matter
        train(tiny_coco, tmp_path / name, steps=6, seed=seed, workers=workers)
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b") != metrics(tmp_path / "c")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions_train(tiny_coco: Path, tmp_path: Path, precision: str) -> None:
    trainer = train(tiny_coco, tmp_path, steps=4, precision=precision)
    assert trainer.scaler.is_enabled() == (precision == "fp16")
    assert all(parameter.dtype == torch.float32 for parameter in trainer.detector.parameters())
    first = float(rows(tmp_path)[0]["loss"])
    train(tiny_coco, tmp_path / "fp32", steps=1)
    assert first == pytest.approx(float(rows(tmp_path / "fp32")[0]["loss"]), rel=0.02)


def test_a_fixed_loss_scale_stays(tiny_coco: Path, tmp_path: Path) -> None:
    trainer = train(tiny_coco, tmp_path / "fixed", steps=3, precision="fp16", loss_scale=512)
    assert trainer.scaler.get_scale() == 512
    following = train(tiny_coco, tmp_path / "following", steps=3, precision="fp16")
    assert following.scaler.get_scale() == 65536
    # Powers of two change no bit of a gradient that neither overflows nor vanishes.
    first, second = (float(rows(tmp_path / name)[2]["loss"]) for name in ("fixed", "following"))
    assert first == pytest.approx(second, rel=1e-3)


def test_a_step_whose_gradients_overflow_is_left_out(tiny_coco: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = TinyDetector().box.weight.detach().clone()
    trainer = train(tiny_coco, tmp_path, steps=1, precision="fp16", loss_scale=1e30)
    assert torch.equal(trainer.detector.state_dict()["box.weight"], before)
    assert trainer.scaler.get_scale() == pytest.approx(1e30)


def test_losses_are_read_once_a_step_between_the_backward_passes_and_the_optimizer(
    tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def noting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            seen.append(name)
            return call(*arguments)

        return noted

    for owner, name in ((torch.autograd, "backward"), (Trainer, "_refuse_diverged"), (torch.optim.SGD, "step")):
        monkeypatch.setattr(owner, name, noting(name, getattr(owner, name)))
    train(tiny_coco, tmp_path, steps=2, micro_batch_size=1)
    assert seen == ["backward", "backward", "_refuse_diverged", "step"] * 2


def test_cudnn_tries_its_algorithms_within_the_steps_of_a_recipe_that_says_so(
    tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    step = Trainer._train_step

    def noting(*arguments: Any) -> Any:
        seen.append(torch.backends.cudnn.benchmark)
        return step(*arguments)

    monkeypatch.setattr(Trainer, "_train_step", noting)
    for wanted in (False, True):
        schedule = dataclasses.replace(tiny_training.SCHEDULE, cudnn_benchmark=wanted)
        monkeypatch.setattr(tiny_training, "SCHEDULE", schedule)
        train(tiny_coco, tmp_path / str(wanted), steps=1, micro_batch_size=2)
        assert not torch.backends.cudnn.benchmark
    assert seen == [False, True]


def test_profiled_steps_leave_nothing_behind(tiny_coco: Path, tmp_path: Path) -> None:
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=2, seed=3)
    profiled, whole = (make_trainer(tmp_path / name, sampler, steps=3) for name in ("profiled", "whole"))
    profiled.profile_steps(TrainLoader(dataset, sampler))
    whole.run(TrainLoader(dataset, sampler))
    assert not (tmp_path / "profiled").exists()
    for name, tensor in whole.detector.state_dict().items():
        assert torch.equal(tensor, profiled.detector.state_dict()[name]), name


def test_micro_batches_add_up_to_the_mean_gradient(tiny_coco: Path, tmp_path: Path) -> None:
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=1, seed=0)
    trainer = make_trainer(tmp_path, sampler)
    trainer.detector.train()
    (micro_batches,) = TrainLoader(dataset, sampler)(0, 1)
    gradients, values = [], []
    for i, micro_batch in enumerate(micro_batches):
        trainer.detector.zero_grad()
        values.append(trainer._backward(micro_batch, i, 1)[1].tolist())
        gradients.append(gradients_of(trainer.detector))
    before = weights_of(trainer.detector)
    losses = trainer._train_step(micro_batches, 0.5)
    assert list(losses.values()) == [pytest.approx((first + second) / 2) for first, second in zip(*values, strict=True)]
    decay = tiny_training.OPTIMIZER.weight_decay
    for old, new, first, second in zip(before, trainer.detector.parameters(), *gradients, strict=True):
        torch.testing.assert_close(new, old - 0.5 * ((first + second) / 2 + decay * old))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gradients_are_clipped_to_the_norm(tiny_coco: Path, tmp_path: Path, precision: str) -> None:
    clip, lr = 0.01, 0.5
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=2, seed=0)
    # A scale of the losses is taken back before the norm of their gradients is.
    trainer = make_trainer(tmp_path, sampler, clip=clip, precision=precision, loss_scale=512.0)
    trainer.detector.train()
    (micro_batches,) = TrainLoader(dataset, sampler)(0, 1)
    trainer._backward(micro_batches[0], 0, 1)
    scale = 512.0 if precision == "fp16" else 1.0
    gradients = [gradient / scale for gradient in gradients_of(trainer.detector)]
    norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    assert norm > 2 * clip
    before = weights_of(trainer.detector)
    trainer._train_step(micro_batches, lr)
    decay = tiny_training.OPTIMIZER.weight_decay
    for old, new, gradient in zip(before, trainer.detector.parameters(), gradients, strict=True):
        torch.testing.assert_close(new, old - lr * (gradient * clip / norm + decay * old))


def test_small_gradients_are_not_clipped(tiny_coco: Path, tmp_path: Path) -> None:
    for name, clip in (("clipped", 1e6), ("plain", None)):
        train(tiny_coco, tmp_path / name, steps=2, clip=clip)
    assert metrics(tmp_path / "clipped") == metrics(tmp_path / "plain")


def test_every_micro_batch_has_a_seed_of_its_own(
    tiny_coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeded: list[tuple[int, int]] = []
    monkeypatch.setattr("zoo.train.trainer.seed_micro_batch", lambda *arguments: seeded.append(arguments))
    train(tiny_coco, tmp_path, steps=3, seed=7)
    assert seeded == [(7, number) for number in range(6)]

    sampler = AspectRatioBatchSampler(make_dataset(tiny_coco).is_landscape, batch_size=4, micro_batch_size=1, seed=0)
    trainer = make_trainer(tmp_path, sampler, seed=7)
    seeded.clear()
    trainer.context = DistributedContext(rank=1, world_size=2)
    trainer.step = 5
    (micro_batches,) = TrainLoader(make_dataset(tiny_coco), sampler)(0, 1)
    for i, micro_batch in enumerate(micro_batches[1::2]):
        trainer._backward(micro_batch, i, 2)
    assert seeded == [(7, 21), (7, 23)]  # five steps of four, then the second and the fourth


def test_frozen_weights_stay_so(tiny_coco: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = TinyDetector()
    detector.backbone.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in detector.backbone.named_parameters()}
    train(tiny_coco, tmp_path, steps=2, detector=detector)
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.backbone.named_parameters())


def test_evaluation_every_few_epochs_sees_the_average(tiny_coco: Path, tmp_path: Path) -> None:
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=2, seed=0)
    trainer = make_trainer(tmp_path, sampler, steps=9, evaluate_every=2, ema=True)
    seen: list[int] = []

    def evaluate(epochs: int) -> None:
        assert not trainer.detector.training
        assert trainer.ema is not None
        weights = trainer.detector.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in trainer.ema.tensors.items())
        seen.append(epochs)

    trainer.run(TrainLoader(dataset, sampler), evaluate=evaluate)
    assert seen == [2, 4]
    assert trainer.detector.training
    assert trainer.ema is not None
    assert not torch.equal(trainer.detector.box.weight, trainer.ema.tensors["box.weight"])  # type: ignore[union-attr, arg-type]


class Diverging(TinyDetector):
    """Loses its head at the seventh step."""

    calls = 0

    def losses(self, batch: Batch, targets: Any) -> dict[str, Tensor]:
        self.calls += 1
        return {
            name: loss * (float("nan") if self.calls == 7 else 1)
            for name, loss in super().losses(batch, targets).items()
        }


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_state(tiny_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"diverged at step 6 \(epoch 3\): loss_cls nan.*step_000000005\.pt") as error:
        train(tiny_coco, tmp_path, detector=Diverging(), micro_batch_size=2)
    assert "lr" in error.value.next_step
    assert len(rows(tmp_path)) == 6
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000000005.pt"]


class Breaking(TinyDetector):
    """At the third step looks something up by what its box layer computes, which may be no number then."""

    calls = 0
    weight = float("nan")

    def losses(self, batch: Batch, targets: Any) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == 3:
            torch.nn.init.constant_(self.box.weight, self.weight)
        found = super().losses(batch, targets)
        if self.calls >= 3:
            raise IndexError("index out of range")
        return found


def test_a_step_that_breaks_on_what_is_no_number_says_so(tiny_coco: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ZooError, match=r"diverged at step 2 .*NaN or infinite values \(in box, precision=fp32\)"
    ) as error:
        train(tiny_coco, tmp_path, detector=Breaking(), micro_batch_size=2)
    assert "lr" in error.value.next_step
    finite = Breaking()
    finite.weight = 1.0
    with pytest.raises(IndexError, match="out of range"):
        train(tiny_coco, tmp_path / "finite", detector=finite, micro_batch_size=2)


def test_weights_that_are_not_numbers_are_never_saved(tiny_coco: Path, tmp_path: Path) -> None:
    detector = TinyDetector()
    detector.register_buffer("statistic", torch.tensor(float("inf")))
    with pytest.raises(ZooError, match="a weight is not a finite number"):
        train(tiny_coco, tmp_path, detector=detector)
    assert not (tmp_path / "checkpoints").exists()


def test_a_used_folder_is_not_overwritten(tiny_coco: Path, tmp_path: Path) -> None:
    train(tiny_coco, tmp_path, steps=5)
    before = metrics(tmp_path)
    with pytest.raises(UsageError, match="holds the checkpoints of a training") as error:
        train(tiny_coco, tmp_path, steps=5)
    assert "run.resume=true" in error.value.next_step
    assert metrics(tmp_path) == before


class Accumulating(LRSchedule):
    """An optimiser step at every third step; a rate of biases and a momentum of its own for each step."""

    base_lr = 0.5
    iterations_per_epoch = 2

    def __call__(self, iteration: int) -> float:
        return 0.5 + iteration

    def bias_lr(self, iteration: int) -> float:
        return 0.1 + iteration

    def momentum(self, iteration: int) -> float:
        return 0.01 * iteration

    def is_optimizer_step(self, iteration: int) -> bool:
        return iteration % 3 == 2


def test_gradients_accumulate_until_the_optimizer_step(tiny_coco: Path, tmp_path: Path) -> None:
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=2, seed=0)
    trainer = make_trainer(tmp_path, sampler, gradients="sum")
    trainer.lr_schedule = Accumulating()
    trainer.optimizer.param_groups[1]["biases"] = True
    trainer.detector.train()
    before = weights_of(trainer.detector)
    steps = list(TrainLoader(dataset, sampler)(0, 4))
    gradients: list[list[Tensor]] = []
    for i, (micro_batch,) in enumerate(steps[:3]):
        trainer.step = i
        trainer.detector.zero_grad()
        trainer._backward(micro_batch, 0, 1)
        gradients.append(gradients_of(trainer.detector))
    for i in range(3):
        trainer.step = i
        assert all(torch.equal(old, p) for old, p in zip(before, trainer.detector.parameters(), strict=True))
        trainer._train_step(steps[i], trainer.lr_schedule(i))
        assert [group["lr"] for group in trainer.optimizer.param_groups] == [0.5 + i, 0.1 + i]
        assert trainer.optimizer.param_groups[0]["momentum"] == 0.01 * i
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    for old, new, *three in zip(before, trainer.detector.parameters(), *gradients, strict=True):
        accumulated = three[0] + three[1] + three[2] + tiny_training.OPTIMIZER.weight_decay * old
        torch.testing.assert_close(new, old - rates[id(new)] * accumulated)
    trainer.step = 3  # begins anew
    trainer._train_step(steps[3], 0.5)
    accumulated_anew = gradients_of(trainer.detector)
    trainer.detector.zero_grad()
    trainer._backward(steps[3][0], 0, 1)
    for one, other in zip(accumulated_anew, gradients_of(trainer.detector), strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_are_summed_over_images(tiny_coco: Path, tmp_path: Path) -> None:
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=2, seed=0)
    ((micro_batch,),) = TrainLoader(dataset, sampler)(0, 1)
    found = []
    for gradients in ("mean", "sum"):
        trainer = make_trainer(tmp_path, sampler, gradients=gradients)
        trainer.detector.train()
        trainer._backward(micro_batch, 0, 5)  # as one of five micro-batches
        found.append(gradients_of(trainer.detector))
    for mean, summed in zip(*found, strict=True):
        torch.testing.assert_close(summed / 2, 5 * mean)


def test_exported_weights_load_without_executing_anything(tmp_path: Path) -> None:
    detector = TinyDetector()
    export_weights(tmp_path / "weights.pth", detector.state_dict(), detector.classes)
    loaded = torch.load(tmp_path / "weights.pth", weights_only=True)
    assert list(loaded) == list(detector.state_dict())


@pytest.mark.long
@pytest.mark.parametrize("gradients", ["mean", "sum"])
def test_two_processes_train_as_one(tiny_coco: Path, tmp_path: Path, gradients: str) -> None:
    meeting = meeting_point()
    settings: dict[str, Any] = {"steps": 12, "batch_size": 2, "gradients": gradients}
    running = [start(tiny_coco, tmp_path / "two", meeting | {"RANK": str(rank)}, **settings) for rank in range(2)]
    running.append(start(tiny_coco, tmp_path / "one", **settings))
    for process in running:
        process.join(timeout=120)
    assert [process.exitcode for process in running] == [0, 0, 0]
    # Half of each of two gradients, or half of their sum; or once and twice as much: the same bits, at every step.
    losses = [[line["loss"] for line in rows(tmp_path / name)] for name in ("one", "two")]
    assert losses[0] == losses[1]
    assert metrics(tmp_path / "one") == metrics(tmp_path / "two")


def test_one_process_needs_no_wrapping(tiny_coco: Path, tmp_path: Path) -> None:
    trainer: Trainer = train(tiny_coco, tmp_path, steps=1)
    assert trainer.network is trainer.detector
    assert trainer.device == CPU
    assert trainer.context.gather([[1.0], [2.0]], CPU) == [[1.0], [2.0]]


def test_targets_belong_to_their_images(tiny_coco: Path) -> None:
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=2, seed=0)
    for micro_batches in TrainLoader(dataset, sampler)(0, 4):
        for micro_batch in micro_batches:
            for sample, target in micro_batch:
                assert isinstance(target, Target)
                assert target.labels.tolist() == [sample.image_id]


def test_a_group_follows_the_schedule_by_its_factor(tiny_coco: Path, tmp_path: Path) -> None:
    dataset = make_dataset(tiny_coco)
    sampler = AspectRatioBatchSampler(dataset.is_landscape, batch_size=2, micro_batch_size=1, seed=0)
    trainer = make_trainer(tmp_path, sampler)
    doubled = {"box": ParameterRule(parameters=("box.*",), lr_mult=2.0)}
    optimizer = make_optimizer(trainer.detector, dataclasses.replace(tiny_training.OPTIMIZER, groups=doubled))
    trainer = Trainer(
        trainer.detector, optimizer, trainer.lr_schedule, trainer.config, steps=3, micro_batches=2, init_from="random"
    )
    trainer.run(TrainLoader(dataset, sampler))
    lr = trainer.lr_schedule(2)
    assert [group["lr"] for group in optimizer.param_groups] == [lr, 2 * lr, lr]  # weights, the box's, normalisations
    assert rows(tmp_path)[-1]["lr"] == repr(lr)
