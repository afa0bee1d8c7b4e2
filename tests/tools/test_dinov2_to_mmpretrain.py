"""Weights of DINOv2: original names to mmpretrain's and back, through the tool."""

import pytest
import torch
from mmpretrain.models import VisionTransformer
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer


@pytest.fixture
def tool(load_tool):
    """The converter."""
    return load_tool('tools/model_converters/dinov2_to_mmpretrain.py')


def original():
    """A tiny DINOv2 in the original names (timm's), values random, with the mask token of pre-training."""
    model = TimmVisionTransformer(
        img_size=28, patch_size=14, embed_dim=16, depth=2, num_heads=2, init_values=1e-5, num_classes=0
    )
    return {**{k: torch.randn_like(v) for k, v in model.state_dict().items()}, 'mask_token': torch.randn(1, 16)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize('form', ['hub', 'training'])
def test_there_and_back(tool, tmp_path, capsys, form):
    public = original()
    content = public
    if form == 'training':  # the teacher of a run: with heads, and blocks in chunks
        content = {'backbone.' + k.replace('blocks.', 'blocks.0.'): v for k, v in public.items()}
        content = dict(teacher={**content, 'dino_head.mlp.0.weight': torch.zeros(1)}, iteration=3)
    src, ours, back = (str(tmp_path / name) for name in ('src.pth', 'ours.pth', 'back.pth'))
    torch.save(content, src)
    assert tool.main([src, ours]) == 0
    assert 'written; 2 blocks of width 16, patches of 14×14' in capsys.readouterr().out
    saved = torch.load(ours, weights_only=True)
    assert saved['meta']['converted_from'] == 'src.pth'
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=64)
    vit = VisionTransformer(arch, img_size=28, patch_size=14, layer_scale_init_value=1e-5)
    vit.load_state_dict(saved['state_dict'], strict=True)
    assert tool.main([ours, back, '--to-original']) == 0
    del public['mask_token']
    assert same(torch.load(back, weights_only=True), public)


def test_init_cfg_of_a_stock_config_reads_it(tool, tmp_path):
    public = original()
    torch.save(public, tmp_path / 'src.pth')
    tool.convert(tmp_path / 'src.pth', tmp_path / 'ours.pth')
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=64)
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'))
    vit = VisionTransformer(arch, img_size=28, patch_size=14, layer_scale_init_value=1e-5, init_cfg=init)
    vit.init_weights()
    assert torch.equal(vit.layers[1].attn.gamma1.weight, public['blocks.1.ls1.gamma'])
    assert torch.equal(vit.layers[0].ffn.layers[1].bias, public['blocks.0.mlp.fc2.bias'])
    assert torch.equal(vit.ln1.bias, public['norm.bias'])


def test_refusals(tool, tmp_path, capsys):
    src, dst = str(tmp_path / 'src.pth'), tmp_path / 'dst.pth'

    def refused(content, *args):
        torch.save(content, src)
        assert tool.main([src, str(dst), *args]) == 1
        assert not dst.exists()
        return capsys.readouterr().err

    state = original()
    assert 'not DINOv2 in its original names: no patch_embed.proj.weight among conv1.weight' in refused(
        {'conv1.weight': torch.zeros(1)}
    )
    assert 'register tokens' in refused({**state, 'register_tokens': torch.zeros(1)})
    assert '4 parameters are missing: layers.0.attn.gamma1.weight' in refused(
        {k: v for k, v in state.items() if '.ls' not in k}
    )
    assert 'not a complete DINOv2' in refused(state, '--to-original')
    assert 'found a dict with the keys epoch' in refused({'epoch': 3})
    assert tool.main([str(tmp_path / 'none.pth'), str(dst)]) == 1
    assert 'none.pth: no such checkpoint' in capsys.readouterr().err


def test_existing_files_stay(tool, tmp_path, capsys):
    torch.save(original(), tmp_path / 'src.pth')
    (tmp_path / 'dst.pth').write_bytes(b'old')
    assert tool.main([str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth')]) == 1
    assert 'dst.pth exists; say --overwrite' in capsys.readouterr().err
    assert (tmp_path / 'dst.pth').read_bytes() == b'old'
    assert tool.main([str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth'), '--overwrite']) == 0
