"""FIFB computed fast: parameters and results of :mod:`.fifb`.

With channels-last memory tokens N×(HW)×C are a view of the feature map, and every projection is one matrix product. Three
identities keep the work linear in the pixels and the memory low; none changes a result beyond rounding:

- a channel weight before a linear map is folded into the map: W (w ⊙ x) = (W diag w) x;
- a spatial weight, one number a token, commutes with a linear map: W (s x) = s (W x);
- keys and values are never formed: for K = t Wk and V = t Wv, Kᵀ V = Wkᵀ (tᵀ t) Wv, so that the Gram matrix of the
  tokens, C×C, is all that attention needs of the whole image. The context is then folded into the output projection.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers.precision import at_least_float32
from mmfusion.registry import MODELS

from .fifb import FIFB


def to_tokens(x: Tensor) -> Tensor:
    """N×C×H×W → contiguous N×(HW)×C; a view where ``x`` is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).contiguous()


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """N×(HW)×C → N×C×H×W in channels-last memory, a view."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


def gram(tokens: Tensor) -> Tensor:
    """Compute tᵀ t of N×L×C tokens, N×C×C, at least in float32."""
    with torch.autocast(tokens.device.type, enabled=False):
        tokens = at_least_float32(tokens)
        return tokens.transpose(1, 2) @ tokens


def fold_norm(weight: Tensor, bias: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Fold a batch norm's fixed statistics into the map before it.

    ``torch.nn.utils.fusion`` returns new parameters, which cuts the gradient of the weights.

    Args:
        weight: Output channels first.
        bias: One an output channel.
        norm: A batch norm; its running statistics are used whatever its mode.

    Returns:
        Weight and bias of the single map.
    """
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = weight * scale.view(-1, *[1] * (weight.ndim - 1))
    return weight, (bias - norm.running_mean) * scale + norm.bias


def _add_linear(out, x, weight):
    """out + x weightᵀ for N×L×D and N×L×C, by one product."""
    if torch.is_autocast_enabled(x.device.type):
        return out + F.linear(x, weight)  # in-place products are not cast by autocast
    return out.flatten(0, 1).addmm_(x.flatten(0, 1), weight.t()).view_as(out)


def _linear_of_pair(a, b, weight, bias=None):
    """Linear map of the concatenation of two N×L×C tokens, without forming it."""
    wa, wb = weight.chunk(2, dim=1)
    return _add_linear(F.linear(a, wa, bias), b, wb)


