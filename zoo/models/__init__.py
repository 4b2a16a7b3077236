"""Networks in composable parts: boxes, anchors, coders; layers, backbones, necks, heads; detectors on top."""
