"""Backbones: images to feature maps. Each publishes `out_specs`, the channels and strides it gives."""
