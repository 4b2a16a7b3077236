"""PaddleDetection's static graph (2019 to 2022): names of variables, 81 classes, the background first.

Linear layers are stored (in, out). A cascade's stages have one box for all classes, but rows for the background too.
"""

from __future__ import annotations

from zoo.checkpoints.convert import COUNTED, Drop, KeyMap, Rename, Rule, Zeros
from zoo.checkpoints.paddle_names import BLOCKS, DYGRAPH_2020, VERSION_2
from zoo.checkpoints.tensor_ops import background_last, take_rows, transpose

STATISTICS = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
"""What the static graph calls the parts of a batch normalisation -> what torch does."""

BRANCHES = {"branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3", "branch1": "shortcut"}
"""Part of a block -> its name here."""


OF_THE_OPTIMIZER = "state of the optimizer"

BESIDE_WEIGHTS: KeyMap = (
    Drop("{*variable}_velocity_0", OF_THE_OPTIMIZER),
    Drop("learning_rate_{number}", OF_THE_OPTIMIZER),
    Drop("@LR_DECAY_COUNTER@", OF_THE_OPTIMIZER),
)
"""Rules for what archives of one file a variable hold besides."""


def conv_norm(conv: str, norm: str, target: str) -> KeyMap:
    """Rules for a convolution with its normalisation."""
    norms = (Rename(f"{norm}_{name}", f"{target}.norm.{own}") for name, own in STATISTICS.items())
    return (Rename(f"{conv}_weights", f"{target}.conv.weight"), *norms)


def residual_stage(stage: int) -> KeyMap:
    """Rules for the blocks of a residual stage, 2 to 5 as Paddle counts; any 3x3 may be deformable."""
    rules: list[Rule] = []
    for block, number in BLOCKS.items():
        target = f"backbone.layer{stage - 1}.{number}"
        for branch, own in BRANCHES.items():
            name = f"{stage}{block}_{branch}"
            rules += conv_norm(f"res{name}", f"bn{name}", f"{target}.{own}")
        offset = f"res{stage}{block}_branch2b_conv_offset"
        rules.append(Rename(f"{offset}.w_0", f"{target}.conv2.conv_offset.weight"))
        rules.append(Rename(f"{offset}.b_0", f"{target}.conv2.conv_offset.bias"))
    return tuple(rules)


def conv(source: str, target: str) -> KeyMap:
    """Rules for a convolution with a bias."""
    return Rename(f"{source}_w", f"{target}.weight"), Rename(f"{source}_b", f"{target}.bias")


def box_head(stage: int, suffix: str) -> KeyMap:
    """Rules for the box head of a stage, counted from 0."""
    target = f"roi_head.stages.{stage}.box_head"
    own = {"fc6": ("fc1", ()), "fc7": ("fc2", ()), "cls_score": ("logits", (background_last,))}
    rows = {**own, "bbox_pred": ("deltas", (take_rows(4),))}
    weights = (
        Rename(f"{name}{suffix}_w", f"{target}.{layer}.weight", ops=(transpose, *ops))
        for name, (layer, ops) in rows.items()
    )
    biases = (Rename(f"{name}{suffix}_b", f"{target}.{layer}.bias", ops=ops) for name, (layer, ops) in rows.items())
    return (*weights, *biases)


KEY_MAP: KeyMap = (
    *DYGRAPH_2020,
    *VERSION_2,
    *conv_norm("conv1_1", "bnv1_1", "backbone.stem.0"),
    *conv_norm("conv1_2", "bnv1_2", "backbone.stem.1"),
    *conv_norm("conv1_3", "bnv1_3", "backbone.stem.2"),
    *residual_stage(2),
    *residual_stage(3),
    *residual_stage(4),
    *residual_stage(5),
    *conv("fpn_inner_res2_sum_lateral", "neck.laterals.0"),
    *conv("fpn_inner_res3_sum_lateral", "neck.laterals.1"),
    *conv("fpn_inner_res4_sum_lateral", "neck.laterals.2"),
    *conv("fpn_inner_res5_sum", "neck.laterals.3"),
    *conv("fpn_res2_sum", "neck.outputs.0"),
    *conv("fpn_res3_sum", "neck.outputs.1"),
    *conv("fpn_res4_sum", "neck.outputs.2"),
    *conv("fpn_res5_sum", "neck.outputs.3"),
    # One for all levels, named for the finest
    *conv("conv_rpn_fpn2", "rpn_head.conv"),
    *conv("rpn_cls_logits_fpn2", "rpn_head.logits"),
    *conv("rpn_bbox_pred_fpn2", "rpn_head.deltas"),
    *box_head(0, ""),
    *box_head(1, "_2"),
    *box_head(2, "_3"),
    *BESIDE_WEIGHTS,
    Zeros("{*norm}.num_batches_tracked", COUNTED),
)
