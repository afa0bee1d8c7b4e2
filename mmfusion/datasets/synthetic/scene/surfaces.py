"""Sky, skyline, ground, buildings and plants of a synthetic scene."""

from types import SimpleNamespace

import cv2
import numpy as np

from .canvas import BACKGROUND, ROAD, VEGETATION, Camera, Canvas, linear, noise

_WALLS = [(150, 120, 100), (170, 160, 145), (120, 125, 130), (165, 140, 110), (110, 80, 70), (190, 185, 175)]
_LEAVES = [(70, 105, 45), (85, 115, 50), (55, 90, 50), (110, 115, 45)]


def passive_heat(
    weather: SimpleNamespace, own: float | np.ndarray, sun_share: float | np.ndarray
) -> float | np.ndarray:
    """Compute the temperature of a surface without heat of its own.

    It is in kelvins above the air.

    With ``contrast`` 1 that is ``own`` plus its share of the sun's heat; the smaller the contrast, the more all surfaces
    have one temperature. It is small twice a day, under clouds and in rain, and the infrared image is then empty but for
    what is warm.
    """
    own, shared = own + weather.sun_heat * sun_share, 0.7 * weather.sun_heat
    return shared + weather.contrast * (own - shared)


def paint_sky(canvas: Canvas, camera: Camera, weather: SimpleNamespace) -> None:
    """Sky with clouds down to the horizon, coldest at the zenith."""
    h, w = canvas.size
    rows = int(np.clip(np.ceil(camera.horizon) + 1, 1, h))
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None]  # 0 at the zenith, 1 at the horizon
    clouds = np.clip(noise((rows, w), canvas.rng, octaves=5, base=2) * 1.6 + np.float32(weather.cloud - 0.5), 0, 1)
    if weather.night:
        top, low, cloud = linear(10, 12, 24), linear(34, 32, 42), linear(30, 28, 34)
    else:
        top, low, cloud = linear(105, 150, 210), linear(195, 212, 230), linear(225, 226, 228)
    for c in range(3):
        sky = top[c] + (low[c] - top[c]) * t
        canvas.emission[:rows, :, c] = sky + (cloud[c] - sky) * clouds
    canvas.temp[:rows] = -9 + 5 * t + 4 * clouds


