"""Persons, cars and street lamps of a synthetic scene."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike

from .canvas import CAR, LAMP, PERSON, Camera, Canvas, linear
from .surfaces import passive_heat

_COATS = [
    (150, 45, 40),
    (40, 70, 140),
    (190, 180, 160),
    (200, 160, 50),
    (60, 110, 70),
    (150, 150, 155),
    (220, 220, 220),
]
_DARK = [(24, 24, 28), (30, 28, 26), (20, 26, 38), (34, 34, 34)]
_SKIN = [(220, 180, 155), (190, 145, 115), (140, 100, 75), (100, 70, 55)]
_PAINT = [(185, 188, 190), (40, 42, 46), (150, 30, 28), (35, 60, 120), (225, 225, 222), (110, 112, 115), (60, 80, 60)]


def paint_person(
    canvas: Canvas, camera: Camera, person: SimpleNamespace, weather: SimpleNamespace, number: int
) -> None:
    """Paint a walking figure with limbs of two segments each.

    ``person`` has ``x``, ``z`` (place, metres), ``tall`` (metres), ``phase`` (of the step), ``facing`` (−1, 0, 1: how
    far the stride is seen from the side), ``dark`` (clothes), ``kind``, ``bag``, ``insulation`` (share of the body's
    warmth that the clothes let through).
    """
    scale = camera.scale(person.z) * person.tall / 1.75
    fx, fy = camera.project([person.x, 0, person.z])
    coats = _DARK if person.dark else _COATS
    coat = linear(*coats[person.kind % len(coats)])
    trousers = linear(*_DARK[person.kind // 3 % len(_DARK)]) * (1.0 if person.dark else 2.5)
    skin, hair = linear(*_SKIN[person.kind // 2 % len(_SKIN)]), linear(35, 28, 24)
    maps = dict(emission=(0, 0, 0), label=PERSON, instance=number, distance=person.z, ground=0)
    warm = weather.body_heat
    cloth = warm * person.insulation

    def at(x: float, y: float):
        """Pixel of a body point, in metres of a 1.75 m figure.

        x is to the right and y up from the feet.
        """
        return fx + x * scale, fy - y * scale

    def limb(
        points: Sequence[tuple[float, float]],
        widths: Sequence[float],
        colours: Sequence[np.ndarray],
        temps: Sequence[float],
    ):
        for a, b, width, colour, temp in zip(points[:-1], points[1:], widths, colours, temps, strict=True):
            canvas.capsule(at(*a), at(*b), width * scale, colour, temp, **maps)

    swing = np.sin(person.phase)
    stride = 0.30 * swing * (person.facing or 0.25)
    hip, knee_up = 0.09 if not person.facing else 0.05, 0.05 * abs(swing)
    legs = []
    for side in (-1, 1):
        foot = (side * hip + side * stride, 0.06 + (0.06 * abs(swing) if side * swing > 0 else 0))
        knee = (side * hip + side * stride * 0.55 + 0.05 * person.facing, 0.48 + knee_up)
        legs.append([(side * hip, 0.92), knee, foot])
    arms = []
    for side in (-1, 1):
        reach = -side * stride * 0.8
        shoulder = (side * (0.20 if not person.facing else 0.13), 1.40)
        elbow = (shoulder[0] + side * 0.05 + reach * 0.5, 1.13)
        arms.append([shoulder, elbow, (elbow[0] + reach * 0.6 + 0.06 * person.facing, 0.90)])
    limb(arms[0], (0.10, 0.085), (coat * 0.75,) * 2, (cloth, cloth))
    for leg, light in zip(legs, (0.8, 1.0), strict=True):
        limb(leg, (0.16, 0.125), (trousers * light,) * 2, (cloth * 1.1, cloth))
        toe = (leg[-1][0] + 0.09 * person.facing, 0.035)
        limb([leg[-1], toe], (0.09,), (linear(30, 26, 24),), (cloth * 0.5,))
    half = 0.21 if not person.facing else 0.15
    torso = [(-half, 1.44), (half, 1.44), (half * 0.82, 1.12), (half * 0.86, 0.86), (-half * 0.86, 0.86)]
    torso.append((-half * 0.82, 1.12))
    canvas.fill([np.array([at(*p) for p in torso])], coat, cloth, **maps)
    limb([(0, 1.42), (0, 1.52)], (0.11,), (skin,), (warm,))
    limb(arms[1], (0.10, 0.085), (coat * 0.9,) * 2, (cloth, cloth))
    for arm in arms:
        limb([arm[-1], (arm[-1][0], arm[-1][1] - 0.05)], (0.07,), (skin,), (warm * 0.95,))
    if person.bag:
        canvas.fill([np.array([at(*p) for p in _box(0, 1.20, half * 0.75, 0.20)])], linear(50, 45, 60), cloth * 0.35)
    turn = np.linspace(0, 2 * np.pi, 17)[:-1]
    head = np.stack([0.03 * person.facing + 0.095 * np.cos(turn), 1.63 + 0.125 * np.sin(turn)], 1)
    canvas.fill([np.array([at(*p) for p in head])], skin, warm, **maps)
    cap = head[(turn > 0.1) & (turn < np.pi - 0.1)]
    canvas.fill([np.array([at(*p) for p in cap])], hair, warm * 0.7)


def _box(x: float, y: float, half_x: float, half_y: float) -> list[tuple[float, float]]:
    return [(x - half_x, y - half_y), (x + half_x, y - half_y), (x + half_x, y + half_y), (x - half_x, y + half_y)]


def paint_car(canvas: Canvas, camera: Camera, car: SimpleNamespace, weather: SimpleNamespace, number: int) -> None:
    """Paint a car from two prisms in perspective, with details.

    ``car`` has ``x`` (middle), ``z`` (near end), ``width``, ``length``, ``roof`` (metres), ``oncoming`` (front towards
    the camera), ``warm`` (has been driven), ``lights`` (switched on), ``sheen`` (light of the street that the upward
    faces mirror at night), ``kind``, ``offset`` (kelvins by which a parked car differs from what surrounds it).
    """
    paint = linear(*_PAINT[car.kind % len(_PAINT)])
    x0, x1, z0, z1 = car.x - car.width / 2, car.x + car.width / 2, car.z, car.z + car.length
    maps = dict(emission=(0, 0, 0), label=CAR, instance=number, distance=car.z, ground=0)
    hot = 6.5 if car.warm else 0.0
    belt = 0.9

    def face(points: ArrayLike, colour: np.ndarray, temp: float, **more):
        canvas.fill([camera.project(points)], colour, temp, **(maps | more))

    def inset(points: ArrayLike, amount: float):
        points = np.asarray(points, float)
        middle = points.mean(0)
        return middle + (points - middle) * amount

    sheen = linear(255, 235, 200) * (car.sheen if weather.night else 0)
    seen_x = x0 if x0 > 0 else x1 if x1 < 0 else None  # the long side that the camera sees
    tyre, glass = linear(22, 22, 24), linear(50, 60, 70)
    face([(x0, 0.2, z0 + 0.1), (x1, 0.2, z0 + 0.1), (x1, 0.2, z1), (x0, 0.2, z1)], tyre, 0.3 * hot)
    for wx in (x0 + 0.02, x1 - 0.24):
        face(
            [(wx, 0, z0 + 0.5), (wx + 0.22, 0, z0 + 0.5), (wx + 0.22, 0.4, z0 + 0.5), (wx, 0.4, z0 + 0.5)],
            tyre,
            hot * 0.9,
        )
    if seen_x is not None:
        side = [(seen_x, 0.22, z0), (seen_x, 0.22, z1), (seen_x, belt - 0.05, z1), (seen_x, belt, z0)]
        face(side, paint * 0.7, 0.15 * hot)
        turn = np.linspace(0, 2 * np.pi, 21)[:-1]
        for wz in (z0 + 0.8, z1 - 0.8):
            for radius, colour, temp in ((0.33, tyre, 0.8 * hot), (0.19, linear(130, 130, 132), 0.5 * hot)):
                ring = np.stack([np.full(20, seen_x), 0.33 + radius * np.sin(turn), wz + radius * np.cos(turn)], 1)
                face(ring, colour, temp)
    c = 0.1
    near = [(x0 + c, 0.2, z0), (x1 - c, 0.2, z0), (x1, 0.35, z0), (x1, belt - c, z0), (x1 - c, belt, z0)]
    near += [(x0 + c, belt, z0), (x0, belt - c, z0), (x0, 0.35, z0)]
    face(near, paint * 0.9, (0.9 if car.oncoming else 0.3) * hot)
    face([(x0, belt, z0), (x1, belt, z0), (x1, belt, z1), (x0, belt, z1)], paint * 1.1, 0.15 * hot, emission=sheen)
    if car.oncoming:
        bonnet = z0 + (0.9 if car.roof > 1.7 else 1.25)
        plane = [(x0, belt, z0), (x1, belt, z0), (x1, belt, bonnet), (x0, belt, bonnet)]
        face(plane, paint * 1.1, 0.7 * hot, emission=sheen)
    _paint_cabin(car, belt, seen_x, face, inset, paint, glass, hot, sheen)
    _paint_details(car, x0, x1, z0, face, hot, weather)
    if not car.warm:
        # A car parked for long has the temperature of what surrounds it.
        mask = canvas.instance == number
        canvas.temp[mask] = canvas.backdrop['temp'][mask] + car.offset


def _paint_cabin(
    car: SimpleNamespace,
    belt: float,
    seen_x: float | None,
    face: Callable[..., None],
    inset: Callable[[ArrayLike, float], np.ndarray],
    paint: np.ndarray,
    glass: np.ndarray,
    hot: float,
    sheen: np.ndarray,
) -> None:
    """A car's upper part: slanted windows on visible sides, and roof."""
    x0, x1, z0, z1 = car.x - car.width / 2 + 0.06, car.x + car.width / 2 - 0.06, car.z, car.z + car.length
    # Bonnet (towards the camera when oncoming) and boot lengths; a tall car has neither slope nor boot to speak of.
    van = car.roof > 1.7
    front, back = (0.9, 0.1) if van else (1.25, 0.55)
    zb0, zb1 = (z0 + front, z1 - back) if car.oncoming else (z0 + back, z1 - front)
    slope0, slope1 = (
        ((0.6, 0.15) if car.oncoming else (0.15, 0.6)) if van else ((0.75, 0.55) if car.oncoming else (0.55, 0.75))
    )
    zt0, zt1, tx = zb0 + slope0, zb1 - slope1, 0.16
    if seen_x is not None:
        low, high = (x0, x0 + tx) if seen_x < car.x else (x1, x1 - tx)
        side = [(low, belt, zb0), (low, belt, zb1), (high, car.roof, zt1), (high, car.roof, zt0)]
        face(side, paint * 0.75, 0.1 * hot)
        face(inset(side, 0.82), glass * 0.8, -0.4)
    near = [(x0, belt, zb0), (x1, belt, zb0), (x1 - tx, car.roof, zt0), (x0 + tx, car.roof, zt0)]
    face(near, paint * 0.85, 0.1 * hot)
    face(inset(near, 0.86), glass, 0.05 * hot - 0.6, emission=0.6 * sheen)
    top = [(x0 + tx, car.roof, zt0), (x1 - tx, car.roof, zt0), (x1 - tx, car.roof, zt1), (x0 + tx, car.roof, zt1)]
    face(top, paint * 1.15, 0.1 * hot, emission=sheen)


