"""Small helpers used across the package."""

from .image_io import (
    IMG_SUFFIXES,
    ImageReadError,
    list_images,
    pair_images,
    read_four_channels,
    read_infrared,
    read_label_map,
    read_mask,
    read_visible,
    to_bgr,
    to_uint8,
    write_bytes,
    write_image,
)

__all__ = [
    'IMG_SUFFIXES',
    'ImageReadError',
    'list_images',
    'pair_images',
    'read_four_channels',
    'read_infrared',
    'read_label_map',
    'read_mask',
    'read_visible',
    'to_bgr',
    'to_uint8',
    'write_bytes',
    'write_image',
]
