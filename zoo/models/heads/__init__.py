"""Heads: feature maps to proposals and detections."""
