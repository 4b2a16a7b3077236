"""Whole detectors: the order in which backbone, neck and heads work together."""
