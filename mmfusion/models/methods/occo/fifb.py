"""FIFB, the feature interaction fusion block (OCCO, Fig. 3, eq. 1-4).

Inside, features are tokens, N×(HW)×C: with channels-last memory that is a view of the feature map, and every projection
is one matrix product. Three identities keep the work linear in the pixels and the memory low; none changes a result
beyond rounding:

- a channel weight before a linear map is folded into the map: W (w ⊙ x) = (W diag w) x;
- a spatial weight, one number a token, commutes with a linear map: W (s x) = s (W x);
- keys and values are never formed: for K = t Wk and V = t Wv, Kᵀ V = Wkᵀ (tᵀ t) Wv, so that the Gram matrix of the
  tokens, C×C, is all that attention needs of the whole image. The context is then folded into the output projection.
"""

import torch
import torch.nn.functional as F
from torch import nn

from mmfusion.models.layers.precision import at_least_float32


def to_tokens(x):
    """N×C×H×W → contiguous N×(HW)×C; a view where ``x`` is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2).contiguous()


def to_map(tokens, size):
    """N×(HW)×C → N×C×H×W in channels-last memory, a view."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


def gram(tokens):
    """tᵀ t of N×L×C tokens, N×C×C, at least in float32: sums over 10⁵ tokens overflow and cancel in half precision."""
    with torch.autocast(tokens.device.type, enabled=False):
        tokens = at_least_float32(tokens)
        return tokens.transpose(1, 2) @ tokens


def fold_norm(weight, bias, norm):
    """Fold a batch norm with fixed statistics into the convolution or linear map before it.

    Args:
        weight (Tensor): Output channels first.
        bias (Tensor): One an output channel.
        norm (BatchNorm): Its running statistics are used whatever its mode.

    Returns:
        tuple[Tensor, Tensor]: The weight and bias of the single map.
    """
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight = weight * scale.view(-1, *[1] * (weight.ndim - 1))
    return weight, (bias - norm.running_mean) * scale + norm.bias


def _add_linear(out, x, weight):
    """out + x weightᵀ for N×L×D and N×L×C, accumulated by the matrix product itself."""
    if torch.is_autocast_enabled(x.device.type):
        return out + F.linear(x, weight)  # in-place products are not cast by autocast
    return out.flatten(0, 1).addmm_(x.flatten(0, 1), weight.t()).view_as(out)


def _linear_of_pair(a, b, weight, bias=None):
    """Linear map of the concatenation of two N×L×C tokens, without forming it."""
    wa, wb = weight.chunk(2, dim=1)
    return _add_linear(F.linear(a, wa, bias), b, wb)


class ChannelWeights(nn.Module):
    """Cross channel part of FIFB (eq. 1): pooled vectors of both modalities → MLP → sigmoid → one weight a channel.

    Args:
        channels (int): C.
    """

    def __init__(self, channels):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels), nn.ReLU(inplace=True), nn.Linear(4 * channels, 2 * channels)
        )

    def forward(self, mean, peak):
        """Weights from pooled features.

        Args:
            mean, peak (Tensor): Average- and max-pooled features of (visible, infrared), N×2C each.

        Returns:
            tuple[Tensor, Tensor]: Weights of the visible and the infrared features, N×C in (0, 1).
        """
        return torch.sigmoid(self.mlp(torch.cat([mean, peak], dim=1))).chunk(2, dim=1)


class SpatialWeights(nn.Module):
    """Spatial enhancement part of FIFB (eq. 2): a two-layer MLP over the channels of each token.

    Args:
        channels (int): C.
        softmax (bool): The paper's softmax, over all tokens of an image, instead of the public code's sigmoid.
    """

    def __init__(self, channels, softmax=False):
        super().__init__()
        self.softmax = softmax
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, 1))

    def forward(self, tokens):
        """N×L×C tokens → N×L×1 weights in (0, 1)."""
        logits = self.mlp(tokens)
        if not self.softmax:
            return torch.sigmoid(logits)
        # Over the last axis, where PyTorch sums in parts: over 10⁵ tokens float32 loses a digit otherwise.
        return at_least_float32(logits).transpose(1, 2).softmax(dim=-1).transpose(1, 2)


