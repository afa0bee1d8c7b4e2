"""Plain sources and their mean: what every fusion network must beat."""

from torch import Tensor, nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class AverageNetwork(nn.Module):
    """Fused = (vi + ir) / 2; it has no parameters."""

    def forward(self, vi, ir):
        """Average.

        Args:
            vi, ir (Tensor): N×1×H×W in [0, 1].

        Returns:
            Tensor: N×1×H×W in [0, 1].
        """
        return (vi + ir) / 2


SOURCES = ('visible', 'infrared', 'average')


@MODELS.register_module()
class SourceNetwork(nn.Module):
    """Hand on a source, or the average of both, in colour.

    With ``color=dict(type='mmfusion.RGBColor')`` it stands where a fusion network stands, and learns nothing.

    Args:
        source: ``'visible'``; ``'infrared'``, grey in three channels; or ``'average'``: the mean of each colour channel and
            the infrared image, as ``FuseImages(source='average')`` takes it in 8 bits.

    Raises:
        ValueError: If the source is unknown.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        if source not in SOURCES:
            raise ValueError(f'source must be one of {", ".join(SOURCES)}, got {source!r}')
        self.source = source

    def forward(self, vi_rgb: Tensor, ir: Tensor) -> Tensor:
        """Give the source of N×3×H×W visible and N×1×H×W infrared images; N×3×H×W."""
        if self.source == 'visible':
            return vi_rgb
        return ir.expand(-1, 3, -1, -1) if self.source == 'infrared' else (vi_rgb + ir) / 2
