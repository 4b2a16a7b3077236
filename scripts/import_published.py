"""Read the published tables of all zoos and write results/published/<zoo>.csv.

    python scripts/import_published.py TABLES_DIR FACTS.csv

TABLES_DIR holds copies of the README files, as damaged as they are. FACTS.csv says what the metafiles of
mmdetection print, one row a model: config_3x, metafile_name, box_ap, mask_ap,
train_mem_gb_metafile, ms_per_image_metafile. Every issue is printed with its resolution.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from zoo.catalog.entry import PublishedCell
from zoo.catalog.published.documents import read_file
from zoo.catalog.published.evidence import Evidence, gather, write_evidence
from zoo.catalog.published.issues import summary
from zoo.catalog.published.layouts import Column
from zoo.catalog.published.layouts.mmdet import LAYOUT as MMDET
from zoo.errors import UsageError, ZooError

PUBLISHED = Path(__file__).resolve().parents[1] / "results" / "published"

SOURCES = {
    "000.md": {"paddle": "configs/faster_rcnn/README.md"},
    "001.md": {"paddle": "configs/rcnn_enhance/README.md"},
    "002.md": {"mmdet": "configs/faster_rcnn/README.md", "ultralytics": "README.md", "jwyang": "README.md"},
    "003.md": {"mmdet": "configs/fpg/README.md"},
    "004.md": {"paddle": "configs/res2net/README.md"},
}
"""Copy -> zoo -> the document it is a copy of, by its path in the zoo's own repository."""

METAFILE = {
    "box_ap": Column("box_AP"),
    "mask_ap": Column("mask_AP"),
    "train_mem_gb_metafile": Column("train_memory_gb", "V100"),
    "ms_per_image_metafile": Column("latency_ms", "V100"),
}
"""Column of the facts -> what the metafile prints there."""

NOT_IN_METAFILE = "(not in the metafile)"


def main() -> int:
    """Write the CSV of every zoo; 1 where a table or a fact could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path)
    parser.add_argument("facts", type=Path)
    options = parser.parse_args()
    by_zoo: dict[str, list[Evidence]] = defaultdict(list)
    try:
        for row in [*tables(options.tables), *metafiles(options.facts)]:
            by_zoo[row.entry.split("_", 1)[0]].append(row)
        for zoo, rows in sorted(by_zoo.items()):
            path = PUBLISHED / f"{zoo}.csv"
            write_evidence(path, rows)
            print(f"wrote {path}: {len(rows)} cells of {len({row.entry for row in rows})} rows")
    except ZooError as error:
        print(f"error: {error.message}\nnext: {error.next_step}", file=sys.stderr)
        return error.exit_status
    return 0


def tables(folder: Path) -> Iterator[Evidence]:
    """What the README files print."""
    for name, sources in SOURCES.items():
        numbers, issues = read_file(folder / name)
        print(*summary(issues), sep="\n", end="\n" if issues else "")
        yield from gather(numbers, sources)


def metafiles(facts: Path) -> Iterator[Evidence]:
    """What the metafiles print."""
    if not facts.is_file():
        raise UsageError(f"no file {facts}", next_step="name the CSV of what the metafiles print")
    with facts.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            entry = MMDET.entry(f"({row['config_3x']})")
            if entry is None:
                raise UsageError(f"{facts}: no model in {row['config_3x']!r}", next_step="correct the row")
            if row["metafile_name"] == NOT_IN_METAFILE:
                continue
            source = str(PurePosixPath(row["config_3x"]).with_name("metafile.yml"))
            for name, column in METAFILE.items():
                if row[name]:
                    cell = PublishedCell(metric=column.metric, text=row[name], source=source, hardware=column.hardware)
                    yield Evidence(entry=entry, cell=cell, file=facts.name, raw=f"{name}={row[name]}")


if __name__ == "__main__":
    sys.exit(main())
