from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from zoo.fetch.hashes import Digest, ExpectedFile, hash_file, published_prefix_from_name

SHA = hashlib.sha256(b"weights").hexdigest()
DIGEST = Digest(size=7, sha256=SHA, md5="ab" * 16)

OPENMMLAB = "https://download.openmmlab.com/mmdetection/v2.0/faster_rcnn"


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        (f"{OPENMMLAB}/x/faster_rcnn_r50_fpn_2x_coco_bbox_mAP-0.384_20200504_210434-a5d8aa15.pth", "a5d8aa15"),
        ("faster_rcnn_r50_caffe_fpn_1x_coco_bbox_mAP-0.378_20200504_180032-c5925ee5.pth", "c5925ee5"),
        (f"{OPENMMLAB}/x/faster_rcnn_r50_fpn_giou_1x_coco-0eada910.pth?versionId=1-ffffffff.pth", "0eada910"),
        ("x-20200130.pth", "20200130"),
        ("https://download.openxlab.org.cn/models/mmdetection/FasterR-CNN/weight/faster-rcnn_r50_fpn_1x_coco", None),
        ("https://github.com/ultralytics/assets/releases/download/v8.1.0/yolov8n.pt", None),
        ("faster_rcnn_r50_1x_coco.pdparams", None),
        ("a-047c8118.pth.tar", None),
        ("a-047C8118.pth", None),
        ("a-47c8118.pth", None),
        ("a-0047c8118.pth", None),
        ("a_047c8118.pth", None),
        ("a-047c8118/b.pth", None),
        ("", None),
    ],
)
def test_the_prefix_in_a_name(name: str, prefix: str | None) -> None:
    assert published_prefix_from_name(name) == prefix


def test_a_file_that_fits() -> None:
    assert ExpectedFile().mismatch(DIGEST) is None
    known = ExpectedFile(size=7, md5="ab" * 16, sha256=SHA, sha256_prefix=SHA[:8], pinned_on="2025-01-01")
    assert known.mismatch(DIGEST) is None


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (ExpectedFile(size=8000), "has 7 bytes instead of 8,000"),
        (ExpectedFile(sha256_prefix="00"), f"sha256 is {SHA}, but the published one begins with 00"),
        (ExpectedFile(sha256="00"), f"sha256 is {SHA}, the published one is 00"),
        (
            ExpectedFile(sha256="00", pinned_on="2025-01-01"),
            f"has changed since it was pinned on 2025-01-01: sha256 is {SHA}, the pinned one is 00",
        ),
        (ExpectedFile(md5="00"), f"md5 is {DIGEST.md5}, the published one is 00"),
    ],
)
def test_a_file_that_does_not_fit(expect: ExpectedFile, message: str) -> None:
    assert expect.mismatch(DIGEST) == message


def off_at(digits: str, position: int) -> str:
    """Digits of which one is another."""
    return digits[:position] + ("0" if digits[position] != "0" else "1") + digits[position + 1 :]


@pytest.mark.parametrize("length", [6, 8, 64])
def test_every_digit_of_a_prefix_counts(length: int) -> None:
    prefix = SHA[:length]
    assert ExpectedFile(sha256_prefix=prefix).mismatch(DIGEST) is None
    for position in range(length):
        assert ExpectedFile(sha256_prefix=off_at(prefix, position)).mismatch(DIGEST) is not None, position


def test_every_digit_of_a_whole_hash_counts() -> None:
    for position in range(64):
        assert ExpectedFile(sha256=off_at(SHA, position)).mismatch(DIGEST) is not None, position
    for position in range(32):
        assert ExpectedFile(md5=off_at("ab" * 16, position)).mismatch(DIGEST) is not None, position
    for size in (6, 8):
        assert ExpectedFile(size=size).mismatch(DIGEST) == f"has 7 bytes instead of {size}"


def test_hashing_a_file(tmp_path: Path) -> None:
    body = bytes(range(256)) * 1000
    (tmp_path / "a.pth").write_bytes(body)
    digest = hash_file(tmp_path / "a.pth", md5=True)
    assert digest.size == len(body)
    assert digest.sha256 == hashlib.sha256(body).hexdigest()
    assert digest.md5 == hashlib.md5(body).hexdigest()  # noqa: S324
    assert hash_file(tmp_path / "a.pth").md5 is None
