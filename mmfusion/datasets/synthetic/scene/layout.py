"""What stands where in a synthetic scene."""

from types import SimpleNamespace

import numpy as np

from .canvas import CAR, PERSON, Camera, Canvas
from .objects import paint_car, paint_lamp, paint_person
from .surfaces import paint_building, paint_ground, paint_plant, paint_sky, paint_skyline


def compose_scene(seed: int, index: int, size: tuple[int, int]) -> tuple[Canvas, Camera, SimpleNamespace]:
    """Choose and paint a scene.

    The layout is drawn in metres from its own random stream, so that one (seed, index) gives one scene at every size.

    Args:
        seed, index: Which scene. Every second one is a night scene.
        size: Height and width in pixels.

    Returns:
        The painted maps, the camera, and ``weather``, ``street`` and the lists
        ``objects`` (persons and cars; the position in the list + 1 is the number in ``canvas.instance``) and ``lamps``.
    """
    h, w = size
    rng = np.random.default_rng([seed, index, 0])
    canvas = Canvas(size, np.random.default_rng([seed, index, 1]))
    camera = Camera(
        focal=1.2 * h,
        centre=w * rng.uniform(0.38, 0.62),
        horizon=h * rng.uniform(0.36, 0.46),
        height=rng.uniform(2.0, 2.8),
    )
    weather = _weather(rng, night=bool((seed + index) % 2))
    street = SimpleNamespace(
        half_width=rng.uniform(3.6, 5.2),
        dash=rng.uniform(0, 8),
        crossing=rng.uniform(8, 16) if rng.random() < 0.4 else None,
        road_colour=(rng.uniform(75, 105),) * 3,
        pavement_colour=rng.uniform([125, 118, 108], [150, 145, 138]),
    )
    street.wall = street.half_width + rng.uniform(2.6, 4.0)
    backdrop = _backdrop(rng, street)
    props = _props(rng, street)
    cars = _cars(rng, street, weather)
    persons = _persons(rng, street, weather, cars)

    paint_sky(canvas, camera, weather)
    paint_skyline(canvas, camera, weather)
    paint_ground(canvas, camera, street, weather)
    for item in sorted(backdrop, key=lambda item: -item.z):
        (paint_building if item.what == 'building' else paint_plant)(canvas, camera, item, weather)
    canvas.remember_backdrop()
    objects = cars + persons
    for number, item in enumerate(objects, 1):
        item.number = number
    lamps = [p for p in props if p.what == 'lamp']
    for item in sorted(objects + props, key=lambda item: -item.z):
        if item.what == 'car':
            paint_car(canvas, camera, item, weather, item.number)
        elif item.what == 'person':
            paint_person(canvas, camera, item, weather, item.number)
        elif item.what == 'lamp':
            item.head = paint_lamp(canvas, camera, item, weather)
        else:
            paint_plant(canvas, camera, item, weather)
    return canvas, camera, SimpleNamespace(weather=weather, street=street, objects=objects, lamps=lamps)


def _weather(rng: np.random.Generator, night: bool) -> SimpleNamespace:
    """Light, heat and haze, in kelvins above the air; see `passive_heat`."""
    hot = not night and rng.random() < 0.3
    return SimpleNamespace(
        night=night,
        cloud=rng.uniform(0.1, 1.0),
        sun_heat=rng.uniform(-0.8, 0.2) if night else (rng.uniform(5.5, 8.0) if hot else rng.uniform(0.3, 2.5)),
        contrast=1.0 if hot else rng.uniform(0.1, 0.5),
        body_heat=rng.uniform(8, 11),
        fog=rng.uniform(18, 40) if rng.random() < 0.15 else 400.0,
        smoke=int(rng.choice([0, 1, 2, 3], p=[0.5, 0.3, 0.15, 0.05])),
        ambient=rng.uniform(0.01, 0.06) if night else rng.uniform(0.75, 1.1),
        sun=rng.uniform(-1, 1),
        warm_light=rng.uniform(0, 1),
        own_lights=rng.uniform(0.1, 0.4) if night and rng.random() < 0.5 else 0.0,
    )


