"""From a batch of 8-bit pairs to the tensors that networks take."""

import torch
from mmengine.model import BaseDataPreprocessor

from mmfusion.registry import MODELS


@MODELS.register_module()
class FusionDataPreprocessor(BaseDataPreprocessor):
    """Split pairs into ``vi`` and ``ir``, in [0, 1], on the device.

    Images of one size are stacked. Images of several sizes stay a list: they are never padded, because padding would
    enter pooling, attention and the min-max of a network and change every pixel of the fused image.

    Args:
        stretch: Stretch each image to its own minimum and maximum in training (public code of OCCO): those of the whole
            image, over all channels, as ``LoadImagePair(value_range=True)`` records them. An even image becomes 0.
    """

    def __init__(self, stretch: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.stretch = stretch

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: ``inputs``: 4×H×W uint8 tensors (B, G, R, IR), or 3×H×W of single images, a list or stacked;
                ``data_samples``: list or None.
            training: Whether ``stretch`` applies.

        Returns:
            ``inputs``, a dict of ``vi`` (N×3×H×W, R, G, B) and ``ir`` (N×1×H×W), float32 in [0, 1], or lists of
            3×H×W and 1×H×W where sizes differ; without ``ir`` for single images; and ``data_samples``.

        Raises:
            ValueError: If an image has neither four channels nor three, is not uint8, or is to be stretched and its
                sample has no ``value_range``.
        """
        data = self.cast_data(data)
        if 'inputs' not in data:
            raise ValueError(
                f'a batch holds {", ".join(map(str, data)) or "nothing"}, and no inputs. End the pipeline of the dataset '
                'with mmfusion.PackFusionInputs.'
            )
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
        if self.stretch and training:
            self._stretch(sources, data.get('data_samples') or [None] * len(images))
        return dict(inputs=sources, data_samples=data.get('data_samples'))

    @staticmethod
    def _stretch(sources: dict, samples: list) -> None:
        """Stretch sources by the range that each sample records."""
        for k, sample in enumerate(samples):
            bounds = sample.get('value_range') if sample is not None else None
            if bounds is None:
                name = sample.get('img_path') if sample is not None else 'a batch without data samples'
                raise ValueError(
                    f'{name}: no value_range, by which FusionDataPreprocessor(stretch=True) stretches images. Set '
                    'value_range=True in LoadImagePair of the training pipeline.'
                )
            for (name, images), (low, high) in zip(sources.items(), bounds, strict=True):
                sources[name][k] = (images[k] * 255 - low) / max(1, high - low)
