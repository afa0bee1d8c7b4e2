"""Radiometric JPEGs of FLIR's cameras: counts and calibration beside a picture."""

from pathlib import Path

import numpy as np

from .decoding import open_header


def is_radiometric(path: str | Path) -> bool:
    """Tell by its header whether a JPEG holds FLIR's data."""
    if Path(path).suffix.lower() not in ('.jpg', '.jpeg', '.jpe', '.jfif'):
        return False
    try:
        with open_header(path) as img:
            return any(marker == 'APP1' and data.startswith(b'FLIR\0') for marker, data in getattr(img, 'applist', ()))
    except Exception:  # the decoders say what is wrong with the file
        return False


def read_celsius(path: str | Path) -> np.ndarray:
    """Read a radiometric JPEG's temperatures, H×W float32, by the package flyr.

    They are in °C, at the size of the sensor. ``ImportError`` if flyr is not installed.
    """
    import flyr

    return np.asarray(flyr.unpack(str(path)).celsius, np.float32)
