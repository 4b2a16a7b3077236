"""Cut a parity case down to what the tests carry: the manifest, and a few golden values of every network stage.

    python scripts/import_goldens.py PARITY_DIR mmdet/faster_rcnn_r50_fpn_1x_coco

A parity case is a manifest (how to draw the weights of every checkpoint key) and what the original
implementation answered for them. The end-to-end answers need images and stay where they are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests" / "golden"
KEPT = 64
"""Values kept of each stage's sample."""


def main() -> None:
    """Write tests/golden/<case>.json and .npz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parity", type=Path)
    parser.add_argument("case")
    options = parser.parse_args()
    manifest = json.loads((options.parity / f"{options.case}.json").read_text(encoding="utf-8"))
    target = TESTS / options.case
    target.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: manifest[key] for key in ("source", "tensors", "fixed", "aliases", "order") if key in manifest}
    target.with_suffix(".json").write_text(json.dumps(kept, separators=(",", ":")) + "\n", encoding="utf-8")
    golden = np.load(options.parity / f"{options.case}.npz")
    stages = {key: golden[key] for key in golden.files if key.startswith("net/")}
    np.savez_compressed(
        target.with_suffix(".npz"),
        **{key: value[:KEPT] if key.endswith("/sample") else value for key, value in stages.items()},
    )


if __name__ == "__main__":
    main()