def _paint_details(
    car: SimpleNamespace,
    x0: float,
    x1: float,
    z0: float,
    face: Callable[..., None],
    hot: float,
    weather: SimpleNamespace,
) -> None:
    """Lights, plate, grille and bumper on an end that is seen."""

    def plate(xa: float, xb: float, ya: float, yb: float, colour: np.ndarray, temp: float, **more):
        face([(xa, ya, z0), (xb, ya, z0), (xb, yb, z0), (xa, yb, z0)], colour, temp, **more)

    plate(x0 + 0.06, x1 - 0.06, 0.22, 0.36, linear(35, 35, 38), 0.5 * hot)
    plate(car.x - 0.26, car.x + 0.26, 0.42, 0.54, linear(215, 215, 200), 0.3 * hot)
    if car.oncoming:
        plate(car.x - 0.5, car.x + 0.5, 0.58, 0.76, linear(28, 28, 30), 1.2 * hot)
    elif car.warm:
        plate(x0 + 0.25, x0 + 0.5, 0.2, 0.32, linear(30, 30, 30), 2.0 * hot)
    colour = linear(235, 235, 225) if car.oncoming else linear(170, 25, 20)
    strength = 0.0
    if car.lights:
        strength = (22.0 if car.oncoming else 2.2) if weather.night else 1.0
    glow = (linear(255, 245, 225) if car.oncoming else linear(255, 40, 25)) * strength
    for xa in (x0 + 0.08, x1 - 0.42):
        plate(xa, xa + 0.34, 0.6, 0.76, colour, 0.5 * hot, emission=glow)