def _backdrop(rng: np.random.Generator, street: SimpleNamespace) -> list[SimpleNamespace]:
    """Buildings on both sides, with green gaps between them."""
    items = []
    for side in (-1, 1):
        z = rng.uniform(2.5, 9)
        while z < 75:
            length = rng.uniform(7, 16)
            if rng.random() < 0.62:
                items.append(
                    SimpleNamespace(
                        what='building',
                        side=side,
                        x=street.wall,
                        near=z,
                        far=z + length,
                        z=z,
                        height=rng.uniform(4.5, 13),
                        kind=int(rng.integers(100)),
                    )
                )
            else:
                for _ in range(int(rng.integers(2, 5))):
                    items.append(
                        SimpleNamespace(
                            what='plant',
                            x=side * (street.wall + rng.uniform(0.8, 6)),
                            z=z + rng.uniform(0, length),
                            trunk=rng.choice([0.0, 0.0, 2.0]),
                            radius=rng.uniform(1.2, 2.6),
                            tall=rng.uniform(0.8, 2.2),
                            kind=int(rng.integers(100)),
                        )
                    )
            z += length + rng.uniform(0, 2)
    return items


def _props(rng: np.random.Generator, street: SimpleNamespace) -> list[SimpleNamespace]:
    """Street lamps on one side and trees on the pavements."""
    side = rng.choice([-1, 1])
    colour = (255, 225, 170) if rng.random() < 0.6 else (235, 240, 255)
    first = rng.uniform(7, 14)
    props = [
        SimpleNamespace(
            what='lamp',
            x=side * (street.half_width + 0.5),
            z=first + 15 * k,
            tall=rng.uniform(5.2, 5.6),
            colour=colour,
            lit=rng.random() < 0.9,
        )
        for k in range(4)
    ]
    for _ in range(int(rng.integers(0, 4))):
        props.append(
            SimpleNamespace(
                what='plant',
                x=rng.choice([-1, 1]) * (street.wall - rng.uniform(0.5, 1.2)),
                z=rng.uniform(9, 40),
                trunk=rng.uniform(1.9, 2.6),
                radius=rng.uniform(1.1, 1.9),
                tall=rng.uniform(1.2, 1.9),
                kind=int(rng.integers(100)),
            )
        )
    return props


def _cars(rng: np.random.Generator, street: SimpleNamespace, weather: SimpleNamespace) -> list[SimpleNamespace]:
    """Cars parked at kerbs or driven in lanes; none overlaps another."""
    cars = []
    for _ in range(int(rng.integers(2, 7))):
        parked = rng.random() < 0.65
        side = rng.choice([-1, 1])
        van = rng.random() < 0.2
        width, length = rng.uniform(1.7, 1.85), rng.uniform(4.6, 5.2) if van else rng.uniform(3.9, 4.5)
        # Cars keep to the right: those on the left of the picture come towards the camera.
        car = SimpleNamespace(
            what='car',
            label=CAR,
            x=side * (street.half_width - 1.05 if parked else street.half_width * 0.36),
            z=rng.uniform(6.5, 30),
            width=width,
            length=length,
            roof=rng.uniform(1.85, 2.0) if van else rng.uniform(1.4, 1.5),
            oncoming=bool(side < 0),
            warm=not parked or rng.random() < 0.15,
            lights=not parked,
            kind=int(rng.integers(100)),
            offset=rng.uniform(-0.25, 0.25),
            sheen=rng.uniform(0.005, 0.08),
        )
        if all(
            abs(car.x - c.x) > 0.5 * (car.width + c.width) + 0.15
            or car.z > c.z + c.length + 0.7
            or c.z > car.z + car.length + 0.7
            for c in cars
        ):
            cars.append(car)
    return cars


def _persons(
    rng: np.random.Generator, street: SimpleNamespace, weather: SimpleNamespace, cars: list[SimpleNamespace]
) -> list[SimpleNamespace]:
    """Walkers on pavements and road, clear of cars and each other."""
    persons = []
    for _ in range(int(rng.integers(2, 8))):
        on_road = rng.random() < 0.35
        reach = street.half_width - 0.3
        x = rng.uniform(-reach, reach) if on_road else rng.choice([-1, 1]) * rng.uniform(reach + 0.7, street.wall - 0.4)
        person = SimpleNamespace(
            what='person',
            label=PERSON,
            x=x,
            z=rng.uniform(5.5, 10) if rng.random() < 0.45 else rng.uniform(10, 26),
            tall=rng.uniform(1.55, 1.9),
            phase=rng.uniform(0, 2 * np.pi),
            facing=int(rng.choice([-1, 0, 0, 1])),
            dark=rng.random() < (0.8 if weather.night else 0.3),
            kind=int(rng.integers(1000)),
            bag=rng.random() < 0.25,
            insulation=rng.uniform(0.55, 0.95),
        )
        clear = all(
            abs(x - c.x) > c.width / 2 + 0.4 or person.z < c.z - 0.4 or person.z > c.z + c.length + 0.4 for c in cars
        )
        if clear and all(np.hypot(x - p.x, person.z - p.z) > 0.7 for p in persons):
            persons.append(person)
    return persons
