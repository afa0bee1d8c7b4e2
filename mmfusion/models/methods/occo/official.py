"""Parameter names of OCCO's public implementation and ours, in both directions."""

import re

# (pattern of the public name, our name); a 1×1 conv there that is a linear map here is marked by `True`.
_RULES = (
    (r'([vi])(\d)\.Conv_BN_ReLU_2\.(.+)', lambda m: f'encoder.{_MODALITY[m[1]]}.{int(m[2]) - 1}.{m[3]}', False),
    (
        r'fusion(\d)\.cross\.channel_proj([34])\.(.+)',
        lambda m: f'{_fifb(m)}.attention.proj.{_BY_3[m[2]]}.{m[3]}',
        False,
    ),
    (
        r'fusion(\d)\.cross\.cross_attn\.kv([12])\.(.+)',
        lambda m: f'{_fifb(m)}.attention.kv.{_BY_1[m[2]]}.{m[3]}',
        False,
    ),
    (r'fusion(\d)\.cross\.end_proj([12])\.(.+)', lambda m: f'{_fifb(m)}.merge.{_BY_1[m[2]]}.{m[3]}', False),
    (r'fusion(\d)\.cross\.norm([12])\.(.+)', lambda m: f'{_fifb(m)}.norm.{_BY_1[m[2]]}.{m[3]}', False),
    (r'fusion(\d)\.channel_weight\.(.+)', lambda m: f'{_fifb(m)}.channel.{m[2]}', False),
    (r'fusion(\d)\.space_weight([12])\.(.+)', lambda m: f'{_fifb(m)}.spatial.{_BY_1[m[2]]}.{m[3]}', True),
    (r'fusion(\d)\.channel_emb\.residual\.(.+)', lambda m: f'{_fifb(m)}.refine.residual.{m[2]}', True),
    (r'fusion(\d)\.channel_emb\.channel_embed\.0\.(.+)', lambda m: f'{_fifb(m)}.refine.reduce.{m[2]}', True),
    (r'fusion(\d)\.channel_emb\.channel_embed\.1\.(.+)', lambda m: f'{_fifb(m)}.refine.depthwise.{m[2]}', False),
    (r'fusion(\d)\.channel_emb\.channel_embed\.3\.(.+)', lambda m: f'{_fifb(m)}.refine.expand.{m[2]}', True),
    (r'fusion(\d)\.channel_emb\.channel_embed\.4\.(.+)', lambda m: f'{_fifb(m)}.refine.inner_norm.{m[2]}', False),
    (r'fusion(\d)\.channel_emb\.norm\.(.+)', lambda m: f'{_fifb(m)}.refine.norm.{m[2]}', False),
    (r'up_concat(\d)\.conv([12])\.(.+)', lambda m: f'decoder.{3 - int(m[1])}.conv.{2 * int(m[2]) - 2}.{m[3]}', False),
    (r'final\.(.+)', lambda m: f'final.{m[1]}', False),
)
_MODALITY = {'v': 'vi', 'i': 'ir'}
_BY_1 = {'1': 'vi', '2': 'ir'}
_BY_3 = {'3': 'vi', '4': 'ir'}


def _fifb(match):
    return f'fifb.{int(match[1]) - 1}'


def _translate(name):
    for pattern, ours, linear in _RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return ours(match), linear
    raise KeyError(f"{name!r} is no parameter of OCCO's public implementation")


def from_official(state):
    """State dict of the public implementation → of :class:`FIFN` with ``variant='official'``.

    Args:
        state (dict[str, Tensor]): With or without the ``module.`` that DataParallel puts before each name.

    Returns:
        dict[str, Tensor]: The same values; 1×1 convolutions that FIFN computes as linear maps lose their last two axes.

    Raises:
        KeyError: If the public implementation has no such name.
    """
    out = {}
    for name, value in state.items():
        ours, linear = _translate(name.removeprefix('module.'))
        out[ours] = value.flatten(1) if linear and value.ndim == 4 else value
    return out


def to_official(state):
    """State dict of :class:`FIFN` (``variant='official'``, all parts on) → of the public implementation.

    Raises:
        KeyError: If a name has no counterpart there, as those of the paper variant, or parts are missing.
    """
    official = official_names()
    missing = sorted(official.keys() - state.keys())
    if missing:
        raise KeyError(
            f"{', '.join(missing[:3])}: {len(missing)} parameters of OCCO's public implementation are not in this state "
            "dict. Only FIFN with variant='official' and all its parts can be written in that form."
        )
    out = {}
    for name, value in state.items():
        if name not in official:
            raise KeyError(
                f"{name!r} has no counterpart in OCCO's public implementation. Only FIFN with variant='official' and all "
                'its parts can be written in that form.'
            )
        theirs, linear = official[name]
        out[theirs] = value[..., None, None] if linear and value.ndim == 2 else value
    return out


def official_names():
    """Our parameter name → (the public implementation's, whether it is a 1×1 convolution there)."""
    bn = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    wb = ('weight', 'bias')
    names = []
    for i in range(1, 5):
        for m in 'vi':
            names += [f'{m}{i}.Conv_BN_ReLU_2.{k}.{p}' for k in (0, 3) for p in wb]
            names += [f'{m}{i}.Conv_BN_ReLU_2.{k}.{p}' for k in (1, 4) for p in bn]
        fusion = f'fusion{i}'
        names += [f'{fusion}.cross.{k}.{p}' for k in ('channel_proj3', 'channel_proj4') for p in wb]
        names += [f'{fusion}.cross.{k}{j}.{p}' for k in ('end_proj', 'norm') for j in (1, 2) for p in wb]
        names += [f'{fusion}.cross.cross_attn.kv{j}.weight' for j in (1, 2)]
        names += [f'{fusion}.channel_weight.mlp.{k}.{p}' for k in (0, 2) for p in wb]
        names += [f'{fusion}.space_weight{j}.mlp.{k}.{p}' for j in (1, 2) for k in (0, 2) for p in wb]
        names += [f'{fusion}.channel_emb.residual.weight']
        names += [f'{fusion}.channel_emb.channel_embed.{k}.{p}' for k in (0, 1, 3) for p in wb]
        names += [f'{fusion}.channel_emb.{k}.{p}' for k in ('channel_embed.4', 'norm') for p in bn]
    names += [f'up_concat{j}.conv{k}.{p}' for j in (1, 2, 3) for k in (1, 2) for p in wb]
    names += [f'final.{p}' for p in wb]
    out = {}
    for name in names:
        ours, linear = _translate(name)
        out[ours] = (name, linear)
    return out