def paint_skyline(canvas: Canvas, camera: Camera, weather: SimpleNamespace) -> None:
    """Far trees and roofs along the horizon."""
    h, w = canvas.size
    rng = canvas.rng
    profile = canvas.window(1, w)[0]
    steps = np.repeat(rng.random(40), int(np.ceil(w / 40)))[:w]
    heights = (0.035 + 0.03 * profile + np.where(steps > 0.55, 0.09 * steps, 0)) * h
    heights = np.maximum(heights, 0.01 * h)
    first, last = (int(np.clip(y, 0, h)) for y in (camera.horizon - heights.max(), camera.horizon + 2))
    rows = np.arange(first, last)[:, None]
    mask = (rows >= camera.horizon - heights) & (rows <= camera.horizon + 1)
    roofs = mask & (steps > 0.55)
    strip = np.s_[first:last]
    for area, colour, temp, label in (
        (mask, linear(85, 100, 75), passive_heat(weather, -0.8, 0.4), VEGETATION),
        (roofs, linear(130, 130, 135), passive_heat(weather, 0.3, 0.6), BACKGROUND),
    ):
        for name, value in dict(albedo=colour, temp=temp, label=label, emission=0, distance=120).items():
            getattr(canvas, name)[strip][area] = value
    if weather.night:
        lit = rng.random((max(1, h // 6), max(1, w // 4)), np.float32) > 0.93
        lit = cv2.resize(lit.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST)[strip].astype(bool)
        canvas.emission[strip][roofs & lit] = linear(200, 170, 110) * 0.35


def paint_ground(canvas: Canvas, camera: Camera, street: SimpleNamespace, weather: SimpleNamespace) -> None:
    """Road with lane markings, kerbs and pavements, textured in world coordinates."""
    h, w = canvas.size
    first = int(np.clip(np.floor(camera.horizon) + 1, 0, h - 1))
    z = camera.focal * camera.height / (np.arange(first, h, dtype=np.float32) - camera.horizon + 0.3)[:, None]
    ppm = camera.focal / z
    x = (np.arange(w, dtype=np.float32) - camera.centre) * z / camera.focal
    region = np.s_[first:]

    def cover(distance_inside: np.ndarray):
        """Share of the pixel inside, from the distance to an edge."""
        return np.clip(distance_inside * ppm + 0.5, 0, 1)

    # The texture repeats every 256 cells; 37 cells a metre for the grain, 4 for the patches.
    shift = canvas.rng.uniform(64, 65, 2).astype(np.float32) * 256
    across, ahead = x * 37 + shift[0], np.repeat(z * 37 + shift[1], w, axis=1)
    grain = _wrapped(canvas.tile, across, ahead)
    patches = _wrapped(canvas.tile, across / 9, ahead / 9)
    half = street.half_width
    off_axis = np.abs(x)
    on_road = cover(half - off_axis)
    kerb = cover(0.14 - np.abs(off_axis - (half + 0.14)))
    slabs = 0.9 + 0.1 * cover(np.minimum(_modulo(x, 0.8), _modulo(z, 0.8)) - 0.05)
    near = np.minimum(1, ppm / 25)
    shade = 1 + (0.35 * near) * grain + 0.25 * patches
    lines = cover(0.08 - off_axis) * cover(2 - np.abs(_modulo(z + street.dash, 8) - 4))
    lines = np.maximum(lines, cover(0.07 - np.abs(off_axis - (half - 0.35))))
    if street.crossing:
        rows = np.flatnonzero(np.abs(z[:, 0] - street.crossing) < 2)
        stripes = cover(1.6 - np.abs(z - street.crossing))[rows]
        stripes = stripes * np.clip((0.25 - np.abs(_modulo(x[rows], 1) - 0.5)) * ppm[rows] + 0.5, 0, 1)
        lines[rows] = np.maximum(lines[rows], stripes * on_road[rows])
    lines *= np.clip(0.85 + 0.5 * patches, 0.3, 1)
    road, pavement = linear(*street.road_colour), linear(*street.pavement_colour)
    edge, white = linear(165, 165, 160), linear(215, 215, 205)
    slabs *= 1 - on_road
    for c in range(3):
        plane = (slabs * pavement[c] + on_road * road[c]) * shade
        plane += (edge[c] - plane) * kerb
        plane += (white[c] - plane) * lines
        canvas.albedo[region][..., c] = plane
    canvas.emission[region] = 0
    # Asphalt stores the day's warmth; paint and kerbs are a little cooler.
    own = 0.2 + 0.4 * on_road - 0.5 * lines - 0.3 * kerb + 0.5 * patches + (0.2 * near) * grain
    canvas.temp[region] = passive_heat(weather, own, 0.7 + 0.3 * on_road)
    canvas.label[region] = np.where(on_road > 0.5, np.uint8(ROAD), np.uint8(BACKGROUND))
    canvas.distance[region] = z
    canvas.ground[region] = 1


def _modulo(values: np.ndarray, period: float) -> np.ndarray:
    """``values`` modulo ``period``; faster than np.mod on large arrays."""
    values = values * np.float32(1 / period)
    return (values - np.floor(values)) * np.float32(period)


def _wrapped(tile: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The tile, repeated without end, at columns ``x``, rows ``y``."""
    n = len(tile)
    tile = np.pad(tile, ((0, 1), (0, 1)), mode='wrap')
    return cv2.remap(tile, _modulo(x, n), _modulo(y, n), interpolation=cv2.INTER_LINEAR)


def paint_building(canvas: Canvas, camera: Camera, building: SimpleNamespace, weather: SimpleNamespace) -> None:
    """Paint a block with two walls in sight and their windows.

    ``building`` has ``side`` (−1 left, 1 right), ``x`` (distance of the wall from the middle of the road), ``near``,
    ``far`` (metres), ``height`` and ``kind`` (a number that picks colours).
    """
    rng = canvas.rng
    base = linear(*_WALLS[building.kind % len(_WALLS)]) * rng.uniform(0.6, 1.15)
    temp = passive_heat(weather, rng.uniform(0.0, 1.6), rng.uniform(0.3, 0.9))
    s, x, near, far, top = building.side, building.x, building.near, building.far, building.height
    along = np.array([[s * x, 0, near], [s * x, 0, far], [s * x, top, far], [s * x, top, near]])
    facing = np.array([[s * x, 0, near], [s * (x + 14), 0, near], [s * (x + 14), top, near], [s * x, top, near]])
    for wall, light in ((facing, 0.75), (along, 1.0)):
        canvas.fill(
            [camera.project(wall)], base * light, temp, emission=(0, 0, 0), label=BACKGROUND, distance=near, ground=0
        )
        _paint_windows(canvas, camera, wall, base * light, temp, weather)
        plinth = wall.copy()
        plinth[2:, 1] = 0.5
        canvas.fill([camera.project(plinth)], base * light * 0.55, temp - 0.3 * weather.contrast)
        cornice = wall.copy()
        cornice[:2, 1] = top - 0.35
        canvas.fill([camera.project(cornice)], base * light * 1.25, temp + 0.3 * weather.contrast)


def _paint_windows(
    canvas: Canvas, camera: Camera, wall: np.ndarray, wall_colour: np.ndarray, temp: float, weather: SimpleNamespace
) -> None:
    """Rows of windows on a wall given by its four corners.

    They are low near, low far, high far, high near.
    """
    rng = canvas.rng
    length = np.linalg.norm(wall[1] - wall[0])
    columns, floors = int(length // 2.4), int((wall[2, 1] - 1.2) // 3)
    if columns < 1 or floors < 1:
        return
    u = (np.arange(columns) + 0.25) / columns
    v = 1.1 + 3 * np.arange(floors)
    u, v = (a.ravel() for a in np.meshgrid(u, v))
    du, dv = rng.uniform(0.35, 0.55) / columns, rng.uniform(1.2, 1.7)

    def corners(pad_u: float, pad_v: float):
        us = np.stack([u - pad_u, u + du + pad_u, u + du + pad_u, u - pad_u], 1)
        vs = np.stack([v - pad_v, v - pad_v, v + dv + pad_v, v + dv + pad_v], 1)
        points = wall[0] + us[..., None] * (wall[1] - wall[0])
        points[..., 1] = vs
        return camera.project(points)

    quads, frames = corners(0, 0), corners(0.035 / columns, 0.08)
    w = canvas.size[1]
    seen = (quads[..., 0].max(1) > 0) & (quads[..., 0].min(1) < w) & (quads[..., 1].max(1) > 0)
    seen &= np.ptp(quads[..., 0], axis=1) > 1
    # Three tones are enough to look irregular, and each is one call.
    lit = rng.random(len(u)) < (0.18 if weather.night else 0.0)
    tones = rng.integers(0, 3, len(u))
    canvas.fill_apart(frames[seen], wall_colour * 1.35)
    for k, tone in enumerate((0.5, 0.75, 1.05)):
        dark, bright = quads[seen & ~lit & (tones == k)], quads[seen & lit & (tones == k)]
        canvas.fill_apart(dark, linear(70, 85, 100) * tone, temp - weather.contrast * (1.6 + 0.8 * tone))
        canvas.fill_apart(bright, linear(120, 110, 90), temp + 1.2, linear(235, 200, 140) * 0.5 * tone)


def paint_plant(canvas: Canvas, camera: Camera, plant: SimpleNamespace, weather: SimpleNamespace) -> None:
    """Paint a tree, or with ``trunk`` 0 a bush, at ``x``, ``z``.

    The crown is an ellipse of ``radius`` × ``tall`` metres (half axes) whose edge and leaves come from noise.
    """
    rng = canvas.rng
    temp = passive_heat(weather, -0.7 + rng.uniform(-0.4, 0.4), 0.4)
    if plant.trunk:
        r = 0.13
        stem = np.array(
            [
                [plant.x - r * 1.3, 0, plant.z],
                [plant.x + r * 1.3, 0, plant.z],
                [plant.x + r, plant.trunk + 0.7, plant.z],
                [plant.x - r, plant.trunk + 0.7, plant.z],
            ]
        )
        bark = dict(label=VEGETATION, distance=plant.z, ground=0, instance=0)
        canvas.fill([camera.project(stem)], linear(80, 62, 48), temp + weather.contrast, emission=(0, 0, 0), **bark)
    cx, cy = camera.project([plant.x, plant.trunk + plant.tall, plant.z])
    scale = camera.scale(plant.z)
    rx, ry = plant.radius * scale * 1.25, plant.tall * scale * 1.25
    h, w = canvas.size
    x0, x1, y0, y1 = int(cx - rx), int(cx + rx) + 1, int(cy - ry), int(cy + ry) + 1
    left, right, up, low = max(x0, 0), min(x1, w), max(y0, 0), min(y1, h)
    if right <= left or low <= up:
        return
    u = (np.arange(left, right, dtype=np.float32) - cx) / rx * 1.25
    v = ((np.arange(up, low, dtype=np.float32) - cy) / ry * 1.25)[:, None]
    rows, cols = low - up, right - left
    edge, leaves = canvas.window(rows, cols), canvas.window(rows, cols, side=250)
    mask = u * u + v * v + 0.75 * edge < 0.85
    light = np.clip(0.75 - 0.3 * v + 0.9 * leaves + 0.3 * edge, 0.15, 1.6)
    box = np.s_[up:low, left:right]
    colour = linear(*_LEAVES[plant.kind % len(_LEAVES)])
    canvas.albedo[box][mask] = (colour * light[..., None])[mask]
    canvas.temp[box][mask] = (temp + weather.contrast * (0.5 * edge + 0.4 * leaves))[mask]
    canvas.emission[box][mask] = 0
    canvas.label[box][mask] = VEGETATION
    canvas.instance[box][mask] = 0
    canvas.ground[box][mask] = 0
    canvas.distance[box][mask] = plant.z
