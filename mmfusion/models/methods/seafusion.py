"""SeAFusion: the network of "Image fusion in the loop of high-level vision tasks" (Tang, Yuan, Ma, 2022).

Its loop of alternating training is a config (configs/seafusion); see docs/methods/seafusion.md.
"""

from mmfusion.registry import MODELS

from .gffusion import GFFusion


@MODELS.register_module()
class SeAFusion(GFFusion):
    """SeAFusion's network: GFFusion's FuNet, which was made from it, with two GRDBs and without injection.

    For each modality a 3×3 convolution to 16 channels with LeakyReLU and two gradient residual dense blocks, 16 → 32 → 48;
    both concatenated, 96 channels; 3×3 convolutions 96 → 64 → 32 → 16 with BN and LeakyReLU and a last one to the fused
    image with Tanh, mapped to [0, 1] by (x + 1) / 2.

    The paper's losses are, in a config: L_int + 10 L_texture, :class:`MaxIntensityLoss` and :class:`TextureLoss` with
    ``separate=False`` (the content loss); and a segmenter's loss on the fused image, L_main + 0.1 L_aux, with the weight
    λ = γ (m − 1) in round m of M = 4, γ = 1 (:func:`alternating_rounds`).

    Args:
        channels (Sequence[int]): Channels of a modality after the first convolution and after each GRDB.
        decoder_channels (Sequence[int]): Channels between the concatenated features and the image.
        negative_slope (float): Of the LeakyReLUs.
    """

    def __init__(self, channels=(16, 32, 48), decoder_channels=(64, 32, 16), negative_slope=0.2):
        super().__init__(channels, decoder_channels, injection=False, negative_slope=negative_slope)
