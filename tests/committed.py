"""The committed results of the embedded zoo, whatever somebody measured into the checkout since."""

from __future__ import annotations

import shutil
from pathlib import Path

from zoo.files import PROJECT
from zoo.results.table import write_tables

MACHINE = "cpu-amd-epyc-2-threads"
"""Whose records are committed; a run of the row on a machine of that name replaces them."""


def committed_results(folder: Path) -> Path:
    """A copy of the records, with the tables that belong to them; returns its folder."""
    shutil.copytree(PROJECT / "results" / "records" / MACHINE, folder / "records" / MACHINE)
    write_tables(folder)
    return folder
