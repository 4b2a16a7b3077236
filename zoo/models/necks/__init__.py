"""Necks: feature maps to feature maps. Each takes the `in_specs` of a backbone and publishes `out_specs`."""
