"""ReFusion: a network whose loss is learned by reconstruction.

*ReFusion: Learning Image Fusion from Reconstruction with Learnable Loss via Meta-Learning*; Bai, Zhao, Zhang, Wu, Deng,
Cui, Jiang, Xu; International Journal of Computer Vision, 2024.

The fusion module: for each source a convolution and Restormer blocks; cross attention over channels between the two, and a
gated merge; Restormer blocks and two convolutions to the fused image.

In training, a loss proposal module weighs the sources pixel by pixel in the fusion loss, and a reconstruction module makes
both sources of the fused image. The proposal learns so that a fusion module that follows it leaves an image that is easier
to reconstruct from (:class:`ReFusionFuser`).

Of the public code (HaowenBai/ReFusion): it has the fusion module and its weights, and no training; each convolution stands
twice in its files, under two names of one parameter. Training is here as its authors published it with a task in the place
of reconstruction (HaowenBai/TDFusion, CVPR 2025): proposal module, losses, updates and their numbers. The reconstruction
module and its loss are ours.
"""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmfusion.models.fusers import ImageFuser
from mmfusion.models.fusers.color import luminance
from mmfusion.models.layers import MDTA, RestormerBlock, sobel
from mmfusion.registry import MODELS
from mmfusion.utils import replace_all


def _depthwise(cin: int, cout: int) -> nn.Sequential:
    """1×1 convolution and depth-wise 3×3 convolution, without bias."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, 1, bias=False), nn.Conv2d(cout, cout, 3, padding=1, groups=cout, bias=False)
    )


def _conv3(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1, bias=False)


def _blocks(channels: int, number: int, **options) -> nn.Sequential:
    return nn.Sequential(*(RestormerBlock(channels, **options) for _ in range(number)))


class CrossFusion(nn.Module):
    """Merge features of two sources, C channels each, to 2C.

    Each source attends to itself by the other's queries: x₁ ← x₁ + softmax(τ₁ Q₂K₁ᵀ) V₁, and the reverse. Of x = [x₁, x₂],
    g₁ and g₂ are gates; the result is x + Σₖ Pₖ(GELU(gₖ) ⊙ Dₖ xₖ).

    Args:
        channels: C.
        num_heads: Of the attention.
        expansion: Width of a gate as a multiple of C.
    """

    def __init__(self, channels: int, num_heads: int, expansion: int = 4) -> None:
        super().__init__()
        wide = channels * expansion
        self.attn = nn.ModuleDict({name: MDTA(channels, num_heads) for name in ('ir', 'vi')})
        self.gate = _depthwise(2 * channels, 2 * wide)
        self.value = nn.ModuleDict({name: _depthwise(channels, wide) for name in self.attn})
        self.project = nn.ModuleDict({name: nn.Conv2d(wide, 2 * channels, 1, bias=False) for name in self.attn})

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Merge N×C×H×W each to N×2C×H×W."""
        (q_ir, *kv_ir), (q_vi, *kv_vi) = self.attn['ir'].heads(ir), self.attn['vi'].heads(vi)
        ir = ir + self.attn['ir'].attend(q_vi, *kv_ir, ir.shape[2:])
        vi = vi + self.attn['vi'].attend(q_ir, *kv_vi, vi.shape[2:])
        both = torch.cat([ir, vi], 1)
        gates = self.gate(both).chunk(2, dim=1)
        for name, source, gate in zip(self.attn, (ir, vi), gates, strict=True):
            both = both + self.project[name](F.gelu(gate) * self.value[name](source))
        return both


