"""Start-up of the two front doors, against Hydra alone and against an application that imports torch at the top.

    python benchmarks/startup.py

Peers: the smallest Hydra application with the same configuration, and one that imports what a run needs (torch,
torchvision, pandas) before it looks at its arguments, as most training repositories do. CPU seconds of whole
processes, alternating, median.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROUNDS = 5
OVER_BARE = 1.3
"""The most that a command may take in bare Hydra applications doing the same."""

UNDER_EAGER = 15.0
"""How many times less `zoo list` takes than the application that imports torch."""

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"

PEER = """
import hydra, pandas, torch, torchvision

@hydra.main(version_base="1.3", config_path={conf!r}, config_name="config")
def main(config): ...

main()
"""


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Print the ratios; 1 where one is below the target."""
    conf = str(Path(__file__).resolve().parents[1] / "conf")
    with tempfile.TemporaryDirectory() as folder:
        peer = Path(folder) / "peer.py"
        peer.write_text(PEER.format(conf=conf), encoding="utf-8")
        bare = Path(folder) / "bare.py"
        bare.write_text(PEER.format(conf=conf).replace(", pandas, torch, torchvision", ""), encoding="utf-8")
        bench = [sys.executable, "-m", "zoo.bench"]
        commands = {
            "eager-import app --cfg job": [sys.executable, str(peer), "--cfg", "job", f"entry={ENTRY}"],
            "bare Hydra app --cfg job": [sys.executable, str(bare), "--cfg", "job", f"entry={ENTRY}"],
            "bare Hydra app --help": [sys.executable, str(bare), "--help", f"entry={ENTRY}"],
            "zoo.bench --cfg job": [*bench, "--cfg", "job", f"entry={ENTRY}"],
            "zoo.bench --help": [*bench, "--help"],
            "zoo list": [sys.executable, "-m", "zoo.cli", "list"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        os.chdir(folder)
        for _ in range(ROUNDS + 1):
            for name, command in commands.items():
                times[name].append(cpu_seconds(command))
    medians = {name: median(values[1:]) for name, values in times.items()}  # the first round warms the page cache
    eager = medians["eager-import app --cfg job"]
    print(f"{'command':<30} {'CPU s':>7} {'eager / it':>10}")
    for name, seconds in medians.items():
        print(f"{name:<30} {seconds:7.2f} {eager / seconds:9.1f}x")
    over = {word: medians[f"zoo.bench {word}"] / medians[f"bare Hydra app {word}"] for word in ("--cfg job", "--help")}
    for word, ratio in over.items():
        print(f"zoo.bench {word} over a bare Hydra app: {ratio:.2f}x (goal: at most {OVER_BARE}x)")
    under = eager / medians["zoo list"]
    print(f"zoo list under an application that imports torch: {under:.1f}x (goal: at least {UNDER_EAGER:.0f}x)")
    return int(max(over.values()) > OVER_BARE or under < UNDER_EAGER)


if __name__ == "__main__":
    sys.exit(main())
