"""Images and annotations: COCO and the embedded shapes, decoded and resized as the source frameworks do it."""