class CrossAttention(nn.Module):
    """Cross attention part of FIFB, as the map from tokens of one modality to the other's context.

    ``'linear'`` (public code): each modality gives K, V by one bias-free linear map; its context is
    softmax(Kᵀ V · C_head^-½) over K's channels, one C_head×C_head matrix a head; the other modality's tokens, not
    projected, are its queries.

    ``'channel'`` (our reading of the paper): the map Softmax(Q_a K_bᵀ) is C×C over channels, with Q, K, V of N×C×HW
    sequences projected, and multiplies V_b. The paper prints no scale; without one the softmax of a sum over HW products
    is a hard maximum that passes no gradient, so that products are averaged over the HW tokens.

    ``'spatial'``: the same with the HW×HW map over tokens, scaled by C^-½; memory grows with (HW)².

    Args:
        channels (int): C.
        num_heads (int): Heads of ``'linear'``.
        kind (str): One of the three.

    Raises:
        ValueError: Unknown kind, or C is no multiple of the heads.
    """

    def __init__(self, channels, num_heads=1, kind='linear'):
        super().__init__()
        if kind not in ('linear', 'channel', 'spatial'):
            raise ValueError(f"attention must be 'linear', 'channel' or 'spatial', got {kind!r}")
        if channels % num_heads:
            raise ValueError(f'channels ({channels}) must be a multiple of num_heads ({num_heads})')
        self.kind, self.num_heads = kind, num_heads
        self.proj = nn.ModuleDict({m: nn.Linear(channels, channels) for m in ('vi', 'ir')})
        outputs = 2 if kind == 'linear' else 3  # K, V or Q, K, V
        self.kv = nn.ModuleDict({m: nn.Linear(channels, outputs * channels, bias=False) for m in ('vi', 'ir')})

    def tokens(self, name, x, channel_weight=None):
        """ReLU(Linear(w ⊙ x)) of one modality, N×L×C, with the channel weight (N×C or None) folded in."""
        layer = self.proj[name]
        if channel_weight is None:
            return F.relu(layer(x), inplace=True)
        weight = (layer.weight * channel_weight[:, None]).to(x.dtype)
        return F.relu(torch.baddbmm(layer.bias.to(x.dtype), x, weight.transpose(1, 2)), inplace=True)

    def context(self, name, gram_matrix):
        """Context of one modality from the Gram matrix of its tokens, as one block-diagonal N×C×C float32 matrix."""
        with torch.autocast(gram_matrix.device.type, enabled=False):
            wk, wv = at_least_float32(self.kv[name].weight).chunk(2)
            n, c = gram_matrix.shape[0], gram_matrix.shape[1]
            k = wk.unflatten(0, (self.num_heads, -1)) @ gram_matrix[:, None]  # N×heads×C_head×C
            logits = k @ wv.unflatten(0, (self.num_heads, -1)).transpose(1, 2)
            heads = (logits * (c // self.num_heads) ** -0.5).softmax(dim=-2)
            if self.num_heads == 1:
                return heads[:, 0]
            full = heads.new_zeros(n, self.num_heads, c // self.num_heads, self.num_heads, c // self.num_heads)
            index = torch.arange(self.num_heads, device=full.device)
            full[:, index, :, index] = heads.transpose(0, 1)
            return full.flatten(3, 4).flatten(1, 2)

    def quadratic(self, query_name, query, key_name, key):
        """φ of the key modality by the paper's Softmax(Q K) V, N×L×C."""
        q = self.kv[query_name](query).chunk(3, dim=-1)[0]
        _, k, v = self.kv[key_name](key).chunk(3, dim=-1)
        if self.kind == 'spatial':
            return F.scaled_dot_product_attention(q, k, v)
        with torch.autocast(q.device.type, enabled=False):
            q, k = at_least_float32(q).transpose(1, 2), at_least_float32(k)
            attention = (q @ k / k.shape[1]).softmax(dim=-1)  # N×C×C
        return v @ attention.to(v.dtype).transpose(1, 2)


class Refine(nn.Module):
    """Channel restoration and refinement (eq. 4): 1×1 → depth-wise 3×3 → ReLU → 1×1, plus a 1×1 residual, normalised.

    Args:
        channels (int): C; the input has 2C.
        inner_norm (bool): The public code's second BN, after the last 1×1 of the main path.
    """

    def __init__(self, channels, inner_norm=True):
        super().__init__()
        self.reduce = nn.Linear(2 * channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Linear(channels, channels)
        self.inner_norm = nn.BatchNorm2d(channels) if inner_norm else None
        self.residual = nn.Linear(2 * channels, channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, vi, ir, size):
        """Tokens of both modalities, N×HW×C each, → N×C×H×W. The concatenation is never formed."""
        x = to_map(_linear_of_pair(vi, ir, self.reduce.weight, self.reduce.bias), size)
        x = to_tokens(F.relu(self.depthwise(x), inplace=True))
        if self.training:
            x = self.expand(x)
            if self.inner_norm is not None:
                x = to_tokens(self.inner_norm(to_map(x, size)))
            return self.norm(to_map(_linear_of_pair(vi, ir, self.residual.weight).add_(x), size))
        # With fixed statistics both norms are affine maps: they go into the linear maps before them.
        weight, bias = self.expand.weight, self.expand.bias
        if self.inner_norm is not None:
            weight, bias = fold_norm(weight, bias, self.inner_norm)
        weight, bias = fold_norm(weight, bias, self.norm)
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        out = _linear_of_pair(vi, ir, self.residual.weight * scale[:, None], bias)
        return to_map(_add_linear(out, x, weight), size)


class FIFB(nn.Module):
    """Feature interaction fusion block (OCCO, section 3.1, Fig. 3): two modality features → one fused feature.

    Args:
        channels (int): C.
        num_heads (int): Heads of the linear attention.
        variant (str): ``'official'``: the public code (sigmoid spatial weights by one MLP for both modalities,
            LayerNorm, linear attention). ``'paper'``: eq. 1-4 (spatial weights of each modality's own MLP, BN, attention
            with projected queries; eq. 3 needs a projection 2C → C that is not printed).
        spatial (bool): Spatial enhancement (SE).
        channel (bool): Cross channel (CroC).
        attention (bool): Cross attention (CA). Without it the channel-enhanced features ϱ stand in its place in eq. 3;
            otherwise the cross channel part, which only the attention reads, would go with it.
        attention_kind (str, optional): See :class:`CrossAttention`; by default the variant's.
        spatial_softmax (bool, optional): See :class:`SpatialWeights`; by default off for ``'official'``. For ``'paper'``
            the weights are multiplied by HW when it is on, unless ``spatial_softmax='literal'``: over HW tokens a softmax
            averages 1 / HW and would all but remove the branch.

    Raises:
        ValueError: Unknown variant.
    """

    def __init__(
        self,
        channels,
        num_heads=1,
        variant='official',
        spatial=True,
        channel=True,
        attention=True,
        attention_kind=None,
        spatial_softmax=None,
    ):
        super().__init__()
        if variant not in ('official', 'paper'):
            raise ValueError(f"variant must be 'official' or 'paper', got {variant!r}")
        paper = variant == 'paper'
        self.softmax = paper if spatial_softmax is None else spatial_softmax
        self.channel = ChannelWeights(channels) if channel else None
        self.attention = (
            CrossAttention(channels, num_heads, attention_kind or ('channel' if paper else 'linear'))
            if attention
            else None
        )
        # The public code builds two spatial MLPs and calls only the first; its checkpoints hold both.
        names = ('vi', 'ir') if spatial else ()
        self.spatial = nn.ModuleDict({m: SpatialWeights(channels, bool(self.softmax)) for m in names})
        self.shared_spatial = not paper
        if spatial and self.shared_spatial:
            self.spatial['ir'].requires_grad_(False)
        branches = int(spatial) + int(attention or channel)
        self.merge = nn.ModuleDict({m: nn.Linear(branches * channels, channels) for m in ('vi', 'ir') if branches})
        norm = nn.BatchNorm1d if paper else nn.LayerNorm
        self.norm = nn.ModuleDict({m: norm(channels) for m in ('vi', 'ir')})
        self.refine = Refine(channels, inner_norm=not paper)

    @staticmethod
    def pool(vi, ir):
        """Average- and max-pooled features of (visible, infrared), N×2C each."""
        return (
            torch.cat([vi.mean((2, 3)), ir.mean((2, 3))], dim=1),
            torch.cat([vi.amax((2, 3)), ir.amax((2, 3))], dim=1),
        )

    def channel_weights(self, mean, peak):
        """Channel weights of both modalities, or (None, None) without the cross channel part."""
        return (None, None) if self.channel is None else self.channel(mean, peak)

    def attention_tokens(self, vi, ir, weights):
        """What the attention reads of both modalities: N×L×C tokens each."""
        return self.attention.tokens('vi', vi, weights[0]), self.attention.tokens('ir', ir, weights[1])

    def forward(self, vi, ir):
        """Fuse two features.

        Args:
            vi, ir (Tensor): N×C×H×W.

        Returns:
            Tensor: N×C×H×W.
        """
        weights = self.channel_weights(*self.pool(vi, ir)) if self.channel is not None else (None, None)
        return self.fuse(vi, ir, weights)

    def fuse(self, vi, ir, weights, contexts=None):
        """Everything after the pooling.

        Args:
            vi, ir (Tensor): N×C×H×W.
            weights (tuple): Channel weights of both modalities, or (None, None).
            contexts (tuple, optional): Linear-attention contexts of (vi, ir), gathered elsewhere over a larger image.

        Returns:
            Tensor: N×C×H×W.
        """
        size = vi.shape[2:]
        x = {'vi': to_tokens(vi), 'ir': to_tokens(ir)}
        t = {}
        if self.attention is not None:
            t = dict(zip(('vi', 'ir'), self.attention_tokens(x['vi'], x['ir'], weights), strict=True))
            if self.attention.kind == 'linear' and contexts is None:
                contexts = tuple(self.attention.context(m, gram(t[m])) for m in ('vi', 'ir'))
        merged = [
            self._merge(own, other, x[own], t, contexts, weight)
            for (own, other), weight in zip((('vi', 'ir'), ('ir', 'vi')), weights, strict=True)
        ]
        layout = torch.channels_last if vi.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        return self.refine(*merged, size).contiguous(memory_format=layout)

    def _merge(self, own, other, x, t, contexts, weight):
        """Ω(x + Linear(spatial branch, attention branch)) of one modality (eq. 3), N×L×C."""
        out = x
        if self.merge:
            maps = list(self.merge[own].weight.split(x.shape[-1], dim=1))
            out = x + self.merge[own].bias
        if self.spatial:
            s = self.spatial['vi' if self.shared_spatial else own](x)
            if self.softmax and self.softmax != 'literal':
                s = s * s.shape[1]
            out = out.addcmul_(s.to(out.dtype), F.linear(x, maps.pop(0)).to(out.dtype))
        if self.attention is not None:
            out = self._attend(out, own, other, t, contexts, maps.pop(0))
        elif weight is not None:
            out = out + F.linear(x * weight[:, None], maps.pop(0))
        norm = self.norm[own]
        return norm(out) if isinstance(norm, nn.LayerNorm) else norm(out.transpose(1, 2)).transpose(1, 2)

    def _attend(self, out, own, other, t, contexts, weight):
        """Add the attention branch of one modality to ``out``, already projected to the merged C channels."""
        if self.attention.kind != 'linear':
            return out + F.linear(self.attention.quadratic(other, t[other], own, t[own]), weight)
        context = contexts[0 if other == 'vi' else 1]
        with torch.autocast(context.device.type, enabled=False):
            folded = (at_least_float32(weight) @ context.transpose(1, 2)).transpose(1, 2).to(t[own].dtype)
        if torch.is_autocast_enabled(out.device.type):
            return out + t[own] @ folded
        return out.baddbmm_(t[own], folded)
