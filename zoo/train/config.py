"""What a training is asked for, as values: the recipe of an entry, and how this run carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.catalog.entry import Checkpoint
from zoo.train.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an entry is trained.

    Attributes:
        schedule: epochs, batch size, learning rates and training views.
        initial: the file with the initial weights; None initialises at random.
        precision: "fp32", "fp16" or "bf16" for convolutions and matrix products: the schedule's own, or what the
            run asks for.
        loss_scale: fixed factor of the losses in fp16; None adapts it to the gradients.
    """

    schedule: Schedule
    initial: Checkpoint | None
    precision: str
    loss_scale: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training of a recipe.

    Attributes:
        recipe: the recipe that is carried out.
        batch_size: images a step, over all processes.
        micro_batch_size: images in one forward pass; None takes the recipe's.
        scale_lr: whether the learning rate follows the batch size.
        max_steps: steps after which the training is cut short; None trains to the end.
        checkpoint_every: steps between two checkpoints.
        evaluate_every: epochs between two evaluations; None evaluates at the end only.
        resume: whether to go on from the newest checkpoint of `run_dir`.
        seed: the seed of the order of the images, of their views and of what the model draws.
        run_dir: the folder of metrics.csv, the checkpoints and the trained weights.
        identity: values that a training must agree in with the checkpoint it resumes from, by name. What follows
            from the fields above and from the data is added by `zoo.train.training.train`.
    """

    recipe: Recipe
    batch_size: int
    micro_batch_size: int | None = None
    scale_lr: bool = True
    max_steps: int | None = None
    checkpoint_every: int = 1000
    evaluate_every: int | None = None
    resume: bool = False
    seed: int
    run_dir: Path
    identity: Mapping[str, Any] = field(default_factory=dict)
