"""The steps in their order, which is that of what they are worth should time run out: speed, memory, answers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

from gpu.lines import Line, Run, Session, Step
from gpu.packages import runtime_packages

BUILDING = (
    *("filelock", "hydra-core", "numpy", "omegaconf", "opencv-python-headless", "platformdirs", "pyyaml"),
    *("safetensors", "torch", "torchvision", "tqdm"),
)
"""What building a detector and running it takes."""

TESTING = ("psutil", "pytest")
"""What the tests' own modules take beside it."""


class Named:
    """A step's function by the name of its module: nothing is imported where the step does not run."""

    def __init__(self, module: str, function: str) -> None:
        self.module, self.function = module, function

    def __call__(self, session: Session) -> Iterator[Line]:
        """What the function finds."""
        run: Run = getattr(importlib.import_module(f"gpu.{self.module}"), self.function)
        if "torch" in sys.modules:  # a step that only starts other programs does without
            from zoo.runtime.hardware import use_true_float32

            use_true_float32()
        return run(session)


def _step(module: str, name: str, goal: str, needs: tuple[str, ...], limit_s: float, timed: bool = False) -> Step:
    return Step(name=name, goal=goal, run=Named(module, name), needs=needs, limit_s=limit_s, timed=timed)


ALL = runtime_packages()
TESTS = (*BUILDING, *TESTING)

STEPS = (
    _step("inference", "inference", "Faster R-CNN faster than torchvision's", TESTS, 120, timed=True),
    _step("speed", "training_speed", "a training step at least as fast as torchvision's", TESTS, 80, timed=True),
    _step("speed", "yolo", "YOLOv8's post-processing fast and even", TESTS, 60, timed=True),
    _step("speed", "masks", "masks pasted and encoded fast", TESTS, 50, timed=True),
    _step("evaluation", "feeding", "the loader is never the limit", (*ALL, *TESTING), 90, timed=True),
    _step("training", "memory", "training memory as published", (*ALL, *TESTING), 180),
    _step("evaluation", "gpu_tests", "the tests marked gpu pass", (*ALL, *TESTING), 180),
    _step("parity", "parity", "the CPU's and the original's answers on the GPU", TESTS, 150),
    _step("evaluation", "embedded", "every embedded row EXACT on the GPU", ALL, 150),
    _step("training", "training", "a killed training goes on where it was", ALL, 150),
    _step("training", "distributed", "a step over NCCL is that of one process", BUILDING, 60),
    _step("parity", "cases", "the original's detections on real images", (*TESTS, "pycocotools"), 120),
)
"""Each in a process of its own: what one leaves on the card, or how it ends, does not touch the next. Those that take
times come first, one by one."""
