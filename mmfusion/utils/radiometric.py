"""Radiometric JPEGs of FLIR's thermal cameras, which hold the sensor's counts and their calibration beside a picture."""

from pathlib import Path

import numpy as np


def is_radiometric(path: str | Path) -> bool:
    """Tell by its header whether a JPEG holds FLIR's data."""
    if Path(path).suffix.lower() not in ('.jpg', '.jpeg', '.jpe', '.jfif'):
        return False
    try:
        with open(path, 'rb') as f:
            if f.read(2) != b'\xff\xd8':
                return False
            while len(head := f.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:  # up to the picture's own data
                size = int.from_bytes(head[2:], 'big') - 2
                if head[1] == 0xE1 and f.read(min(size, 5)) == b'FLIR\0':
                    return True
                f.seek(size - (min(size, 5) if head[1] == 0xE1 else 0), 1)
    except (OSError, ValueError):  # the decoders say what is wrong with the file
        return False
    return False


def read_celsius(path: str | Path) -> np.ndarray:
    """Read the temperatures of a radiometric JPEG, by the package flyr.

    Returns:
        H×W float32, °C, at the size of the sensor.

    Raises:
        ImportError: If flyr is not installed.
    """
    import flyr

    return np.asarray(flyr.unpack(str(path)).celsius, np.float32)
