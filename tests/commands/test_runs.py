"""`zoo run` and `zoo train` are `python -m zoo.bench` by shorter words, and take flags anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo import cli
from zoo.commands.runs import run_arguments
from zoo.config.overrides import check, split_flags
from zoo.errors import UsageError

Capture = pytest.CaptureFixture[str]
YOLO = "shapes_yolov8_p"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([YOLO, "data.limit=4"], [f"entry={YOLO}", "data.limit=4"]),
        (["seed=0,1", YOLO, "-m"], ["-m", f"entry={YOLO}", "seed=0,1"]),
        (["yolov8_p"], ["entry=yolov8_p"]),
        (["shapes_retina*"], ["entry=shapes_retinanet_r10_fpn"]),
        ([f"entry={YOLO}", "~schedule"], [f"entry={YOLO}", "~schedule"]),
        (
            ["shapes_*fpn", "--multirun"],
            [
                "--multirun",
                "entry=shapes_faster_rcnn_r10_fpn,shapes_mask_rcnn_r10_fpn,shapes_retinanet_r10_fpn",
            ],
        ),
    ],
)
def test_words_mean_entries(words: list[str], meant: list[str]) -> None:
    assert run_arguments(words) == meant


def test_several_entries_need_multirun() -> None:
    with pytest.raises(UsageError, match=r"shapes: 5 entries") as error:
        run_arguments(["shapes"])
    assert "-m" in error.value.next_step


@pytest.mark.parametrize(
    ("arguments", "flags", "others"),
    [
        (["entry=a", "-m", "seed=1"], ["-m"], ["entry=a", "seed=1"]),
        (["entry=a", "--cfg", "job", "seed=1"], ["--cfg", "job"], ["entry=a", "seed=1"]),
        (["entry=a", "--cfg=job"], ["--cfg=job"], ["entry=a"]),
        (["entry=a", "--info", "defaults", "seed=1"], ["--info", "defaults"], ["entry=a", "seed=1"]),
        (["--info", "entry=a"], ["--info"], ["entry=a"]),
    ],
)
def test_flags_go_first(arguments: list[str], flags: list[str], others: list[str]) -> None:
    assert split_flags(arguments) == (flags, others)


def test_a_sweep_is_a_sweep_wherever_it_is_said() -> None:
    given = check(["entry=shapes_yolov8_p", "seed=0,1", "--multirun"])
    assert given.given[0] == "--multirun"
    assert given.sweep_dir is not None


def test_what_is_said_twice_is_said_once() -> None:
    given = check(["entry=shapes_yolov8_p", "seed=1", "seed=1", "entry=shapes_yolov8_p"]).given
    assert given == ["entry=shapes_yolov8_p", "seed=1"]


WRONG = [
    (["run"], "no entry named"),
    (["run", "yolov8_q"], "no entry 'yolov8_q'; closest:"),
    (["run", "mmdet_z*"], "no entry fits 'mmdet_z*'"),
    (["run", "mmdet"], "mmdet: 36 entries"),
    (["run", YOLO, "--multirn"], "no option '--multirn' (closest: --multirun"),
    (["run", YOLO, "--cfg"], "--cfg needs a value"),
    (["run", YOLO, "-m", "--cfg", "job"], "-m and --cfg exclude one another"),
    (["run", YOLO, "--info=all", "-c", "job"], "-c and --info exclude one another"),
    (["run", YOLO, "--run", "--multirun"], "--multirun and --run exclude one another"),
    (["run", "entyr=X"], "no setting 'entyr' (closest: entry"),
    (["run", YOLO, "+foo=1"], "no setting 'foo'"),
    (["run", YOLO, "++foo.bar=1"], "no setting 'foo'"),
    (["run", YOLO, "~shedule"], "no setting 'shedule' (closest: schedule"),
    (["run", YOLO, "data=coco"], "no option 'coco' of data (closest: coco2017"),
    (["run", YOLO, "data.limit=many"], "data.limit: 'many' is not a whole number"),
    (["run", YOLO, "measure=accuracy,speed"], "measure=accuracy,speed"),
    (["run", YOLO, "hydra/launcher=slrum", "-m"], "no launcher 'slrum' (closest: slurm"),
    (["train", YOLO, "run.max_stpes=3"], "no setting 'run.max_stpes' (closest: run.max_steps"),
    (["train", YOLO, "run.max_steps=-1"], "run.max_steps: -1 is not"),
    (["train", YOLO, "schedule=mmdet_1y"], "no option 'mmdet_1y' of schedule"),
    (["run", YOLO, "seed="], "seed"),
    (["run", YOLO, "backbone=null"], "backbone=null: no detector is without a backbone"),
    (["run", YOLO, "~protocol"], "~protocol: no detector is without a protocol"),
    (["run", YOLO, "neck.bloks=3"], "no setting 'neck.bloks' (closest: neck.blocks"),
    (["run", YOLO, "neck.blocks=many"], "neck.blocks: 'many' is not a number, as the row's own 1"),
    (["run", YOLO, "entry=shapes_retinanet_r10_fpn"], "entry is given twice"),
    (["run", YOLO, "seed=1", "seed=2"], "seed is given twice: seed=1 and seed=2"),
    (["run", YOLO, "seed=1", "++seed=2"], "seed is given twice: seed=1 and ++seed=2"),
    (["run", YOLO, "data=shapes", "data=folder"], "data is given twice: data=shapes and data=folder"),
    (["run", YOLO, "seed=0,1", "-m", "seed=2"], "seed is given twice"),
    (["run", YOLO, "device", "cpu"], "device is a setting, not an entry"),
    (["run", YOLO, "--device", "cpu"], "no option '--device'"),
    (["run", YOLO, "seed=0,1"], "seed=0,1 is several values"),
    (["run", YOLO, "--cfg", "jobb"], "--cfg jobb: it prints job, hydra, all"),
    (["run", YOLO, "data=/data/coco"], "data takes a name, not a path"),
    (["run", YOLO, "checkpoint=mine.pth"], "checkpoint is a group of settings"),
    (["train", YOLO, "run=evaluate"], "zoo train is run=train"),
    (["--verison"], "no option '--verison' (closest: --version"),
    (["run", YOLO, "device=gpu"], "device: 'gpu' is not auto, cpu, cuda or cuda:N"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=lambda value: " ".join(value)[:60])
def test_a_wrong_command_line_is_one_message(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("wrong"))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr("sys.argv", ["zoo"])
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 2
    assert error.splitlines()[-1].startswith("next: ")


def failure(capsys: Capture, tmp_path: Path, *overrides: str) -> list[str]:
    """The lines of stderr of a run that fails, without its header."""
    where = [f"results.dir={tmp_path / 'results'}", f"hydra.run.dir={tmp_path / 'run'}"]
    status = cli.main(["run", *overrides, "data.limit=1", "device=cpu", "measure=[complexity]", *where])
    error = capsys.readouterr().err
    assert status == 1
    assert "Traceback" not in error
    return error[error.index("FAILED") :].splitlines()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["shapes_retinanet_r10_fpn", "neck=null"],
            "64 at stride 16, 128 at stride 32), which head RetinaHead does not take: it wants one number of channels",
        ),
        (
            ["shapes_retinanet_r10_fpn", "backbone=resnet50_caffe_c4"],
            "backbone ResNet gives 1 map (channels: 1024 at stride 16), too few for neck FPN",
        ),
        (["shapes_yolov8_p", "backbone=resnet10_small"], "which neck PAN does not take: "),
    ],
)
def test_parts_that_do_not_fit_are_named(
    overrides: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.setattr("sys.argv", ["zoo"])
    said, step = failure(capsys, tmp_path, *overrides)
    assert message in said
    assert step.startswith("next: correct the override")


def test_published_weights_of_another_composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.argv", ["zoo"])
    said, step = failure(capsys, tmp_path, "shapes_retinanet_r10_fpn", "backbone=csp_n")
    assert "checkpoint and model do not fit" in said
    assert len(said) < 800, "the record has all of it"
    assert step.startswith("next: train it first: zoo train shapes_retinanet_r10_fpn")


def test_no_scheduler_is_two_lines(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("PATH", "")
    assert cli.main(["run", YOLO, "-m", "hydra/launcher=slurm"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: hydra/launcher=slurm: there is no sbatch on this machine",
        "next: start the sweep on a machine of the cluster, or use hydra/launcher=processes",
    ]


def test_no_plug_in_is_two_lines(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    assert cli.main(["run", YOLO, "-m", "hydra/launcher=processes"]) == 1
    error = capsys.readouterr().err.splitlines()
    assert error[0] == "error: hydra/launcher=processes: its plug-in hydra_joblib_launcher is missing"
    assert len(error) == 2


def test_help_lists_every_group(capsys: Capture) -> None:
    assert cli.main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    for group in ("protocol.*", "run.*", "schedule.*", "head.*", "data.*"):
        assert f"\n  {group}: " in text
    assert "\n  speed.rounds: " in text
    assert "\n  accuracy: " in text
