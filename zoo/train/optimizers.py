"""Optimisers over parameter groups, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from zoo.train.schedule import EmaConfig, OptimizerConfig

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """An optimiser of the parameters that are not frozen; one that several modules share is taken once."""
    groups = parameter_groups(model, config)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The trained parameters in groups by weight decay.

    Returns:
        Up to three groups, none of them empty: weights, parameters of normalisation layers, and biases where these
        are not decayed; `biases` marks the last, whose learning rate may be its own.
    """
    weights: list[nn.Parameter] = []
    norms: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            if name == "bias" and not config.decay_biases:
                biases.append(parameter)
            else:
                (norms if isinstance(module, NORMS) else weights).append(parameter)
    norm_decay = config.weight_decay if config.decay_norms else 0.0
    groups = (
        {"params": weights, "weight_decay": config.weight_decay, "biases": False},
        {"params": norms, "weight_decay": norm_decay, "biases": False},
        {"params": biases, "weight_decay": 0.0, "biases": True},
    )
    return [group for group in groups if group["params"]]


class ModelEma:
    """An exponential moving average of a model's weights and statistics (Polyak and Juditsky, 1992).

    Args:
        model: the model whose state is averaged; the average starts there.
        config: decay and warm-up of the average.

    Attributes:
        updates: updates so far.
        tensors: the averaged state, by name.
    """

    def __init__(self, model: nn.Module, config: EmaConfig) -> None:
        self.config = config
        self.updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model, as it is after an optimiser step."""
        self.updates += 1
        decay = self.config.decay * (1 - math.exp(-self.updates / self.config.warmup))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:  # a counter
                self.tensors[name].copy_(tensor)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {"updates": self.updates, "tensors": self.tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.updates = state["updates"]
        tensors: Mapping[str, Tensor] = state["tensors"]
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
