"""Which parity case has the checkpoint keys of which entries: entries of one architecture share a case."""

from __future__ import annotations

ENTRIES = {
    "mmdet/faster_rcnn_r50_caffe_c4_1x_coco": (
        "mmdet_faster_rcnn_r50_caffe_c4_1x",
        "mmdet_faster_rcnn_r50_caffe_c4_ms_1x",
    ),
    "mmdet/faster_rcnn_r50_caffe_dc5_1x_coco": (
        "mmdet_faster_rcnn_r50_caffe_dc5_1x",
        "mmdet_faster_rcnn_r50_caffe_dc5_ms_1x",
        "mmdet_faster_rcnn_r50_caffe_dc5_ms_3x",
    ),
    "mmdet/faster_rcnn_r50_caffe_fpn_1x_coco": (
        "mmdet_faster_rcnn_r50_caffe_fpn_1x",
        "mmdet_faster_rcnn_r50_caffe_fpn_ms_2x",
        "mmdet_faster_rcnn_r50_caffe_fpn_ms_3x",
    ),
    "mmdet/faster_rcnn_r50_fpn_1x_coco": (
        "mmdet_faster_rcnn_r50_fpn_1x",
        "mmdet_faster_rcnn_r50_fpn_amp_1x",
        "mmdet_faster_rcnn_r50_fpn_2x",
        "mmdet_faster_rcnn_r50_fpn_iou_1x",
        "mmdet_faster_rcnn_r50_fpn_giou_1x",
        "mmdet_faster_rcnn_r50_fpn_bounded_iou_1x",
        "mmdet_faster_rcnn_r50_fpn_ms_3x",
        "mmdet_faster_rcnn_r50_tnr_pre_fpn_1x",
    ),
    "mmdet/faster_rcnn_r101_caffe_fpn_1x_coco": (
        "mmdet_faster_rcnn_r101_caffe_fpn_1x",
        "mmdet_faster_rcnn_r101_caffe_fpn_ms_3x",
    ),
    "mmdet/faster_rcnn_r101_fpn_1x_coco": (
        "mmdet_faster_rcnn_r101_fpn_1x",
        "mmdet_faster_rcnn_r101_fpn_2x",
        "mmdet_faster_rcnn_r101_fpn_ms_3x",
    ),
    "mmdet/faster_rcnn_x101_32x4d_fpn_1x_coco": (
        "mmdet_faster_rcnn_x101_32x4d_fpn_1x",
        "mmdet_faster_rcnn_x101_32x4d_fpn_2x",
        "mmdet_faster_rcnn_x101_32x4d_fpn_ms_3x",
    ),
    "mmdet/faster_rcnn_x101_64x4d_fpn_1x_coco": (
        "mmdet_faster_rcnn_x101_64x4d_fpn_1x",
        "mmdet_faster_rcnn_x101_64x4d_fpn_2x",
        "mmdet_faster_rcnn_x101_64x4d_fpn_ms_3x",
    ),
    "mmdet/faster_rcnn_x101_32x8d_fpn_mstrain_3x_coco": ("mmdet_faster_rcnn_x101_32x8d_fpn_ms_3x",),
    "mmdet/faster_rcnn_r50_caffe_fpn_mstrain_1x_coco-person": ("mmdet_faster_rcnn_r50_caffe_fpn_ms_1x_person",),
    "mmdet/faster_rcnn_r50_caffe_fpn_mstrain_1x_coco-person-bicycle-car": (
        "mmdet_faster_rcnn_r50_caffe_fpn_ms_1x_person_bicycle_car",
    ),
    "mmdet/faster_rcnn_r50_fpg_crop640_50e_coco": ("mmdet_faster_rcnn_r50_fpg_crop640_50e",),
    "mmdet/faster_rcnn_r50_fpg-chn128_crop640_50e_coco": ("mmdet_faster_rcnn_r50_fpg_chn128_crop640_50e",),
    "mmdet/mask_rcnn_r50_fpg_crop640_50e_coco": ("mmdet_mask_rcnn_r50_fpg_crop640_50e",),
    "mmdet/mask_rcnn_r50_fpg-chn128_crop640_50e_coco": ("mmdet_mask_rcnn_r50_fpg_chn128_crop640_50e",),
    "mmdet/retinanet_r50_fpg_crop640_50e_coco": ("mmdet_retinanet_r50_fpg_crop640_50e",),
    "mmdet/retinanet_r50_fpg-chn128_crop640_50e_coco": ("mmdet_retinanet_r50_fpg_chn128_crop640_50e",),
    "paddle/faster_rcnn_r50_1x_coco": ("paddle_faster_rcnn_r50_1x",),
    "paddle/faster_rcnn_r50_fpn_1x_coco": ("paddle_faster_rcnn_r50_fpn_1x",),
    "paddle/faster_rcnn_r101_1x_coco": ("paddle_faster_rcnn_r101_1x",),
    "paddle/faster_rcnn_r101_fpn_1x_coco": ("paddle_faster_rcnn_r101_fpn_1x",),
    "paddle/faster_rcnn_r34_fpn_1x_coco": ("paddle_faster_rcnn_r34_fpn_1x",),
    "paddle/faster_rcnn_dcn_r50_vd_fpn_3x_server_side": ("paddle_faster_rcnn_dcn_r50_vd_fpn_3x_server_side",),
    "paddle/cascade_rcnn_dcn_r50_vd_fpn_3x_server_side": ("paddle_cascade_rcnn_dcn_r50_vd_fpn_3x_server_side",),
    "paddle/cascade_rcnn_dcn_r101_vd_fpn_3x_server_side": ("paddle_cascade_rcnn_dcn_r101_vd_fpn_3x_server_side",),
    "paddle/faster_rcnn_enhance_3x_coco": ("paddle_faster_rcnn_enhance_3x",),
    "paddle/faster_rcnn_res2net50_vb_26w_4s_fpn_1x_coco": ("paddle_faster_rcnn_res2net50_vb_26w_4s_fpn_1x",),
    "paddle/mask_rcnn_res2net50_vb_26w_4s_fpn_2x_coco": ("paddle_mask_rcnn_res2net50_vb_26w_4s_fpn_2x",),
    "paddle/mask_rcnn_res2net50_vd_26w_4s_fpn_2x_coco": ("paddle_mask_rcnn_res2net50_vd_26w_4s_fpn_2x",),
    "ultralytics/yolov8n": ("ultralytics_yolov8n",),
    "ultralytics/yolov8s": ("ultralytics_yolov8s",),
    "ultralytics/yolov8m": ("ultralytics_yolov8m",),
    "ultralytics/yolov8l": ("ultralytics_yolov8l",),
    "ultralytics/yolov8x": ("ultralytics_yolov8x",),
    "ultralytics/yolov8n-seg": ("ultralytics_yolov8n_seg",),
    "ultralytics/yolov8s-seg": ("ultralytics_yolov8s_seg",),
    "ultralytics/yolov8m-seg": ("ultralytics_yolov8m_seg",),
    "ultralytics/yolov8l-seg": ("ultralytics_yolov8l_seg",),
    "ultralytics/yolov8x-seg": ("ultralytics_yolov8x_seg",),
}
"""Parity case -> the entries whose checkpoint has its keys and shapes."""

CASES = {entry: case for case, entries in ENTRIES.items() for entry in entries}
"""Entry -> its parity case."""