def paint_lamp(canvas: Canvas, camera: Camera, lamp: SimpleNamespace, weather: SimpleNamespace) -> np.ndarray:
    """A street lamp whose head glows at night, and is hardly warm."""
    maps = dict(label=LAMP, distance=lamp.z, ground=0, instance=0)
    grey = linear(95, 100, 105)
    scale = camera.scale(lamp.z)
    foot, top = camera.project([[lamp.x, 0, lamp.z], [lamp.x, lamp.tall, lamp.z]])
    end = camera.project([lamp.x - np.sign(lamp.x) * 1.4, lamp.tall + 0.25, lamp.z])
    knee = camera.project([lamp.x, lamp.tall * 0.25, lamp.z])
    pole, heat = dict(emission=(0, 0, 0), **maps), passive_heat(weather, 0.4, 0.4)
    canvas.capsule(foot, top, 0.12 * scale, grey, heat, **pole)
    canvas.capsule(foot, knee, 0.2 * scale, grey * 0.8, heat, **pole)
    canvas.capsule(top, end, 0.09 * scale, grey, heat, **pole)
    lit = weather.night and lamp.lit
    glow = linear(*lamp.colour) * (30 if lit else 0)
    head = np.array(_box(end[0], end[1], 0.34 * scale, max(0.09 * scale, 0.7)))
    canvas.fill([head], linear(190, 190, 185), heat + (1.5 if lit else 0), emission=glow, **maps)
    return end
