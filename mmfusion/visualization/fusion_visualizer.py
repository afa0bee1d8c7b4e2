"""Panels of sources and fused image."""

import cv2
import numpy as np
from mmengine.visualization import Visualizer

from mmfusion.registry import VISUALIZERS
from mmfusion.utils import to_bgr, write_image


def panel(images, titles=(), gap=4):
    """Put images of one height side by side, each with its title.

    Images are H×W×3 uint8, B, G, R; titles as many, or none; ``gap`` are white pixels between them.
    """
    tiles = []
    for k, image in enumerate(images):
        if titles:
            bar = np.full((24, image.shape[1], 3), 255, np.uint8)
            cv2.putText(bar, titles[k], (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
            image = np.concatenate([bar, image])
        if k:
            tiles.append(np.full((image.shape[0], gap, 3), 255, np.uint8))
        tiles.append(image)
    return np.concatenate(tiles, axis=1)


@VISUALIZERS.register_module()
class FusionLocalVisualizer(Visualizer):
    """Draws a pair and its fused image side by side."""

    def add_datasample(self, name, image, data_sample=None, show=False, wait_time=0, out_file=None, step=0, **kwargs):
        """Draw one sample, H×W×4 uint8 (B, G, R, IR), and its ``fused``.

        ``out_file`` is where the panel is written; ``show``, ``wait_time`` and ``step`` are as in mmengine.
        """
        tiles = [np.ascontiguousarray(image[..., :3]), np.repeat(image[..., 3:], 3, axis=2)]
        titles = ['visible', 'infrared']
        if data_sample is not None and 'fused' in data_sample:
            fused = to_bgr(data_sample.fused.data)
            if fused.shape[:2] != image.shape[:2]:
                fused = cv2.resize(fused, image.shape[1::-1])
            tiles.append(fused)
            titles.append('fused')
        drawn = panel(tiles, titles)
        self.set_image(drawn[..., ::-1])
        if show:
            self.show(drawn[..., ::-1], win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_image(out_file, drawn)
        self.add_image(name, drawn[..., ::-1], step)
