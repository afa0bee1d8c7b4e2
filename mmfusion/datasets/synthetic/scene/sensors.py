"""What two cameras record of a synthetic scene's painted maps."""

from statistics import NormalDist
from types import SimpleNamespace

import cv2
import numpy as np

from .canvas import Camera, Canvas, linear, noise

_QUANTILES = np.array([NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)], np.float32)


def smoke_map(canvas: Canvas, camera: Camera, scene: SimpleNamespace, rng: np.random.Generator) -> np.ndarray:
    """Opacity in [0, 1] of smoke before some objects (H×W float32)."""
    h, w = canvas.size
    size = (max(2, h // 4), max(2, w // 4))
    opacity = np.zeros(size, np.float32)
    rows, cols = (np.arange(n, dtype=np.float32) for n in size)
    # What the infrared camera sees through the smoke is worth hiding; a cold car would be lost to both cameras.
    targets = [item for item in scene.objects if item.what == 'person' or item.warm]
    for _ in range(scene.weather.smoke if targets else 0):
        target = targets[rng.integers(len(targets))]
        x, y = camera.project([target.x, 0.9, target.z]) / 4
        # Puffs grow with the object they hide, within bounds: a screen-filling one would leave nothing to see.
        x, y, radius = (
            np.float32(x),
            np.float32(y),
            np.clip(camera.scale(target.z) * rng.uniform(1.6, 3.2) / 4, 0.09 * size[0], 0.4 * size[0]).astype(
                np.float32
            ),
        )
        puff = np.exp(-(((cols - x) / (1.3 * radius)) ** 2) - ((rows[:, None] - y) / radius) ** 2)
        swirl = noise(size, rng, octaves=5, base=4)
        puff = np.clip((puff * (1 + 1.5 * swirl) - 0.14) * 2.2, 0, 1) * np.float32(rng.uniform(0.9, 0.985))
        opacity = 1 - (1 - opacity) * (1 - puff)
    return cv2.resize(opacity, (w, h), interpolation=cv2.INTER_LINEAR)


def _illumination(canvas: Canvas, camera: Camera, scene: SimpleNamespace) -> np.ndarray:
    """Light on the scene, at a quarter of its size.

    It is daylight, or a dim sky, lamps and headlights.
    """
    h, w = canvas.size
    size = (max(2, h // 4), max(2, w // 4))
    weather = scene.weather
    tint = np.array([1.1, 1.0, 0.95] if weather.night else [1.0 - 0.12 * weather.warm_light, 1.0, 1.0], np.float32)
    light = np.broadcast_to(np.float32(weather.ambient) * tint, (*size, 3)).copy()
    rows, cols = np.arange(size[0], dtype=np.float32)[:, None], np.arange(size[1], dtype=np.float32)

    def pool(x: float, y: float, rx: float, ry: float, colour: np.ndarray, strength: float):
        spot = np.exp(-(((cols - x / 4) / (rx / 4)) ** 2) - ((rows - y / 4) / (ry / 4)) ** 2)
        light[...] += (spot * strength)[..., None] * colour

    if weather.night:
        for lamp in scene.lamps:
            if not lamp.lit:
                continue
            colour, scale = linear(*lamp.colour), camera.scale(lamp.z)
            x, y = camera.project([lamp.x - np.sign(lamp.x) * 1.2, 0, lamp.z])
            depth = scale * camera.height * 4.5 / lamp.z  # a circle on the ground is a flat ellipse in the image
            pool(x, y, 4.2 * scale, max(depth, 0.8 * scale), colour, 0.45)
            pool(lamp.head[0], lamp.head[1], 2.5 * scale, 2.5 * scale, colour, 0.3)
        if weather.own_lights:
            y = camera.horizon + 0.12 * h
            pool(camera.centre, y, 0.42 * w, 0.16 * h, linear(255, 245, 225), weather.own_lights)
        for car in scene.objects:
            if car.what == 'car' and car.lights:
                scale = camera.scale(car.z)
                x, y = camera.project([car.x, 0, car.z - 1.5 if car.oncoming else car.z + car.length + 3])
                pool(x, y, 2.0 * scale, 0.5 * scale, linear(255, 245, 225), 0.45)
    return light


def _shadows(canvas: Canvas, camera: Camera, scene: SimpleNamespace) -> np.ndarray:
    """Darkness in [0, 1) on the ground under and, in sunlight, beside the objects."""
    h, w = canvas.size
    shade = np.zeros((max(2, h // 2), max(2, w // 2)), np.float32)
    weather = scene.weather
    sunny = not weather.night and weather.cloud < 0.65
    for item in scene.objects:
        half = item.width / 2 + 0.1 if item.what == 'car' else 0.25
        ends = (item.z - 0.15, item.z + item.length + 0.2) if item.what == 'car' else (item.z - 0.2, item.z + 0.3)
        cast = weather.sun * (1.6 if item.what == 'car' else 2.2) if sunny else 0.0
        near, far = ends
        foot = [(item.x - half, 0, near), (item.x + half, 0, near), (item.x + half, 0, far), (item.x - half, 0, far)]
        moved = [(x + cast, 0, z + 0.6 * abs(cast)) for x, _, z in foot]
        corners = camera.project(np.array(foot + moved)) / 2
        hull = cv2.convexHull(np.clip(corners, -8 * w, 8 * w).astype(np.float32)).astype(np.int32)
        cv2.fillConvexPoly(shade, hull, 0.55 if item.what == 'car' or sunny else 0.35)
    return cv2.resize(cv2.GaussianBlur(shade, (0, 0), 0.0045 * h), (w, h), interpolation=cv2.INTER_LINEAR)


def _glare(emission: np.ndarray, smoke: np.ndarray) -> np.ndarray:
    """Light scattered in the lens: halos around what is too bright."""
    h, w = emission.shape[:2]
    size = (max(2, w // 4), max(2, h // 4))
    small = cv2.resize(np.maximum(emission, 0.8), size, interpolation=cv2.INTER_AREA) - 0.8
    small *= 1 - 0.7 * cv2.resize(smoke, size)[..., None]
    glare = np.zeros_like(small)
    # Narrow, middle and wide halo; the weights keep the wide one visible although it spreads over many pixels.
    for sigma, weight in ((0.008, 0.8), (0.025, 0.8), (0.09, 0.25)):
        glare += weight * cv2.GaussianBlur(small, (0, 0), max(sigma * h / 4, 0.3))
    return cv2.resize(glare, (w, h), interpolation=cv2.INTER_LINEAR)


def sense_visible(
    canvas: Canvas, camera: Camera, scene: SimpleNamespace, smoke: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What the visible camera records.

    Reflected light and lamps, dimmed by fog and smoke, with glare, lens blur, display gamma and sensor noise.

    Returns:
        The image, H×W×3 uint8, B, G, R; and the contrast of the persons' and cars'
        pixels, H×W float32: by how many grey levels the pixel would differ without the object, before noise, in the
        channel where that is most (0 elsewhere).
    """
    h, w = canvas.size
    weather = scene.weather
    small = _illumination(canvas, camera, scene)
    light = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    shade = 1 - _shadows(canvas, camera, scene) * canvas.ground
    # Fog and smoke scatter the light that falls on them; smoke is lit by whatever lights the scene around it.
    glow = cv2.resize(cv2.blur(small, (9, 9)) * np.float32(1.0 if weather.night else 0.62), (w, h))
    glare = _glare(canvas.emission, smoke) if weather.night else None
    texture = shade * (1 + np.float32(0.16) * noise((h, w), rng, octaves=4, base=24))
    opacity = 1 - _clearness(canvas.distance, weather) * (1 - smoke)
    sigma = rng.uniform(3.0, 5.5) if weather.night else rng.uniform(1.0, 2.2)
    pixels = np.flatnonzero(canvas.instance)
    behind = _behind(canvas, weather, smoke, light, glow, glare, pixels)
    planes, change = [], np.zeros(len(pixels), np.float32)
    # One channel after the other in the same two buffers: fresh memory costs more than the arithmetic.
    plane, other = np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    for c in range(3):
        cv2.extractChannel(canvas.albedo, c, plane)
        plane *= cv2.extractChannel(light, c, other)
        plane *= texture
        plane += cv2.extractChannel(canvas.emission, c, other)
        cv2.extractChannel(glow, c, other)
        other -= plane
        other *= opacity
        plane += other
        if glare is not None:
            plane += cv2.extractChannel(glare, c, other)
        cv2.sqrt(np.clip(plane, 0, 1, out=plane), plane)
        change = np.maximum(change, np.abs(plane.ravel()[pixels] - behind[:, c]))
        planes.append(_digitise(cv2.GaussianBlur(plane, (5, 5), 0.55, dst=other), 255, sigma, rng))
    contrast = np.zeros((h, w), np.float32)
    contrast.ravel()[pixels] = 255 * change
    return cv2.merge(planes), contrast


def _behind(
    canvas: Canvas,
    weather: SimpleNamespace,
    smoke: np.ndarray,
    light: np.ndarray,
    glow: np.ndarray,
    glare: np.ndarray | None,
    pixels: np.ndarray,
) -> np.ndarray:
    """Some pixels of the visible image without persons and cars: N×3.

    ``pixels`` are flat indices; values are in [0, 1].
    """

    def take(image: np.ndarray):
        return image.reshape(-1, 3)[pixels]

    opacity = 1 - _clearness(canvas.backdrop['distance'].ravel()[pixels], weather) * (1 - smoke.ravel()[pixels])
    radiance = take(canvas.backdrop['albedo']) * take(light) + take(canvas.backdrop['emission'])
    radiance += (take(glow) - radiance) * opacity[:, None]
    if glare is not None:
        radiance += take(glare)
    return np.sqrt(np.clip(radiance, 0, 1))


def _clearness(distance: np.ndarray, weather: SimpleNamespace) -> np.ndarray:
    """Share of light that haze lets through; of the sky a tenth."""
    return np.exp(np.maximum(distance / np.float32(-weather.fog), np.float32(np.log(0.1))))


def _digitise(image: np.ndarray, scale: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Scale ``image``, add Gaussian noise, round to uint8; overwrites it."""
    # Random bytes through a table of 256 quantiles are many times faster than normal numbers.
    grains = rng.integers(0, 256, image.shape, np.uint8)
    image *= scale
    image += cv2.LUT(grains, _QUANTILES * np.float32(sigma))
    return cv2.convertScaleAbs(np.maximum(image, 0, out=image))


def sense_infrared(
    canvas: Canvas, scene: SimpleNamespace, smoke: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Record temperatures, blurred, hardly dimmed by smoke, with noise.

    Returns:
        The image, H×W uint8, and the contrast as :func:`sense_visible` gives it.
    """
    h, w = canvas.size
    weather = scene.weather
    low = np.float32(-6 if weather.night else -7.5)
    span = np.float32(max(weather.body_heat, weather.sun_heat + 2) + rng.uniform(0.2, 2.5)) - low

    def display(temp: np.ndarray, distance: np.ndarray, smoke: np.ndarray):
        # Smoke absorbs a little, and distant surfaces melt into the temperature of the air.
        temp = temp * (1 - np.float32(0.12) * smoke)
        temp *= np.float32(0.25) + np.float32(0.75) * np.exp(np.minimum(distance, 200) * np.float32(-1 / 140))
        scaled = np.clip((temp - low) / span, 0, 1)
        # A convex response keeps the surroundings dark beside what is warm.
        return scaled * (0.7 + 0.3 * scaled) * 250

    pixels = canvas.instance > 0
    temp = canvas.temp + np.float32(0.35) * noise((h, w), rng, octaves=4, base=16)
    image = display(temp, canvas.distance, smoke)
    behind = display(canvas.backdrop['temp'][pixels], canvas.backdrop['distance'][pixels], smoke[pixels])
    contrast = np.zeros((h, w), np.float32)
    contrast[pixels] = np.abs(display(canvas.temp[pixels], canvas.distance[pixels], smoke[pixels]) - behind)
    image = cv2.GaussianBlur(image, (0, 0), max(0.004 * h, 0.6))
    image += rng.standard_normal(w, np.float32) * 0.5
    return _digitise(image, 1, rng.uniform(2.5, 4.5), rng), contrast
