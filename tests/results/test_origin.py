"""Which code and which libraries a number comes from."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zoo.config.compose import compose
from zoo.results.origin import code_files, code_of, environment


def modules(name: str, entry: str = "shapes_retinanet_r10_fpn", *overrides: str) -> set[str]:
    return set(code_files(name, compose(entry, overrides)))


def test_what_a_number_comes_from() -> None:
    accuracy = modules("accuracy")
    assert accuracy >= {
        *("zoo.measure.accuracy", "zoo.measure.coco_eval.matching", "zoo.run.evaluate", "zoo.data.preprocess"),
        *("zoo.models.heads.retina", "zoo.models.nms", "zoo.models.necks.fpn", "zoo.config.build"),
        *("zoo.checkpoints.readers.safetensors", "zoo.checkpoints.keymaps.zoo", "zoo.pipeline"),
    }
    assert not [name for name in accuracy if name.split(".")[1] in ("results", "commands", "cli", "fetch", "train")]
    assert not {"zoo.models.heads.rpn", "zoo.models.heads.yolo", "zoo.checkpoints.keymaps.mmdet"} & accuracy


def test_each_measurement_and_each_row_has_code_of_its_own() -> None:
    assert "zoo.run.timing" in modules("speed") - modules("accuracy")
    assert "zoo.measure.coco_eval.matching" in modules("accuracy") - modules("speed")
    assert "zoo.models.heads.rpn" in modules("accuracy", "shapes_faster_rcnn_r10_fpn")
    config = compose("shapes_retinanet_r10_fpn")
    assert len({code_of(name, config) for name in ("accuracy", "speed", "memory", "complexity")}) == 4


def test_the_recipe_counts_where_the_model_is_trained() -> None:
    trained = modules("accuracy", "shapes_retinanet_r10_fpn", "run=train")
    assert {"zoo.train.trainer", "zoo.train.schedule"} <= trained
    assert "zoo.train.trainer" in modules("train_memory")


@pytest.mark.parametrize("statement", ["environment()", "code_of('accuracy', {})"])
def test_neither_imports_the_libraries(statement: str) -> None:
    command = f"import sys; from zoo.results.origin import code_of, environment; {statement}"
    command += "; print({'torch', 'numpy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_environment_names_what_is_installed() -> None:
    import cv2
    import torch

    found = environment()
    assert list(found) == ["torch", "torchvision", "numpy", "opencv", "pycocotools"]
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["opencv"].startswith(cv2.__version__)
