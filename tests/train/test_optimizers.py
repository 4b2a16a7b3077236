"""Parameter groups, and the moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo.errors import UsageError
from zoo.train.optimizers import ModelEma, make_optimizer, parameter_groups
from zoo.train.schedule import EmaConfig, OptimizerConfig, ParameterRule


def conv_norm() -> tuple[nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.Conv2d]:
    """A model, and its three modules: the last has no bias."""
    first, norm, last = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1, bias=False)
    return nn.Sequential(first, norm, last), first, norm, last


def test_everything_is_decayed_unless_said() -> None:
    model, first, norm, last = conv_norm()
    weights, norms = parameter_groups(model, OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.3))
    assert [id(p) for p in weights["params"]] == [id(first.weight), id(first.bias), id(last.weight)]
    assert [id(p) for p in norms["params"]] == [id(norm.weight), id(norm.bias)]
    assert (weights["weight_decay"], norms["weight_decay"]) == (0.3, 0.3)


def test_normalisations_can_go_without_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.GroupNorm(1, 2))
    model.append(model[0])  # shared: taken once
    config = OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.3, decay_norms=False)
    weights, norms = parameter_groups(model, config)
    assert (weights["weight_decay"], len(weights["params"])) == (0.3, 2)
    assert (norms["weight_decay"], len(norms["params"])) == (0.0, 4)
    assert isinstance(make_optimizer(model, config), torch.optim.AdamW)
    model[1].requires_grad_(False)
    assert len(parameter_groups(model, config)[1]["params"]) == 2


def test_biases_can_be_a_group_of_their_own() -> None:
    model, first, norm, last = conv_norm()
    config = OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.3, decay_norms=False, decay_biases=False, nesterov=True)
    groups = parameter_groups(model, config)
    wanted = ([first.weight, last.weight], [norm.weight], [first.bias, norm.bias])
    assert [list(map(id, group["params"])) for group in groups] == [list(map(id, group)) for group in wanted]
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0, 0.0]
    assert [group["biases"] for group in groups] == [False, False, True]
    optimizer = make_optimizer(model, config)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0, 0.0]
    assert [group["nesterov"] for group in optimizer.param_groups] == [True] * 3


def test_rules_change_the_rates_and_decays_of_parameters_by_name() -> None:
    """Doubled biases without decay (Caffe), and a factor of a part: those that both fit take the product."""
    model, first, norm, last = conv_norm()
    rules = {
        "biases": ParameterRule(parameters=("*.bias",), lr_mult=2.0, decay=False),
        "ends": ParameterRule(parameters=("0.*", "2.weight"), lr_mult=0.25),
    }
    groups = parameter_groups(model, OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.3, groups=rules))
    found = [
        ([id(p) for p in group["params"]], group["lr_mult"], group["weight_decay"], group["biases"]) for group in groups
    ]
    assert found == [
        ([id(first.weight), id(last.weight)], 0.25, 0.3, False),
        ([id(first.bias)], 0.5, 0.0, False),
        ([id(norm.weight)], 1.0, 0.3, False),
        ([id(norm.bias)], 2.0, 0.0, False),
    ]
    ends = {"ends": rules["ends"]}
    undecayed = OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.3, decay_biases=False, groups=ends)
    assert [group["lr_mult"] for group in parameter_groups(model, undecayed) if group["biases"]] == [0.25, 1.0]


def test_a_rule_that_fits_nothing_is_an_error() -> None:
    model, first, _, _ = conv_norm()
    rules = {"neck": ParameterRule(parameters=("neck.*", "fpn.*"), lr_mult=2.0)}
    with pytest.raises(UsageError, match=r"schedule\.optimizer\.groups\.neck: no parameter is called neck\.\* or fpn"):
        parameter_groups(model, OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.3, groups=rules))
    first.requires_grad_(False)  # a frozen one is there, and is not trained
    frozen = {"first": ParameterRule(parameters=("0.*",), lr_mult=2.0)}
    groups = parameter_groups(model, OptimizerConfig(name="sgd", lr=0.1, weight_decay=0.3, groups=frozen))
    assert {group["lr_mult"] for group in groups} == {1.0}


def test_the_average_moves_towards_the_weights() -> None:
    model = nn.BatchNorm1d(1)
    ema = ModelEma(model, EmaConfig(decay=0.5, warmup=1e-9))
    nn.init.constant_(model.weight, 3.0)
    model.num_batches_tracked = torch.tensor(7)
    ema.update(model)
    assert ema.tensors["weight"].item() == 2.0
    assert ema.tensors["num_batches_tracked"].item() == 7


def test_the_decay_of_the_average_rises() -> None:
    # decay * (1 - exp(-updates / warmup)) = 0.9 * (1 - exp(-1/2)), 0.9 * (1 - exp(-1)), 0.9 * (1 - exp(-3/2)):
    decays = (0.354122, 0.568909, 0.699183)
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = ModelEma(model, EmaConfig(decay=0.9, warmup=2.0))
    nn.init.ones_(model.weight)
    away = 1.0
    for decay in decays:
        ema.update(model)
        away *= decay
        assert ema.tensors["weight"].item() == pytest.approx(1 - away, abs=2e-6)


def test_the_average_goes_on_where_it_was() -> None:
    model = nn.Linear(1, 1, bias=False)
    config = EmaConfig(decay=0.9, warmup=2.0)
    whole = ModelEma(model, config)
    whole.update(model)
    resumed = ModelEma(nn.Linear(1, 1, bias=False), config)
    resumed.load_state_dict(whole.state_dict())
    nn.init.constant_(model.weight, 5.0)
    for ema in (whole, resumed):
        ema.update(model)
    assert whole.updates == resumed.updates == 2
    assert torch.equal(whole.tensors["weight"], resumed.tensors["weight"])
