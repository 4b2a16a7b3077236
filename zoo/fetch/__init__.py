"""Bytes from URLs, for checkpoints and data alike: downloads that resume, hashes, locks."""
