"""Which checkpoints can be had, before the first of many runs: what is not here is asked for all at once.

Only requests for headers are made. A file counts as lost where every mirror of it is: not reached, without a word, or
without such a file. What remains in doubt, the run of the row finds out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.catalog.entry import Checkpoint
from zoo.checkpoints.fetch_checkpoint import PACKAGE, is_stored
from zoo.errors import ZooError
from zoo.fetch.audit import Link, audit
from zoo.fetch.names import file_name
from zoo.fetch.transport import RetryPolicy

PATIENCE = RetryPolicy(
    attempts=2, first_wait=0.5, longest_wait=2.0, connect_timeout=4.0, read_timeout=5.0, answer_timeout=5.0, total=20.0
)
"""Seconds for all rows together: hosts are asked at the same time, and each that says nothing is waited for once."""


def lost_checkpoints(
    checkpoints: Mapping[str, Checkpoint], results_dir: Path, policy: RetryPolicy = PATIENCE
) -> dict[str, str]:
    """The rows whose checkpoint is neither here nor to be had, each with the reason; shows a progress line.

    Args:
        checkpoints: of each row, by its name.
        results_dir: whose pins count besides the project's own.
        policy: patience.

    """
    wanted = {name: checkpoint for name, checkpoint in checkpoints.items() if _is_wanted(checkpoint, results_dir)}
    urls = [url for checkpoint in wanted.values() for url in checkpoint.urls]
    links = audit(urls, policy, label="looking up the checkpoints") if urls else {}
    return {
        name: _reason(checkpoint.urls, links)
        for name, checkpoint in wanted.items()
        if all(links[url].certain for url in checkpoint.urls)
    }


def _is_wanted(checkpoint: Checkpoint, results_dir: Path) -> bool:
    """Whether a file is to be asked for: it is neither here nor in doubt for another reason."""
    if not checkpoint.urls or checkpoint.urls[0].startswith(PACKAGE):
        return False
    try:
        return not is_stored(checkpoint, results_dir)
    except ZooError:  # pins that contradict each other, a cache that cannot be read: the run of the row says so
        return False


def _reason(urls: Sequence[str], links: Mapping[str, Link]) -> str:
    lines = "".join(f"\n  {url}: {links[url].reason}" for url in urls)
    return f"{file_name(urls[0], default='checkpoint')}: no mirror has it{lines}"
