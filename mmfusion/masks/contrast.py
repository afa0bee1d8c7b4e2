"""Masks of salient objects from local contrast, without weights.

A crude stand-in for Grounding DINO and SAM, which knows nothing of persons or cars. It finds compact regions that stand out
from their surroundings and reach down to where the ground is in a road scene. Use it to try things on real pairs; not for
results that are to be published.
"""

import math

import cv2
import numpy as np

# Blob sizes looked for, as fractions of the image's short side.
_SCALES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
# Thresholds in robust standard deviations. A region need be compact at one of them only.
_LEVELS = tuple(np.linspace(0.8, 4.0, 9))
# Images are searched at this short side: time and result then do not depend on the resolution.
_SHORT_SIDE, _MAX_LONG_SIDE = 240, 960


class ContrastMasks:
    """Mask objects by local contrast, robust thresholds, area and shape.

    Warmth is looked for in an infrared image; light, darkness and colour, each apart, in a visible one. At each scale s
    (a fraction of the short side) a pixel has

    - a *contrast*: the box mean over s/4 minus the one over 2s, where it is positive;
    - a *structure*: the local standard deviation over s/2.

    √(contrast · structure) is cut at median + t · 1.4826 · MAD for a ladder of t. Every connected region of every cut
    that is plausible as an object (area, aspect, fill, place, edges) is kept; the mask is the union of what is kept.
    Its outlines are loose: they lie up to a tenth of the short side outside of the objects.

    Args:
        threshold (float): Multiplies the ladder of thresholds. Higher covers less.
        min_area (float): Smallest object, as a fraction of the image.
        max_area (float): Largest object, as a fraction of the image.
        ground (float): An object must reach below this fraction of the image's height (0 is the top). The default suits
            a camera in a car; take 0 for one that looks down.
        top (float): An object may not begin above this fraction of the height (sky, tree tops, lamps).

    Raises:
        ValueError: If a fraction is outside [0, 1], or a threshold not positive.
    """

    note = (
        'backend "contrast" is a crude stand-in: it masks compact regions of high local contrast, whatever they are, '
        'and misses objects that do not stand out. Use it to try things without weights, not for published results.'
    )

    def __init__(self, threshold=1.0, min_area=6e-4, max_area=0.2, ground=0.5, top=0.2):
        if not 0 < threshold < math.inf:
            raise ValueError(f'threshold must be positive, got {threshold}')
        if min_area > max_area:
            raise ValueError(f'min_area must not be above max_area, got {min_area} and {max_area}')
        for name, value in (('min_area', min_area), ('max_area', max_area), ('ground', ground), ('top', top)):
            if not 0 <= value <= 1:
                raise ValueError(f'{name} is a fraction of the image and must lie in [0, 1], got {value}')
        self.threshold, self.min_area, self.max_area = threshold, min_area, max_area
        self.ground, self.top = ground, top

    @property
    def settings(self):
        """Give what the masks depend on, for ``masks.json``."""
        names = ('threshold', 'min_area', 'max_area', 'ground', 'top')
        return dict(backend='contrast', **{n: getattr(self, n) for n in names})

    def load(self, stems):
        """Load nothing."""

    def __call__(self, stem, img, modality):
        """Make a mask, H×W uint8 of 0 and 255, of H×W×3 (B, G, R).

        ``modality`` is ``'vi'`` or ``'ir'``.
        """
        height, width = img.shape[:2]
        factor = min(_SHORT_SIDE / min(height, width), _MAX_LONG_SIDE / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(img, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        gradient = _gradient(small)
        # In a visible image trees and sky would set the scale; the road is what an object has to stand out from.
        first_row = int((self.top if modality == 'ir' else 0.9 * self.ground) * size[1])
        least_gradient = 1.1 * gradient[int(self.top * size[1]) :].mean()
        mask = np.zeros(size[::-1], np.uint8)
        for cue in _cues(small, modality):
            for scale, response, excess in _responses(cue):
                spread = response[min(first_row, size[1] - 1) :]
                middle = np.median(spread)
                # One grey level at least: a noiseless background has no spread.
                deviation = max(1.4826 * float(np.median(np.abs(spread - middle))), 1.0)
                # Small blobs are many and mostly noise, and a visible image is judged three times against its road.
                strict = self.threshold * (2.0 if scale < 1 / 12 else 1.0) * (2.0 if modality == 'vi' else 1.0)
                for level in _LEVELS:
                    cut = (response > middle + strict * level * deviation).astype(np.uint8)
                    self._keep_objects(mask, cut, scale, excess, gradient, least_gradient)
        return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)

    def _keep_objects(self, mask, cut, scale, excess, gradient, least_gradient):
        """Draw plausible regions of ``cut``, filled, into ``mask``, as 255."""
        height, width = cut.shape
        short = min(height, width)
        cut = cv2.morphologyEx(cut, cv2.MORPH_OPEN, _disc(short * scale / 6))
        contours, _ = cv2.findContours(cut, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            area = cv2.contourArea(contour)
            # What is small against the scale is found at a smaller one, and without the wide margin it has here.
            fits = 0.6 * scale <= max(w, h) / short <= 3 * scale and self.min_area <= area / cut.size <= self.max_area
            compact = w <= 2.5 * h and h <= 4 * w and area >= 0.45 * w * h
            stands = y > self.top * height and y + h >= self.ground * height
            if not (fits and compact and stands):
                continue
            inside = np.zeros((h, w), np.uint8)
            cv2.drawContours(inside, [contour], -1, 255, -1, offset=(-x, -y))
            # Bright patches of road are as compact as cars, but have no edges; and what surrounds a cold object is warm
            # in comparison, but the whole is not (likewise for the other cues).
            part = slice(y, y + h), slice(x, x + w)
            edged = cv2.mean(gradient[part], inside)[0] >= least_gradient
            if edged and cv2.mean(excess[part], inside)[0] > 0:
                mask[part] |= inside


def _odd(size):
    return max(3, int(size)) | 1


def _box(channel, size):
    return cv2.blur(channel, (_odd(size), _odd(size)), borderType=cv2.BORDER_REFLECT)


def _disc(size):
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(size), _odd(size)))


def _gradient(img):
    """Sobel magnitude of the grey image, lightly smoothed: H×W float32."""
    grey = cv2.GaussianBlur(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY).astype(np.float32), (0, 0), 1)
    return cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


def _cues(img, modality):
    """What an object may have more of: H×W float32 maps.

    Infrared: warmth. Visible: light, darkness, colour (twice the distance from the image's median in CIE a, b).
    """
    if modality == 'ir':
        return [img[..., 0].astype(np.float32)]
    light, a, b = cv2.split(cv2.cvtColor(img, cv2.COLOR_BGR2Lab).astype(np.float32))
    return [light, -light, 2 * cv2.magnitude(a - np.median(a), b - np.median(b))]


def _responses(cue):
    """Yield scale, response, and excess over the surroundings (both H×W)."""
    short = min(cue.shape)
    for scale in _SCALES:
        window = short * scale
        surround = _box(cue, window * 2)
        contrast = np.maximum(_box(cue, window / 4) - surround, 0)
        mean = _box(cue, window / 2)
        structure = np.sqrt(np.maximum(_box(cue * cue, window / 2) - mean * mean, 0))
        yield scale, np.sqrt(contrast * structure), cue - surround