@MODELS.register_module()
class FastFIFB(FIFB):
    """FIFB computed fast; arguments, parameters and results are those of :class:`FIFB`."""

    def channel_weights(self, mean: Tensor, peak: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Compute channel weights of both modalities, or (None, None) without them."""
        return (None, None) if self.channel is None else self.channel(mean, peak)

    def attention_tokens(self, vi: Tensor, ir: Tensor, weights: tuple) -> tuple[Tensor, Tensor]:
        """Compute what the attention reads, N×L×C tokens of each modality."""
        return tuple(self._tokens(m, x, w) for m, x, w in zip(('vi', 'ir'), (vi, ir), weights, strict=True))

    def _tokens(self, name, x, channel_weight):
        if self.paper:
            return x if channel_weight is None else x * channel_weight[:, None]
        layer = self.attention.proj[name]
        if channel_weight is None:
            return F.relu(layer(x), inplace=True)
        weight = (layer.weight * channel_weight[:, None]).to(x.dtype)
        return F.relu(torch.baddbmm(layer.bias.to(x.dtype), x, weight.transpose(1, 2)), inplace=True)

    def context(self, name: str, gram_matrix: Tensor) -> Tensor:
        """Compute the official attention's context of one modality, N×C×C.

        Args:
            name: ``'vi'`` or ``'ir'``.
            gram_matrix: Gram matrix of its tokens, N×C×C.
        """
        num_heads = self.attention.num_heads
        with torch.autocast(gram_matrix.device.type, enabled=False):
            wk, wv = at_least_float32(self.attention.kv[name].weight).chunk(2)
            n, c = gram_matrix.shape[0], gram_matrix.shape[1]
            k = wk.unflatten(0, (num_heads, -1)) @ gram_matrix[:, None]  # N×heads×C_head×C
            logits = k @ wv.unflatten(0, (num_heads, -1)).transpose(1, 2)
            heads = (logits * (c // num_heads) ** -0.5).softmax(dim=-2)
            if num_heads == 1:
                return heads[:, 0]
            full = heads.new_zeros(n, num_heads, c // num_heads, num_heads, c // num_heads)
            index = torch.arange(num_heads, device=full.device)
            full[:, index, :, index] = heads.transpose(0, 1)
            return full.flatten(3, 4).flatten(1, 2)

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Features of both modalities, N×C×H×W each → the fused feature, N×C×H×W."""
        weights = self.channel_weights(*self.pool(vi, ir)) if self.channel is not None else (None, None)
        return self.fuse(vi, ir, weights)

    def fuse(self, vi: Tensor, ir: Tensor, weights: tuple, contexts: tuple | None = None) -> Tensor:
        """Compute everything after the pooling.

        Args:
            vi: N×C×H×W.
            ir: N×C×H×W.
            weights: Channel weights of both modalities, or (None, None).
            contexts: Official contexts of (vi, ir), gathered elsewhere over a larger image.

        Returns:
            N×C×H×W.
        """
        size = vi.shape[2:]
        x = {'vi': to_tokens(vi), 'ir': to_tokens(ir)}
        t = {}
        if self.attention is not None:
            t = dict(zip(('vi', 'ir'), self.attention_tokens(x['vi'], x['ir'], weights), strict=True))
            if not self.paper and contexts is None:
                contexts = tuple(self.context(m, gram(t[m])) for m in ('vi', 'ir'))
        merged = [
            self._merge(own, other, x[own], t, contexts, weight)
            for (own, other), weight in zip((('vi', 'ir'), ('ir', 'vi')), weights, strict=True)
        ]
        layout = torch.channels_last if vi.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        return self._refine(*merged, size).contiguous(memory_format=layout)

    def _merge(self, own, other, x, t, contexts, weight):
        """Ω(x + Linear(spatial branch, attention branch)) of one modality (eq. 3), N×L×C."""
        out = x
        if self.merge:
            maps = list(self.merge[own].weight.split(x.shape[-1], dim=1))
            out = x + self.merge[own].bias
        if self.spatial:
            s = self.spatial_weights(own, x)
            out = out.addcmul_(s.to(out.dtype), F.linear(x, maps.pop(0)).to(out.dtype))
        if self.attention is not None:
            out = self._attend(out, own, other, t, contexts, maps.pop(0))
        elif weight is not None:
            out = out + F.linear(x * weight[:, None], maps.pop(0))
        return self.normalize(own, out)

    def _attend(self, out, own, other, t, contexts, weight):
        """Add one modality's attention to ``out``, already projected."""
        if self.paper:
            return out + F.linear(self.attention.attend_paper(own, other, t), weight)
        context = contexts[0 if other == 'vi' else 1]
        with torch.autocast(context.device.type, enabled=False):
            folded = (at_least_float32(weight) @ context.transpose(1, 2)).transpose(1, 2).to(t[own].dtype)
        if torch.is_autocast_enabled(out.device.type):
            return out + t[own] @ folded
        return out.baddbmm_(t[own], folded)

    def _refine(self, vi, ir, size):
        """Eq. 4 of both modalities' tokens, never concatenated."""
        refine = self.refine
        x = to_map(_linear_of_pair(vi, ir, refine.reduce.weight, refine.reduce.bias), size)
        x = to_tokens(F.relu(refine.depthwise(x), inplace=True))
        if not refine.norm.is_affine:
            x = refine.expand(x)
            if refine.inner_norm is not None:
                x = to_tokens(refine.inner_norm(to_map(x, size)))
            return refine.norm(to_map(_linear_of_pair(vi, ir, refine.residual.weight).add_(x), size))
        # With fixed statistics both norms are affine maps: they go into the linear maps before them.
        weight, bias = refine.expand.weight, refine.expand.bias
        if refine.inner_norm is not None:
            weight, bias = fold_norm(weight, bias, refine.inner_norm)
        weight, bias = fold_norm(weight, bias, refine.norm)
        scale = refine.norm.weight * (refine.norm.running_var + refine.norm.eps).rsqrt()
        out = _linear_of_pair(vi, ir, refine.residual.weight * scale[:, None], bias)
        return to_map(_add_linear(out, x, weight), size)
