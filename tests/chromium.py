"""The Chromium of this machine, looked for where systems have it; none is ever downloaded."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")

MISSING = f"no Chromium on this machine: looked for {', '.join(NAMES)} on the PATH, and at ZOO_CHROMIUM"


def find_chromium() -> str | None:
    """The browser that `ZOO_CHROMIUM` names, or the first one on the PATH; None where there is none."""
    return os.environ.get("ZOO_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    """A browser without a window; `ZOO_CHROMIUM_ARGS` holds further options of its command line."""
    from playwright.sync_api import sync_playwright

    options = ["--disable-gpu", "--disable-dev-shm-usage", *shlex.split(os.environ.get("ZOO_CHROMIUM_ARGS", ""))]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=options)
        try:
            yield browser
        finally:
            browser.close()
