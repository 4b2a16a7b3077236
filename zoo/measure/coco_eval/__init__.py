"""COCO's evaluation on columns, bit-equal to pycocotools."""
