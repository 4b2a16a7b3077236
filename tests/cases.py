"""Which parity case has the checkpoint keys of which entries: entries of one architecture share a list of keys."""

from __future__ import annotations

from zoo.catalog.entry import read_entries
from zoo.catalog.keys import key_list_name

CASE_OF_KEYS = {
    "mmdet/faster_rcnn_r50_caffe_c4_1x": "mmdet/faster_rcnn_r50_caffe_c4_1x_coco",
    "mmdet/faster_rcnn_r50_caffe_dc5_1x": "mmdet/faster_rcnn_r50_caffe_dc5_1x_coco",
    "mmdet/faster_rcnn_r50_caffe_fpn_1x": "mmdet/faster_rcnn_r50_caffe_fpn_1x_coco",
    "mmdet/faster_rcnn_r50_fpn_1x": "mmdet/faster_rcnn_r50_fpn_1x_coco",
    "mmdet/faster_rcnn_r101_caffe_fpn_1x": "mmdet/faster_rcnn_r101_caffe_fpn_1x_coco",
    "mmdet/faster_rcnn_r101_fpn_1x": "mmdet/faster_rcnn_r101_fpn_1x_coco",
    "mmdet/faster_rcnn_x101_32x4d_fpn_1x": "mmdet/faster_rcnn_x101_32x4d_fpn_1x_coco",
    "mmdet/faster_rcnn_x101_64x4d_fpn_1x": "mmdet/faster_rcnn_x101_64x4d_fpn_1x_coco",
    "mmdet/faster_rcnn_x101_32x8d_fpn_ms_3x": "mmdet/faster_rcnn_x101_32x8d_fpn_mstrain_3x_coco",
    "mmdet/faster_rcnn_r50_caffe_fpn_ms_1x_person": "mmdet/faster_rcnn_r50_caffe_fpn_mstrain_1x_coco-person",
    "mmdet/faster_rcnn_r50_caffe_fpn_ms_1x_person_bicycle_car": (
        "mmdet/faster_rcnn_r50_caffe_fpn_mstrain_1x_coco-person-bicycle-car"
    ),
    "mmdet/faster_rcnn_r50_fpg_crop640_50e": "mmdet/faster_rcnn_r50_fpg_crop640_50e_coco",
    "mmdet/faster_rcnn_r50_fpg_chn128_crop640_50e": "mmdet/faster_rcnn_r50_fpg-chn128_crop640_50e_coco",
    "mmdet/mask_rcnn_r50_fpg_crop640_50e": "mmdet/mask_rcnn_r50_fpg_crop640_50e_coco",
    "mmdet/mask_rcnn_r50_fpg_chn128_crop640_50e": "mmdet/mask_rcnn_r50_fpg-chn128_crop640_50e_coco",
    "mmdet/retinanet_r50_fpg_crop640_50e": "mmdet/retinanet_r50_fpg_crop640_50e_coco",
    "mmdet/retinanet_r50_fpg_chn128_crop640_50e": "mmdet/retinanet_r50_fpg-chn128_crop640_50e_coco",
    "paddle/faster_rcnn_r50_1x": "paddle/faster_rcnn_r50_1x_coco",
    "paddle/faster_rcnn_r50_fpn_1x": "paddle/faster_rcnn_r50_fpn_1x_coco",
    "paddle/faster_rcnn_r101_1x": "paddle/faster_rcnn_r101_1x_coco",
    "paddle/faster_rcnn_r101_fpn_1x": "paddle/faster_rcnn_r101_fpn_1x_coco",
    "paddle/faster_rcnn_r34_fpn_1x": "paddle/faster_rcnn_r34_fpn_1x_coco",
    "paddle/faster_rcnn_dcn_r50_vd_fpn_3x_server_side": "paddle/faster_rcnn_dcn_r50_vd_fpn_3x_server_side",
    "paddle/cascade_rcnn_dcn_r50_vd_fpn_3x_server_side": "paddle/cascade_rcnn_dcn_r50_vd_fpn_3x_server_side",
    "paddle/cascade_rcnn_dcn_r101_vd_fpn_3x_server_side": "paddle/cascade_rcnn_dcn_r101_vd_fpn_3x_server_side",
    "paddle/faster_rcnn_enhance_3x": "paddle/faster_rcnn_enhance_3x_coco",
    "paddle/faster_rcnn_res2net50_vb_26w_4s_fpn_1x": "paddle/faster_rcnn_res2net50_vb_26w_4s_fpn_1x_coco",
    "paddle/mask_rcnn_res2net50_vb_26w_4s_fpn_2x": "paddle/mask_rcnn_res2net50_vb_26w_4s_fpn_2x_coco",
    "paddle/mask_rcnn_res2net50_vd_26w_4s_fpn_2x": "paddle/mask_rcnn_res2net50_vd_26w_4s_fpn_2x_coco",
    "jwyang/faster_rcnn_vgg16_s800_6e": "jwyang/jwyang_vgg16",
    "jwyang/faster_rcnn_r101_s800_6e": "jwyang/jwyang_res101",
    **{f"ultralytics/yolov8{size}": f"ultralytics/yolov8{size}" for size in "nsmlx"},
    **{f"ultralytics/yolov8{size}_seg": f"ultralytics/yolov8{size}-seg" for size in "nsmlx"},
}
"""List of keys (conf/keys) -> the parity case that it was read from. A new entry needs none."""

CASES = {
    entry.name: CASE_OF_KEYS[key_list_name(entry)] for entry in read_entries() if key_list_name(entry) in CASE_OF_KEYS
}
"""Entry -> its parity case."""

ENTRIES = {
    case: tuple(sorted((entry for entry, own in CASES.items() if own == case), key=lambda name: (len(name), name)))
    for case in CASE_OF_KEYS.values()
}
"""Parity case -> the entries whose checkpoint has its keys and shapes, the plainest first."""
