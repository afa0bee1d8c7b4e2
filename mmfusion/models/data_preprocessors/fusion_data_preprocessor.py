"""From a batch of 8-bit pairs to the tensors that networks take."""

import torch
from mmengine.model import BaseDataPreprocessor

from mmfusion.registry import MODELS


@MODELS.register_module()
class FusionDataPreprocessor(BaseDataPreprocessor):
    """Split pairs into ``vi`` and ``ir`` in [0, 1], on the model's device.

    Images of one size are stacked. Images of several sizes stay a list: they are never padded, because padding would
    enter pooling, attention and the min-max of a network and change every pixel of the fused image.
    """

    def forward(self, data, training=False):
        """Prepare a batch.

        Args:
            data (dict): ``inputs``: 4×H×W uint8 tensors (B, G, R, IR), or 3×H×W of single images, a list or stacked;
                ``data_samples``: list or None.
            training (bool): Unused; the interface of mmengine.

        Returns:
            dict: ``inputs``, a dict of ``vi`` (N×3×H×W, R, G, B) and ``ir`` (N×1×H×W), float32 in [0, 1], or lists of
            3×H×W and 1×H×W where sizes differ; without ``ir`` for single images; and ``data_samples``.

        Raises:
            ValueError: If an image has neither four channels nor three, or is not uint8.
        """
        data = self.cast_data(data)
        images = list(data['inputs'])
        for image in images:
            if image.ndim != 3 or image.shape[0] not in (3, 4) or image.shape[0] != images[0].shape[0]:
                raise ValueError(
                    f'inputs must be 4×H×W pairs (B, G, R, IR), or all 3×H×W single images, got {tuple(image.shape)}. Load '
                    'with LoadImagePair and pack with PackFusionInputs.'
                )
            if image.dtype != torch.uint8:
                raise ValueError(
                    f'inputs must be uint8 in 0…255, which this preprocessor scales to [0, 1]; got {image.dtype}. Pack '
                    'with PackFusionInputs, and leave scaling out of the pipeline.'
                )
        if len({image.shape for image in images}) == 1:
            batch = torch.stack(images).float() / 255
            sources = dict(vi=batch[:, [2, 1, 0]], ir=batch[:, 3:])
        else:
            scaled = [image.float() / 255 for image in images]
            sources = dict(vi=[image[[2, 1, 0]] for image in scaled], ir=[image[3:] for image in scaled])
        if images[0].shape[0] == 3:
            del sources['ir']
        return dict(inputs=sources, data_samples=data.get('data_samples'))
