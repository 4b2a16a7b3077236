"""Optimisers over parameter groups, and the moving average of the weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from zoo.errors import UsageError
from zoo.train.schedule import EmaConfig, OptimizerConfig

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """An optimiser of the parameters that are not frozen; one that several modules share is taken once.

    On a GPU torch steps all parameters of a group together. Its fused kernels are left alone: where the first step of a
    loss scaler is skipped, SGD's would go on from momentum that was never written.

    Raises:
        UsageError: a rule of the configuration fits no parameter of the model.
    """
    groups = parameter_groups(model, config)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, Any]]:
    """The trained parameters in groups by kind (weights, normalisation layers, biases), learning rate and decay.

    Returns:
        The groups, none of them empty, weights first. Biases are of a kind of their own where `config` does not decay
        them; `biases` marks those groups, whose learning rate may follow another schedule. `lr_mult` is the factor of
        the learning rate of a group.

    Raises:
        UsageError: a rule of the configuration fits no parameter of the model.
    """
    _refuse_idle_rules(model, config)
    kinds = ((config.weight_decay, False), (config.weight_decay if config.decay_norms else 0.0, False), (0.0, True))
    groups: defaultdict[tuple[int, float, bool], list[nn.Parameter]] = defaultdict(list)
    seen: set[nn.Parameter] = set()
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or parameter in seen:
                continue
            seen.add(parameter)
            of_norm = isinstance(module, NORMS)
            kind = 2 if name == "bias" and not config.decay_biases else int(of_norm)
            groups[kind, *_rate_and_decay(f"{prefix}.{name}" if prefix else name, config)].append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": kinds[kind][0] if decay else 0.0,
            "lr_mult": lr_mult,
            "biases": kinds[kind][1],
        }
        for (kind, lr_mult, decay), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _rate_and_decay(name: str, config: OptimizerConfig) -> tuple[float, bool]:
    """The factor of a parameter's learning rate, and whether the rules leave it decayed."""
    rules = [rule for rule in config.groups.values() if any(fnmatchcase(name, p) for p in rule.parameters)]
    return math.prod((rule.lr_mult for rule in rules), start=1.0), all(rule.decay for rule in rules)


def _refuse_idle_rules(model: nn.Module, config: OptimizerConfig) -> None:
    """Raise UsageError for a rule that would change nothing in silence; frozen parameters count too."""
    names = [name for name, _ in model.named_parameters()]
    for key, rule in config.groups.items():
        if not any(fnmatchcase(name, pattern) for name in names for pattern in rule.parameters):
            message = f"schedule.optimizer.groups.{key}: no parameter is called {' or '.join(rule.parameters)}"
            raise UsageError(message, next_step=f"leave it out with ~schedule.optimizer.groups.{key}, or correct it")


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
        state = model.state_dict()
        moving = [name for name, tensor in state.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.tensors[name] for name in moving], [state[name] for name in moving], 1 - decay)
        for name in state.keys() - moving:  # counters
            self.tensors[name].copy_(state[name])

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {"updates": self.updates, "tensors": self.tensors}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.updates = state["updates"]
        tensors: Mapping[str, Tensor] = state["tensors"]
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
