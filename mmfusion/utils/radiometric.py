"""Radiometric JPEGs of FLIR's thermal cameras, which hold the sensor's counts and their calibration beside a picture."""

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
    """Read the temperatures of a radiometric JPEG, by the package flyr.

    Returns:
        H×W float32, °C, at the size of the sensor.

    Raises:
        ImportError: If flyr is not installed.
    """
    import flyr

    return np.asarray(flyr.unpack(str(path)).celsius, np.float32)
