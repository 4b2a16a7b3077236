"""Put the weights of a training run into the package, as the checkpoint of an embedded entry.

    python -m zoo.bench entry=shapes_retinanet_r10_fpn run=train hydra.run.dir=run
    python scripts/embed_checkpoint.py run shapes_retinanet_r10_fpn

Prints the sha256 and the measured numbers, which then go into the entry's YAML and docs/shapes.md.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from safetensors.torch import save_file

from zoo.catalog.entry import read_entry
from zoo.checkpoints.fetch_checkpoint import EMBEDDED
from zoo.checkpoints.readers import read
from zoo.coco_tasks import TASKS
from zoo.results.record import Record

LARGEST = 4_000_000
"""Bytes; the package stays small."""


def main() -> None:
    """Convert one run's weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("entry")
    options = parser.parse_args()
    record = Record.read(options.run / "record.json")
    entry = read_entry(options.entry)
    if record.entry != entry.name or record.status != "measured" or not record.trained:
        raise SystemExit(f"{options.run} holds a {record.status} run of {record.entry}, not a training of {entry.name}")
    target = EMBEDDED / f"{entry.name}.safetensors"
    tensors = read(options.run / "weights.pth", "pth")
    save_file({key: tensor.contiguous() for key, tensor in sorted(tensors.items())}, target)
    content = target.read_bytes()
    if len(content) > LARGEST:
        target.unlink()
        raise SystemExit(f"{len(content)} bytes are more than {LARGEST}")
    print(f"{target}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")
    print({key: record.number(key) for task in TASKS.values() for key in task.printed})


if __name__ == "__main__":
    main()
