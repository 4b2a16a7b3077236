"""Optimisers over parameter groups, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from zoo.train.schedule import AverageSettings, OptimizerSettings

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def make_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """An optimiser of the parameters that are not frozen; one that several modules share is taken once."""
    groups = parameter_groups(model, settings)
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov)


def parameter_groups(model: nn.Module, settings: OptimizerSettings) -> list[dict[str, Any]]:
    """The trained parameters with the decay of each: of normalisations, of biases where they go without, of others."""
    others: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            if name == "bias" and not settings.decay_biases:
                biases.append(parameter)
            else:
                (norms if isinstance(module, NORMS) else others).append(parameter)
    norm_decay = settings.weight_decay if settings.decay_norms else 0.0
    groups = (
        {"params": others, "weight_decay": settings.weight_decay, "biases": False},
        {"params": norms, "weight_decay": norm_decay, "biases": False},
        {"params": biases, "weight_decay": 0.0, "biases": True},
    )
    return [group for group in groups if group["params"]]


class WeightAverage:
    """An exponential moving average of a model's weights and statistics (Polyak and Juditsky, 1992).

    Args:
        model: whose state is averaged; the average starts there.
        settings: how much of the average is kept.
    """

    def __init__(self, model: nn.Module, settings: AverageSettings) -> None:
        self.settings = settings
        self.updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model, as it is after an optimiser step."""
        self.updates += 1
        kept = self.settings.decay * (1 - math.exp(-self.updates / self.settings.warmup))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - kept)
            else:  # a counter
                self.tensors[name].copy_(tensor)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {"updates": self.updates, "tensors": self.tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.updates = state["updates"]
        average: Mapping[str, Tensor] = state["tensors"]
        for name, tensor in self.tensors.items():
            tensor.copy_(average[name])
