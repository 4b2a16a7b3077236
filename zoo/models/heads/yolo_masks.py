"""YOLOv8's masks: sums of prototypes, as in YOLACT (Bolya et al., 2019).

Their encodings come from `yolo_mask_windows` where the tensors are on the host, which interpolates along edges alone,
and else from `yolo_mask_maps`, which takes few kernels and hardly ever waits for the device. Both resize by the rules
of `yolo_mask_resize`.

Legend: N images, D detections of one image, C prototypes, H and W of the prototypes (stride 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from torch import Tensor, nn

from zoo.models.heads.yolo_mask_maps import encode_on_device
from zoo.models.heads.yolo_mask_resize import RoundedResize, TruncatedResize
from zoo.models.heads.yolo_mask_windows import encode_on_host
from zoo.models.layers.csp import conv_block, prediction_branch
from zoo.models.losses.masks import STRIDE
from zoo.models.true_float32 import float32_on
from zoo.types import FeatureSpec, ImageGeometry, Rle

MaskMethod: TypeAlias = Literal["logits", "probabilities"]


class Prototypes(nn.Module):
    """The finest feature map to prototypes of twice its resolution.

    Args:
        in_channels: channels of that map.
        width: channels of the hidden convolutions.
        count: number of prototypes, C.
    """

    def __init__(self, in_channels: int, width: int, count: int) -> None:
        super().__init__()
        self.conv1 = conv_block(in_channels, width, 3)
        self.upsample = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.conv2 = conv_block(width, width, 3)
        self.output = conv_block(width, count, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.conv2(self.upsample(self.conv1(x))))
        return out


class PrototypeMasks(nn.Module):
    """Prototypes of the whole image, and for each anchor point the coefficients of its mask.

    Both methods interpolate the sum of the prototypes to the size of the network's input, bilinearly,
    and cut it to the box and the image. They differ in what is interpolated and how the result reaches
    the size of the image file:

    - "logits" (Ultralytics now): the sum itself, foreground above 0; the binary mask is interpolated,
      and a pixel stays foreground where all that it lies between is.
    - "probabilities" (8.0 to 8.2, with which the published mask AP was measured): its sigmoid,
      foreground above 0.5; the binary mask is resized by OpenCV, which rounds.

    Args:
        in_specs: channels and stride of each feature map, fine to coarse.
        count: number of prototypes, C.
        method: how a sum of prototypes becomes a mask.
    """

    def __init__(self, in_specs: Sequence[FeatureSpec], count: int = 32, method: MaskMethod = "logits") -> None:
        super().__init__()
        if method not in get_args(MaskMethod):
            raise ValueError(f"method: {method!r} is none of {', '.join(get_args(MaskMethod))}")
        if in_specs[0].stride != 2 * STRIDE:
            raise ValueError(f"prototypes need a finest map of stride {2 * STRIDE}, not {in_specs[0].stride}")
        finest = in_specs[0].channels
        self.method = method
        self.prototypes = Prototypes(finest, width=finest, count=count)
        self.coefficients = nn.ModuleList(
            prediction_branch(spec.channels, max(finest // 4, count), count) for spec in in_specs
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Feature maps (N, C', H', W'), a level each, to coefficients (N, C, H', W') of each and prototypes."""
        coefficients = [branch(x) for branch, x in zip(self.coefficients, features, strict=True)]
        return coefficients, self.prototypes(features[0])

    def paste(self, coefficients: Tensor, prototypes: Tensor, boxes: Tensor, geometry: ImageGeometry) -> list[Rle]:
        """The masks of one image, as COCO's run-length encodings.

        Args:
            coefficients: (D, C).
            prototypes: (C, H, W), at a quarter of the input's resolution.
            boxes: (D, 4), in input pixels; masks are empty outside of them.
            geometry: where the image lies in it.
        """
        if not len(boxes):
            return []
        sigmoid, resize = (True, RoundedResize()) if self.method == "probabilities" else (False, TruncatedResize())
        encode = encode_on_host if boxes.device.type == "cpu" else encode_on_device
        with float32_on(boxes.device):
            return encode(coefficients, prototypes, boxes, geometry, sigmoid=sigmoid, resize=resize)
