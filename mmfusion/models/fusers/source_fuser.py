"""No fusion at all: what a fused image must be better than."""

from mmfusion.registry import MODELS

from .image_fuser import ImageFuser

SOURCES = ('visible', 'infrared', 'average')


@MODELS.register_module()
class SourceFuser(ImageFuser):
    """Hand on one of the sources, or the average of both: the baselines of downstream evaluation.

    It stands where an :class:`ImageFuser` stands, in a cascade for instance, and learns nothing.

    Args:
        source (str): ``'visible'``; ``'infrared'``, grey in three channels; or ``'average'``: the mean of each
            colour channel and the infrared image, as ``FuseImages(source='average')`` takes it in 8 bits.
        data_preprocessor (dict, optional): Default :class:`FusionDataPreprocessor`.

    Raises:
        ValueError: Unknown source.
    """

    def __init__(self, source, data_preprocessor=None):
        if source not in SOURCES:
            raise ValueError(f'source must be one of {", ".join(SOURCES)}, got {source!r}')
        super().__init__(network=dict(type='mmfusion.AverageNetwork'), data_preprocessor=data_preprocessor)
        self.source = source

    def fuse(self, vi, ir, data_samples=None):
        """The source images in the form of ``vi``: N×3×H×W, or a list of 3×H×W; R, G, B in [0, 1]."""
        if isinstance(vi, list | tuple):
            return [self.fuse(v[None], i[None])[0] for v, i in zip(vi, ir, strict=True)]
        if self.source == 'visible':
            return vi
        return ir.expand(-1, 3, -1, -1) if self.source == 'infrared' else (vi + ir) / 2
