"""A page of the browser with pairs and what methods make."""

import time
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mmfusion.apis import FusionInferencer
from mmfusion.utils import check_reading, list_images, read_pair, read_shown, shorten

from .entrants import Entrant, Pairs

if TYPE_CHECKING:
    import gradio

_ERRORS = (ValueError, RuntimeError, OSError, ImportError)
# Pairs and fused images that are kept, so that going back and moving sliders reads and fuses nothing.
_KEPT = 64


class PairViewer:
    """Give the images of a pair, as they are asked for.

    Args:
        pairs: From :func:`~mmfusion.comparison.entrants.open_data`.
        entrants: From :func:`~mmfusion.comparison.methods.prepare`. A model is built when its first image is asked for.
        device: Where the models run; by default a GPU where there is one.
        fused_pattern: Names of the images in given folders; see :class:`mmfusion.utils.NamePattern`.
        **reading: How images become 8 bits; see :func:`mmfusion.utils.check_reading`.

    Raises:
        ValueError: If a folder of fused images lacks one of the pairs.
    """

    def __init__(
        self,
        pairs: Pairs,
        entrants: Sequence[Entrant],
        device: str | None = None,
        fused_pattern: str | None = None,
        **reading: object,
    ) -> None:
        self.files = {name: (vi, ir) for name, vi, ir in pairs.items}
        self.entrants = {entrant.name: entrant for entrant in entrants}
        self.names, self.methods = list(self.files), list(self.entrants)
        self.given = {e.name: list_images(e.folder, fused_pattern) for e in entrants if e.folder}
        for method, images in self.given.items():
            absent = [name for name in self.files if name not in images]
            if absent:
                folder = self.entrants[method].folder
                raise ValueError(f'{folder}: no fused image of {len(absent)} of the pairs: {shorten(absent, 5)}.')
        self._device, self._reading = device, check_reading(**reading)
        self.sources = lru_cache(_KEPT)(self._sources)
        self._kept = lru_cache(_KEPT)(self._fused)
        self._one = Lock()  # a page calls from several threads
        self._model = lru_cache(None)(self._build)

    def neighbour(self, name: str, step: int) -> str:
        """Find the pair some steps on; the first follows the last."""
        return self.names[(self.names.index(name) + step) % len(self.files)]

    def _sources(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Visible and infrared image, each H×W×3 uint8 (R, G, B)."""
        vi, ir = read_pair(*self.files[name], **self._reading)
        return vi[..., ::-1].copy(), cv2.cvtColor(ir, cv2.COLOR_GRAY2RGB)

    def _build(self, method: str) -> FusionInferencer:
        entrant = self.entrants[method]
        return FusionInferencer(entrant.config, entrant.weights, self._device, show_progress=False, **self._reading)

    def fused(self, name: str, method: str) -> tuple[np.ndarray, float | None]:
        """Give a fused image, H×W×3 uint8 (R, G, B), and its seconds."""
        with self._one:
            return self._kept(name, method)

    def _fused(self, name: str, method: str) -> tuple[np.ndarray, float | None]:
        if method in self.given:
            image = read_shown(self.given[method][name], 'result')
            return (image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))[..., ::-1].copy(), None
        model = self._model(method)  # building it is not counted
        start = time.perf_counter()
        image = model(*self.files[name])
        return image[..., ::-1].copy(), time.perf_counter() - start

    def blend(self, name: str, method: str, position: float) -> np.ndarray:
        """Fade from visible (0) over fused (0.5) to infrared (1): H×W×3 uint8."""
        (visible, infrared), (fused, _) = self.sources(name), self.fused(name, method)
        share = abs(2 * position - 1)
        return cv2.addWeighted(visible if position < 0.5 else infrared, share, fused, 1 - share, 0)

    def side_by_side(self, name: str) -> list[tuple[np.ndarray, str]]:
        """Both sources and the image of each method, with captions."""
        shown = list(zip(self.sources(name), ('visible', 'infrared'), strict=True))
        for method in self.methods:
            image, seconds = self.fused(name, method)
            shown.append((image, method if seconds is None else f'{method}, {seconds:.2g} s'))
        return shown


def require_gradio() -> None:
    """Refuse to go on without gradio, by a ``RuntimeError``."""
    if find_spec('gradio') is None:
        raise RuntimeError("mmfusion view needs the package gradio: pip install 'mmfusion[view]'.")


def build_page(viewer: PairViewer) -> 'gradio.Blocks':
    """Build the page: a pair, sliders between its images, and all methods."""
    require_gradio()
    import gradio as gr

    def said(function):
        """Show an error about a file or a model in the page."""

        def run(*args):
            try:
                return function(*args)
            except _ERRORS as e:
                raise gr.Error(str(e)) from e

        return run

    def of_method(name, method, position):
        (visible, infrared), (fused, _) = viewer.sources(name), viewer.fused(name, method)
        return (visible, fused), (infrared, fused), viewer.blend(name, method, position)

    def of_pair(name, method, position):
        return *of_method(name, method, position), viewer.side_by_side(name)

    # No font of other machines: the page works without a network.
    theme = gr.themes.Base(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'])
    first, method = viewer.names[0], viewer.methods[0]
    image = dict(format='png', interactive=False)
    with gr.Blocks(title='mmfusion view', theme=theme, analytics_enabled=False) as page:
        with gr.Row(equal_height=True):
            before = gr.Button('◀', scale=0, min_width=60)
            pair = gr.Dropdown(viewer.names, value=first, label=f'Pair, one of {len(viewer.names)}', scale=3)
            after = gr.Button('▶', scale=0, min_width=60)
            chosen = gr.Dropdown(viewer.methods, value=method, label='Method', scale=2)
        with gr.Row():
            visible = gr.ImageSlider(label='visible | fused', **image)
            infrared = gr.ImageSlider(label='infrared | fused', **image)
        with gr.Row():
            with gr.Column(scale=1):
                position = gr.Slider(0, 1, 0.5, step=0.05, label='visible … fused … infrared')
                faded = gr.Image(label='faded', show_label=False, **image)
            with gr.Column(scale=2):
                columns = 2 if len(viewer.methods) < 3 else 3
                gallery = gr.Gallery(
                    label='side by side', columns=columns, height='auto', object_fit='contain', format='png'
                )

        inputs, outputs = [pair, chosen, position], [visible, infrared, faded]
        for event in (page.load, pair.change):
            event(said(of_pair), inputs, [*outputs, gallery])
        chosen.change(said(of_method), inputs, outputs)
        position.input(said(viewer.blend), inputs, faded)
        before.click(lambda name: viewer.neighbour(name, -1), pair, pair)
        after.click(lambda name: viewer.neighbour(name, 1), pair, pair)
    return page
