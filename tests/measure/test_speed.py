"""Speed: what is counted, and how rounds and images become one number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from class_names import class_names

from zoo.config.build import build_model
from zoo.measure.speed import Speed
from zoo.run.timing import PhaseTimes, time_phases


def test_worked_numbers() -> None:
    speed = Speed()
    seconds = {0: [0.1, 0.3], 1: [0.2, 0.2], 2: [0.5, 0.5]}
    for index, times in seconds.items():
        for total in times:
            speed.update(index, PhaseTimes(pre=0.1 * total, model=0.7 * total, post=0.2 * total))
    result: dict[str, Any] = speed.result()
    assert result["fps"] == pytest.approx(5.0)  # rounds of 5, 5 and 2 images a second
    assert result["fps_rounds"] == {"lowest": pytest.approx(2.0), "highest": pytest.approx(5.0)}
    assert result["latency_ms"]["p50"] == pytest.approx(250.0)
    assert result["latency_ms"]["p95"] == pytest.approx(500.0)
    assert result["phases_ms"] == {phase: pytest.approx(share * 250) for phase, share in
                                   (("pre", 0.1), ("model", 0.7), ("post", 0.2))}  # fmt: skip
    assert result["timed"] == {"rounds": 3, "images": 2}


def test_reset_forgets() -> None:
    speed = Speed()
    speed.update(0, PhaseTimes(1.0, 1.0, 1.0))
    speed.reset()
    speed.update(0, PhaseTimes(0.1, 0.1, 0.3))
    assert speed.result()["fps"] == pytest.approx(2.0)


def test_every_image_in_every_round_after_the_warm_up(small_parts: dict[str, object]) -> None:
    detector = build_model(small_parts, class_names(80)).eval()
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    samples = [detector.transform(image, i) for i in (1, 2)]
    seen: list[int] = []
    detector.normalizer.register_forward_pre_hook(lambda _, inputs: seen.extend(s.image_id for s in inputs[0]))
    times = list(time_phases(detector, samples, warmup=3, rounds=2, precision="fp32"))
    assert seen == [1, 2, 1, 1, 2, 1, 2]
    assert [index for index, _ in times] == [0, 0, 1, 1]
    assert all(t.pre > 0 and t.model > 0 and t.post > 0 for _, t in times)
    assert torch.is_inference_mode_enabled() is False
