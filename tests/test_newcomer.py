"""Somebody new: a fresh clone, an empty home, a terminal of 80 columns, and every step of the README after that.

Installs the environment, so it is marked `network`: `.venv/bin/python -m pytest tests/test_newcomer.py -m network`.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENTRY = "shapes_retinanet_r10_fpn"
QUICK = ("measure=[accuracy]", "data.limit=8", "workers=0", "device=cpu")
KEPT = ("PATH", "LANG", "UV_", "PIP_", "SSL_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "no_proxy")
"""Variables that a newcomer's shell has too: where programs are, and how the network is reached."""

pytestmark = pytest.mark.network


class Newcomer:
    """A shell in a fresh clone.

    Args:
        folder: holds the clone and the empty home.
    """

    def __init__(self, folder: Path) -> None:
        self.clone, home = folder / "zoo", folder / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.clone)], check=True)
        kept = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
        kept["PATH"] = ":".join(part for part in kept["PATH"].split(":") if not part.startswith(str(ROOT)))
        self.environment = {**kept, "HOME": str(home), "TERM": "xterm", "COLUMNS": "80"}

    def types(self, line: str, status: int = 0) -> str:
        """What a line prints, stdout and stderr as the terminal shows them; its exit status has to be as given."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.clone,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == status, f"{line}\n{done.stdout}"
        assert "Traceback" not in done.stdout, f"{line}\n{done.stdout}"
        return done.stdout

    def activated(self, line: str, status: int = 0) -> str:
        """The same in a shell that has done what `make setup` says."""
        return self.types(f". .venv/bin/activate && {line}", status)

    def on_a_terminal(self, line: str) -> list[str]:
        """The lines that a command prints on a terminal of 80 columns, without colours."""
        master, slave = pty.openpty()
        command = ["bash", "-c", f". .venv/bin/activate && stty cols 80 && {line}"]
        with subprocess.Popen(
            command, cwd=self.clone, env=self.environment, stdin=slave, stdout=slave, stderr=slave
        ) as process:
            os.close(slave)
            seen = b""
            while True:
                try:
                    piece = os.read(master, 65536)
                except OSError:  # the terminal is gone with its last process
                    break
                if not piece:
                    break
                seen += piece
        os.close(master)
        assert process.returncode == 0, seen.decode()
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()).replace("\r", "\n").splitlines()


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    shell = Newcomer(tmp_path_factory.mktemp("newcomer"))
    seen = shell.types("make reproduce")
    assert "EXACT  58.02 against 58.0" in seen
    assert "into this shell: . .venv/bin/activate" in seen.splitlines()[-1]
    return shell


def records(newcomer: Newcomer) -> dict[str, str]:
    """Every record of the results folder, by its place, as text."""
    root = newcomer.clone / "results"
    paths = [*root.glob("records/*/*.json"), *root.glob("local/**/*.json")]
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}


def test_help_and_catalogue(newcomer: Newcomer) -> None:
    assert "zoo run" in newcomer.activated("zoo")
    assert newcomer.activated("python -m zoo --version").startswith("zoo ")
    assert ENTRY in newcomer.activated("zoo list shapes")
    for line in ("zoo list", "zoo status", "zoo show faster_rcnn_r50_fpn_1x", "zoo diff", "zoo run --help"):
        wide = [seen for seen in newcomer.on_a_terminal(line) if len(seen) > 80 and "://" not in seen]
        assert not wide, line


def test_a_trial_does_not_touch_the_rows_record(newcomer: Newcomer) -> None:
    before = records(newcomer)
    seen = newcomer.activated(f"zoo run {ENTRY} {' '.join(QUICK)} name=my-trial")
    assert "zoo forget my-trial" in seen
    after = records(newcomer)
    assert {place: after[place] for place in before} == before
    (new,) = set(after) - set(before)
    assert new.endswith("my-trial.json")
    newcomer.activated("zoo forget my-trial")
    assert records(newcomer) == before


def test_train_then_measure_predict_and_go_on(newcomer: Newcomer) -> None:
    before = records(newcomer)
    folder, quick = "outputs/mine", " ".join(QUICK)
    newcomer.activated(f"zoo train {ENTRY} run.max_steps=2 data.train.limit=8 {quick} hydra.run.dir={folder}")
    seen = newcomer.activated(f"zoo run {ENTRY} checkpoint.path={folder}/weights.pth {quick}")
    assert "OTHER-WEIGHTS" in seen
    newcomer.activated(
        f"zoo train {ENTRY} checkpoint.path={folder}/weights.pth run.max_steps=2 data.train.limit=8 {quick}"
    )
    newcomer.activated(f"zoo predict {ENTRY} docs/shapes.png --checkpoint {folder}/weights.pth --out found")
    assert list((newcomer.clone / "found").iterdir())
    after = records(newcomer)
    assert {place: after[place] for place in before} == before
    assert all(place.startswith("local/") for place in set(after) - set(before))


def test_mistakes_are_two_lines(newcomer: Newcomer) -> None:
    for line in (f"zoo run entyr={ENTRY}", f"zoo run {ENTRY} +foo=1", "zoo run shapes_retinanet", "zoo lst"):
        seen = newcomer.activated(line, status=2).strip().splitlines()
        assert seen[-2].startswith("error: "), line
        assert seen[-1].startswith("next: "), line


def test_own_data(newcomer: Newcomer) -> None:
    data, quick = newcomer.clone / "own", " ".join(QUICK[:1] + QUICK[2:])
    newcomer.activated(
        'python -c "from pathlib import Path; from zoo.data.shapes.dataset import draw; '
        "draw('val', 6, Path('own')); draw('train', 8, Path('own'))\""
    )
    names = [row["name"] for row in json.loads(next(data.glob("annotations/*val*")).read_text())["categories"]]
    assert len(names) == 6
    before = records(newcomer)
    newcomer.activated(f"zoo run {ENTRY} data=folder data.root=own {quick}")
    newcomer.activated(f"zoo train {ENTRY} data=folder data.root=own run.max_steps=2 {quick}")
    after = records(newcomer)
    assert {place: after[place] for place in before} == before
    assert len(set(after) - set(before)) == 2