@MODELS.register_module()
class ReFusion(nn.Module):
    """Fuse by Restormer blocks and cross attention of both sources.

    Args:
        channels: C of a source; 2C after the merge. A multiple of ``num_heads``.
        num_blocks: Restormer blocks of a source, and after the merge.
        num_heads: Of every attention.
        expansion: Width of the blocks' gated MLP as a multiple of their channels.
    """

    def __init__(self, channels: int = 16, num_blocks: int = 2, num_heads: int = 8, expansion: float = 2) -> None:
        super().__init__()

        c, options = channels, dict(num_heads=num_heads, expansion=expansion)
        self.embed = nn.ModuleDict({name: _conv3(1, c) for name in ('ir', 'vi')})
        self.encoder = nn.ModuleDict({name: _blocks(c, num_blocks, **options) for name in self.embed})
        self.fusion = CrossFusion(c, num_heads)
        self.decoder = _blocks(2 * c, num_blocks, **options)
        self.head = nn.Sequential(_conv3(2 * c, c), nn.LeakyReLU(), _conv3(c, 1), nn.Sigmoid())

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in (0, 1)."""
        vi, ir = (self.encoder[name](self.embed[name](x)) for name, x in (('vi', vi), ('ir', ir)))
        return self.head(self.decoder(self.fusion(vi, ir)))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters; of two names the last counts."""
        names = {'.conv.': '.', '.body.': '.', 'attn.project_out': 'attn.project', 'ffn.project_in': 'ffn.expand'}
        names |= {'ffn.project_out': 'ffn.project', 'project_out_0': 'head.0', 'project_out_1': 'head.2'}
        for k, source in (('1', 'ir'), ('2', 'vi')):
            names |= {
                f'project_in_{k}': f'embed.{source}',
                f'encoder{k}': f'encoder.{source}',
                f'FM.temperature{k}': f'fusion.attn.{source}.temperature',
                f'FM.qkv{k}_dwconv': f'fusion.attn.{source}.dwconv',
                f'FM.qkv{k}': f'fusion.attn.{source}.qkv',
                f'FM.project_mid{k}': f'fusion.attn.{source}.project',
                f'FM.project_E{k}_d': f'fusion.value.{source}.1',
                f'FM.project_E{k}': f'fusion.value.{source}.0',
                f'FM.project_out{k}': f'fusion.project.{source}',
            }
        names |= {'FM.project_E_d': 'fusion.gate.1', 'FM.project_E': 'fusion.gate.0'}
        names |= {'qkv_dwconv': 'depthwise', 'dwconv': 'depthwise'}
        return {replace_all(name, names): value for name, value in state.items()}


