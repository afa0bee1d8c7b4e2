"""Small helpers used across the package."""

from .alignment import CameraPair, camera_pair
from .allocator import give_back_freed_memory, keep_freed_memory
from .arrays import infrared_array, refuse_equal, rgbt_array, visible_array
from .decoding import IMG_SUFFIXES, image_size, read_array, read_size
from .infrared import frame_values, infrared_values, read_infrared, sequence_range
from .outputs import WriteError, check_writable
from .pairing import NamePattern, list_images, natural_key, pair_images, refuse_overwriting, refuse_same, shorten
from .progress import follow, track
from .reading import four_values, read_four_channels, read_label_map, read_mask, read_pair, read_shown, read_visible
from .scaling import DEPTH16, ImageReadError, check_reading, given_reading, to_8bit, to_bgr, to_uint8, values_reading
from .text import near_files, read_names, read_text, replace_all
from .writing import WRITE_SUFFIXES, only_writer, remove_unfinished, write_bytes, write_image

__all__ = [
    'DEPTH16',
    'IMG_SUFFIXES',
    'WRITE_SUFFIXES',
    'CameraPair',
    'ImageReadError',
    'NamePattern',
    'WriteError',
    'camera_pair',
    'check_reading',
    'check_writable',
    'follow',
    'four_values',
    'frame_values',
    'give_back_freed_memory',
    'given_reading',
    'image_size',
    'infrared_array',
    'infrared_values',
    'keep_freed_memory',
    'list_images',
    'natural_key',
    'near_files',
    'only_writer',
    'pair_images',
    'read_array',
    'read_four_channels',
    'read_infrared',
    'read_label_map',
    'read_mask',
    'read_names',
    'read_pair',
    'read_shown',
    'read_size',
    'read_text',
    'read_visible',
    'refuse_equal',
    'refuse_overwriting',
    'refuse_same',
    'remove_unfinished',
    'replace_all',
    'rgbt_array',
    'sequence_range',
    'shorten',
    'to_8bit',
    'to_bgr',
    'to_uint8',
    'track',
    'values_reading',
    'visible_array',
    'write_bytes',
    'write_image',
]
