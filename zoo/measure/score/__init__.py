"""Detections of anybody, read from a file, looked at for the classic mistakes, and judged as a run's own are."""