@MODELS.register_module()
class ReFusionProposal(nn.Module):
    """Propose the sources' weights in the fusion loss, for each pixel.

    Args:
        channels: C of a source.
        num_blocks: Restormer blocks of a source, and of both.
        num_heads, expansion: Of the blocks.
    """

    def __init__(self, channels: int = 16, num_blocks: int = 2, num_heads: int = 8, expansion: float = 2) -> None:
        super().__init__()
        c, options = channels, dict(num_heads=num_heads, expansion=expansion)
        self.encoder = nn.ModuleDict(
            {name: nn.Sequential(_conv3(1, c), _blocks(c, num_blocks, **options)) for name in ('ir', 'vi')}
        )
        self.head = nn.Sequential(
            _blocks(2 * c, num_blocks, **options), _conv3(2 * c, c), nn.PReLU(), _conv3(c, 2), nn.Softmax(1)
        )

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Weigh N×1×H×W images: N×2×H×W, infrared first, of sum 1."""
        return self.head(torch.cat([self.encoder['ir'](ir), self.encoder['vi'](vi)], 1))


@MODELS.register_module()
class ReFusionReconstructor(nn.Module):
    """Reconstruct both sources from the fused image; the form is ours.

    Args:
        channels: C.
        num_blocks, num_heads, expansion: Of its Restormer blocks.
    """

    def __init__(self, channels: int = 16, num_blocks: int = 2, num_heads: int = 8, expansion: float = 2) -> None:
        super().__init__()
        c, options = channels, dict(num_heads=num_heads, expansion=expansion)
        self.layers = nn.Sequential(
            _conv3(1, c), _blocks(c, num_blocks, **options), _conv3(c, c), nn.PReLU(), _conv3(c, 2), nn.Sigmoid()
        )

    def forward(self, fused: Tensor) -> Tensor:
        """Give infrared and visible image, N×2×H×W, from N×1×H×W."""
        return self.layers(fused)


@MODELS.register_module()
class ReFusionFuser(ImageFuser):
    """Train a fusion network by a loss that is learned by reconstruction.

    In every step of training, the network learns from the fusion loss with the proposed weights w, and the reconstructor
    from the fused image: mean (w_ir (f − ir))² + mean (w_vi (f − vi))² + ‖∂f − ∂*‖₁, where ∂* is, of either Sobel
    derivative, the source's with the larger magnitude; and the mean squared error of both reconstructions.

    Every ``meta_interval`` steps, first, the proposal learns by two halves of the batch: copies of network and reconstructor
    take a step of gradient descent on one half, and the reconstruction error that they have on the other half is
    followed back, through the copy of the network, to the proposal. Its step is of the size ``meta_lr``: the gradient
    is divided by its largest entry. No optimizer sees the proposal.

    Args:
        proposal: Config of the loss proposal module; a model for testing needs none.
        reconstructor: Config of the source reconstruction module.
        meta_interval: How often the proposal learns.
        meta_lr: Learning rate of the copies and of the proposal.
        **kwargs: Those of :class:`ImageFuser`; losses are added to those of the class.

    Raises:
        ValueError: In training, if a batch has a single pair.
    """

    training_only = ('losses', 'proposal', 'reconstructor')

    def __init__(
        self,
        proposal: dict | None = None,
        reconstructor: dict | None = None,
        meta_interval: int = 1,
        meta_lr: float = 1e-4,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        # A model for testing has neither.
        self.proposal, self.reconstructor = (part and MODELS.build(part) for part in (proposal, reconstructor))
        self.meta_interval, self.meta_lr, self._step = meta_interval, meta_lr, 0

    def loss(self, inputs: dict, data_samples: list | None) -> dict[str, Tensor]:
        """Train the proposal where due; compute network's and reconstructor's losses.

        The wrapper of several processes calls this one and no ``train_step``.
        """
        log = {}
        if self.training and self._step % self.meta_interval == 0:
            self.check_one_size(inputs['vi'])
            with torch.autocast(inputs['vi'].device.type, enabled=False):
                log['proposal/reconstruction'] = self.learn_proposal(luminance(inputs['vi']), inputs['ir'])
        self._step += self.training
        return {**super().loss(inputs, data_samples), **log}

    def learn_proposal(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Take a step of the proposal.

        Args:
            vi, ir: N×1×H×W in [0, 1], N ≥ 2.

        Returns:
            The copies' reconstruction error.
        """
        error = self.error_after_step(vi, ir)
        parameters = list(self.proposal.parameters())
        gradients = torch.autograd.grad(error, parameters)
        for gradient in gradients:
            all_reduce(gradient, 'mean')
        largest = max(float(gradient.abs().max()) for gradient in gradients)
        if largest:
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= self.meta_lr * gradient / largest
        return error.detach()

    def error_after_step(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Compute the reconstruction error after the copies' step."""
        half = len(vi) // 2
        if not half:
            raise ValueError(f'ReFusionFuser learns by two halves of a batch; got a batch of {len(vi)}. Use 2 or more.')
        (vi_inner, vi_outer), (ir_inner, ir_outer) = ((x[:half], x[half:]) for x in (vi, ir))
        fused = self.network(vi_inner, ir_inner)
        loss = fusion_loss(fused, vi_inner, ir_inner, self.proposal(vi_inner, ir_inner))
        network = self._stepped(self.network, loss, differentiable=True)
        loss = reconstruction_loss(self.reconstructor(fused.detach()), vi_inner, ir_inner)
        reconstructor = self._stepped(self.reconstructor, loss)
        fused = torch.func.functional_call(self.network, network, (vi_outer, ir_outer))
        rebuilt = torch.func.functional_call(self.reconstructor, reconstructor, (fused,))
        return reconstruction_loss(rebuilt, vi_outer, ir_outer)

    def _stepped(self, module: nn.Module, loss: Tensor, differentiable: bool = False) -> dict[str, Tensor]:
        """Parameters of a module after a step of gradient descent, by name."""
        parameters = dict(module.named_parameters())
        gradients = torch.autograd.grad(loss, parameters.values(), create_graph=differentiable)
        return {name: p - self.meta_lr * g for (name, p), g in zip(parameters.items(), gradients, strict=True)}

    def losses_of(self, batch) -> dict[str, Tensor]:
        """Compute losses with proposed weights, reconstruction, and others."""
        vi, ir, fused = batch['vi'], batch['ir'], batch['fused']
        with torch.no_grad():
            weight = self.proposal(vi, ir)
        own = dict(
            loss_fusion=fusion_loss(fused, vi, ir, weight),
            loss_reconstruction=reconstruction_loss(self.reconstructor(fused.detach()), vi, ir),
        )
        return {**own, **super().losses_of(batch)}


def fusion_loss(fused: Tensor, vi: Tensor, ir: Tensor, weight: Tensor) -> Tensor:
    """Compute the fusion loss of :class:`ReFusionFuser`; images N×1×H×W, weights N×2×H×W."""
    sources = torch.cat([ir, vi], 1)
    intensity = 2 * (weight * (sources - fused)).square().mean()  # the sum of two means
    gradient = 0.0
    for of_fused, of_sources in zip(sobel(fused), sobel(sources), strict=True):
        larger = of_sources.gather(1, of_sources.abs().argmax(1, keepdim=True))
        gradient = gradient + F.l1_loss(of_fused, larger)
    return intensity + gradient


def reconstruction_loss(rebuilt: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
    """Mean squared error of both sources, N×2×H×W, infrared first."""
    return F.mse_loss(rebuilt, torch.cat([ir, vi], 1))
