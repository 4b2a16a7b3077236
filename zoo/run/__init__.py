"""Loops over images: evaluation, timing. They receive values and know no configuration."""
