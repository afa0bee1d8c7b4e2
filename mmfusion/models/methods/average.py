"""The mean of both images: the baseline that every fusion network must beat."""

from torch import nn

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
