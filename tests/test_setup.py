"""`make setup` and `make lock` with a stand-in for the installer: what they ask it for, and what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FILES = ("Makefile", "pyproject.toml", "requirements.lock", "requirements-cluster.lock", "scripts/step.sh")

UV = """#!/bin/sh
echo "$*" >> "$CALLS"
test "$2" != "$FAILS" || {
    for i in 1 2 3 4 5; do echo "warning: try $i" >&2; done
    echo "error: Request failed after 3 retries in 12.2s" >&2
    echo "  cause: Failed to fetch: https://index.example/torch/" >&2
    echo "  cause: dns error" >&2
    exit 2
}
case "$1 $2" in
venv*) mkdir -p .venv/bin && printf '#!/bin/sh\\n' > .venv/bin/python && chmod +x .venv/bin/python ;;
"pip compile") for last; do true; done; echo "torch==9" > "$last" ;;
esac
"""


class Checkout:
    """What `make` needs of a checkout, with a stand-in for uv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)
        self.uv = folder / "uv"
        self.uv.write_text(UV, encoding="utf-8")
        self.uv.chmod(0o755)

    def make(self, *arguments: str, fails: str = "") -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").unlink(missing_ok=True)
        return subprocess.run(
            ["make", f"UV={self.uv}", *arguments],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "CALLS": str(self.folder / "calls"),
                "FAILS": fails,
                "TMPDIR": str(self.folder),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_setup_installs_the_lock_and_ends_with_the_line_for_the_shell(checkout: Checkout) -> None:
    done = checkout.make("setup")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "installing what requirements.lock names into .venv (PyTorch with CUDA, about 6 GB)" in lines
    assert lines[-1] == "zoo is in .venv/bin; into this shell: . .venv/bin/activate"
    assert [call.split()[:2] for call in checkout.calls] == [["venv", "--python"], ["pip", "sync"], ["pip", "install"]]
    assert "--torch-backend" not in " ".join(checkout.calls)
    assert checkout.calls[1].endswith("--require-hashes requirements.lock")
    again = checkout.make("setup")
    assert checkout.calls == [], "nothing to do"
    assert again.stdout.splitlines() == lines[-1:]


def test_without_cuda_there_is_a_lock_of_its_own_and_the_choice_is_kept(checkout: Checkout) -> None:
    assert checkout.make("setup", "TORCH=cpu").returncode == 0
    compiled, _, synced, _ = checkout.calls
    assert "--torch-backend cpu --constraint requirements.lock --output-file requirements-cpu.lock" in compiled
    assert "--torch-backend cpu" in synced
    assert synced.endswith("--require-hashes requirements-cpu.lock")
    checkout.make("setup")
    assert checkout.calls == [], "the environment keeps its choice"
    checkout.make("setup", "TORCH=")
    assert checkout.calls[0].endswith("--require-hashes requirements.lock"), "until another is made"


def test_ray_is_in_a_lock_of_its_own_and_the_choice_is_kept(checkout: Checkout) -> None:
    assert checkout.make("setup", "EXTRAS=cluster").returncode == 0
    assert checkout.calls[1].endswith("--require-hashes requirements-cluster.lock")
    checkout.make("setup")
    assert checkout.calls == [], "the environment keeps its choice"
    checkout.make("setup", "TORCH=cpu")
    compiled, synced, _ = checkout.calls
    assert "--extra cluster --torch-backend cpu --constraint requirements-cluster.lock" in compiled
    assert synced.endswith("--require-hashes requirements-cluster-cpu.lock")
    checkout.make("setup", "TORCH=", "EXTRAS=")
    assert checkout.calls[0].endswith("--require-hashes requirements.lock"), "until another is made"


def test_the_lock_of_a_cluster_changes_no_version_that_it_can_keep() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(
            re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
        )

    plain, cluster = pins("requirements.lock"), pins("requirements-cluster.lock")
    assert {"ray", "hydra-ray-launcher"} == {"ray", "hydra-ray-launcher"} & cluster.keys() - plain.keys()
    changed = {name for name, version in plain.items() if cluster[name] != version}
    assert changed <= {"cloudpickle", "joblib", "python-dateutil"}, "what Ray and its launcher ask for"


def test_lock(checkout: Checkout) -> None:
    checkout.make("setup", "TORCH=cpu")
    assert checkout.make("lock").returncode == 0
    call, cluster = checkout.calls
    assert call.endswith("--upgrade --output-file requirements.lock"), "whatever the environment is"
    assert "--extra cluster" not in call
    assert cluster.endswith("--extra cluster --output-file requirements-cluster.lock")
    assert (checkout.folder / "requirements-cluster.lock").read_text(encoding="utf-8") == "torch==9\n"
    assert checkout.make("lock", "TORCH=cpu").returncode == 0
    (call,) = checkout.calls
    assert call.endswith("--torch-backend cpu --constraint requirements.lock --output-file requirements-cpu.lock")


@pytest.mark.parametrize(("arguments", "fails"), [(["setup"], "sync"), (["setup", "TORCH=cpu"], "compile")])
def test_no_index_is_one_error(checkout: Checkout, arguments: list[str], fails: str) -> None:
    done = checkout.make(*arguments, fails=fails)
    assert done.returncode != 0
    error, step, *others = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert re.match(
        r"error: (installing|resolving) .*: Failed to fetch: https://index.example/torch/ \(all of it: ", error
    )
    assert step.startswith("next: check the network and the proxy")
    assert not others
    assert checkout.make(*arguments).returncode == 0, "and it goes on from there"


def test_no_file_names_an_index() -> None:
    for name in FILES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://", text), name
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/requirements-*.lock" in ignored
