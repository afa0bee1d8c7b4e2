"""DINOv2 on mmpretrain's own class, tiny and random; against timm's class with the original names."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from timm.models.vision_transformer import VisionTransformer

from mmfusion.models.checkpoint import check_weights, full_state_dict, load_weights
from mmfusion.models.priors import CLIPPrior, DINOv2Prior, FrozenBackbone, held_priors
from mmfusion.models.priors.dinov2 import FrozenViT, from_original, is_original, nearest_multiple, to_original
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils.checkpoint import CheckpointError

ROOT = Path(__file__).resolve().parents[3]
ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=64)
VIT = dict(arch=ARCH, img_size=42, layer_scale_init_value=1.0)
STOCK = dict(VIT, type='mmpretrain.VisionTransformer', patch_size=14, out_type='featmap', out_indices=[2])

pytestmark = pytest.mark.usefixtures('one_thread')


def tiny(**kwargs):
    return DINOv2Prior(**{**dict(backbone=VIT, weights='random'), **kwargs})


def original(seed=1):
    """timm's DINOv2, which has the original's names, with random values everywhere."""
    torch.manual_seed(seed)
    model = VisionTransformer(
        img_size=42, patch_size=14, embed_dim=16, depth=3, num_heads=2, init_values=1.0, num_classes=0
    ).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    return model


def test_vit_b14_of_the_paper():
    """GFFusion section III-C: DINOv2 ViT-B. Its patch is 14 in reality: 224 → 16×16 tokens (see the notes)."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/dinov2_linear_seg.py').segmentor
    vit = MODELS.get('mmpretrain.VisionTransformer')
    assert vit.arch_zoo[cfg.backbone.backbone.arch] == dict(
        embed_dims=768, num_layers=12, num_heads=12, feedforward_channels=3072
    )
    assert (cfg.backbone.backbone.patch_size, cfg.decode_head.in_channels) == (14, 768)
    assert nearest_multiple((224, 224), (14, 14)) == (224, 224)


def test_converted_weights_give_the_originals_features(tmp_path):
    """Tokens and class token of timm's class equal ours with the same weights, read from a file in the original names."""
    source = original()
    state = {**source.state_dict(), 'mask_token': torch.zeros(1, 16)}
    torch.save(state, tmp_path / 'dinov2.pth')
    prior = tiny(weights=str(tmp_path / 'dinov2.pth'), embedding=True)
    image = torch.rand(2, 3, 42, 42)
    out = prior(image)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = source.forward_features((image - mean) / std)
    torch.testing.assert_close(out.tokens[0].flatten(2).mT, expected[:, 1:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.embedding, expected[:, 0], rtol=1e-4, atol=1e-5)


def test_names_there_and_back():
    state = dict(original().state_dict())
    ours = from_original(state)
    assert ours.keys() == MODELS.build(STOCK).state_dict().keys()
    back = to_original(ours)
    assert back.keys() == state.keys()
    assert all(back[k] is state[k] for k in state)
    assert is_original(state)
    assert not is_original(ours)


def test_training_checkpoints_and_swiglu():
    """`backbone.` and chunks of blocks are taken off; the giant's SwiGLU has names of its own."""
    state = {k: v for k, v in original().state_dict().items() if '.mlp.' not in k}
    for i in range(3):
        for name in ('w12.weight', 'w12.bias', 'w3.weight', 'w3.bias'):
            state[f'blocks.{i}.mlp.{name}'] = torch.rand(2)
    chunked = {'backbone.' + k.replace('blocks.', 'blocks.0.'): v for k, v in state.items()}
    ours = from_original(chunked)
    giant = MODELS.build(dict(STOCK, layer_cfgs=dict(ffn_type='swiglu_fused')))
    assert ours.keys() == giant.state_dict().keys()
    assert to_original(ours).keys() == state.keys()


def test_what_is_not_dinov2():
    state = dict(original().state_dict())
    with pytest.raises(ValueError, match=r'register tokens, for which mmpretrain.s VisionTransformer has no place'):
        from_original({**state, 'register_tokens': torch.zeros(1)})
    with pytest.raises(ValueError, match=r"not DINOv2: 'head.weight' is no parameter of it"):
        from_original({**state, 'head.weight': torch.zeros(1)})
    plain = {k: v for k, v in state.items() if '.ls' not in k}  # DeiT and the first DINO have no layer scales
    with pytest.raises(
        ValueError, match=r'not a complete DINOv2; 6 parameters are missing: layers.0.attn.gamma1.weight'
    ):
        from_original(plain)
    with pytest.raises(ValueError, match=r'not DINOv2 in its original names.*among conv1.weight'):
        from_original({'conv1.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match=r'unknown: blocks'):
        to_original(state)


def test_tokens_of_several_layers():
    prior = tiny(layers=(1, 3), embedding=True)
    out = prior(torch.rand(2, 3, 30, 50))
    assert [t.shape for t in out.tokens] == [(2, 16, 2, 4)] * 2
    # The norm of the last block sees each token by itself.
    assert out.tokens[1].mean(1).abs().max() < 1e-5
    assert out.tokens[0].mean(1).abs().max() > 1e-3
    assert out.embedding.shape == (2, 16)
    first = tiny(layers=(1,))(torch.rand(1, 3, 28, 28))
    assert len(first.tokens) == 1
    assert first.embedding is None
    with pytest.raises(ValueError, match=r'layers \[4\] are none of its blocks 1 … 3'):
        tiny(layers=(4,))


@pytest.mark.parametrize(('size', 'grid'), [(None, (2, 4)), (28, (2, 2)), ((56, 30), (4, 2))])
def test_sizes(size, grid):
    assert tiny(size=size)(torch.rand(1, 3, 30, 50)).tokens[0].shape[2:] == grid


def test_tokens_lie_on_the_image():
    """480×640 becomes 476×644, and each token is of its own place: a change in one corner changes the token there most."""
    assert nearest_multiple((480, 640), (14, 14)) == (476, 644)
    assert nearest_multiple((3, 7), (14, 14)) == (14, 14)
    prior, image = tiny(layers=(1,)), torch.rand(1, 3, 48, 61)
    for rows, cols, place in ((slice(0, 6), slice(0, 6), (0, 0)), (slice(-6, None), slice(-6, None), (2, 3))):
        other = image.clone()
        other[..., rows, cols] = 1 - other[..., rows, cols]
        change = (prior(other).tokens[0] - prior(image).tokens[0]).norm(dim=1)[0]
        assert change.shape == (3, 4)
        assert divmod(change.argmax().item(), 4) == place


def test_gradient_through_it():
    images = torch.rand(1, 3, 30, 30, requires_grad=True)
    assert not tiny()(images).tokens[0].requires_grad
    prior = tiny(grad=True)
    prior(images).tokens[0][:, 0].sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in prior.parameters())


def test_random_weights_repeat():
    before = torch.get_rng_state()
    first = tiny()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(4)
    assert first.weights_hash == tiny().weights_hash
    assert FrozenViT(STOCK, 'random').weights_hash == first.weights_hash
    assert first.backbone.pos_embed.abs().max() > 0


def test_weights_of_other_kinds(tmp_path):
    path = tmp_path / 'w.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in from_original(original().state_dict()).items()}), path)
    assert torch.equal(tiny(weights=str(path)).backbone.cls_token, original().cls_token)
    torch.save(dict(teacher={f'backbone.{k}': v for k, v in original().state_dict().items()}), path)
    assert torch.equal(tiny(weights=str(path)).backbone.cls_token, original().cls_token)
    torch.save({'conv1.weight': torch.zeros(1)}, path)
    with pytest.raises(RuntimeError, match=r'w.pth: not the weights of DINOv2 custom.*Missing key') as e:
        tiny(weights=str(path))
    assert len(str(e.value)) < 1500
    with pytest.raises(FileNotFoundError, match=r"DINOv2 custom: 'none.pth' is no file. Expected"):
        tiny(weights='none.pth')
    with pytest.raises(ValueError, match="no weights for the architecture 'custom'"):
        tiny(weights='dinov2')


def segmentor_config(**backbone):
    """The base config, tiny."""
    cfg = copy.deepcopy(Config.fromfile(ROOT / 'configs/_base_/models/dinov2_linear_seg.py').segmentor)
    cfg.backbone.update(weights='random')
    cfg.backbone.backbone.update(VIT, out_indices=[2], **backbone)
    cfg.decode_head.update(in_channels=16, channels=16, num_classes=4)
    return cfg


def samples(n, height, width):
    out = []
    for _ in range(n):
        sample = FusionDataSample(metainfo=dict(ori_shape=(height, width), img_shape=(height, width)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 4, (1, height, width)))
        out.append(sample)
    return out


def test_stock_segmenter_trains_only_its_head():
    """Frozen means frozen: nothing of DINOv2 moves or is stored, and yet gradient reaches the image through it."""
    model = MODELS.build(segmentor_config())
    frozen = model.backbone.prior('frozen')
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    model.init_weights()
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
    assert list(model.state_dict()) == ['decode_head.conv_seg.weight', 'decode_head.conv_seg.bias']
    assert [n for n, _ in model.named_parameters()] == list(model.state_dict())
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.1),
            paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
        ),
    )
    model.train()
    assert not any(m.training for m in frozen.modules())
    losses = []
    images, given = [torch.rand(3, 45, 60, requires_grad=True) for _ in range(2)], samples(2, 45, 60)
    for _ in range(4):
        data = model.data_preprocessor(dict(inputs=[255 * i for i in images], data_samples=copy.deepcopy(given)), True)
        assert data['inputs'].shape == (2, 3, 56, 70)
        loss = model(**data, mode='loss')['decode.loss_ce']
        wrapper.update_params(loss)
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(i.grad.abs().sum() > 0 for i in images)
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in frozen.parameters())
    assert len(wrapper.optimizer.state) == 2
    assert sum(len(g['params']) for g in wrapper.optimizer.param_groups) == 2


def test_padding_does_not_count():
    """The loss of padded pixels is left out of the mean, too: as computed by hand on the image's own pixels."""
    model, given = MODELS.build(segmentor_config()), samples(1, 45, 60)
    truth = given[0].gt_sem_seg.data.clone()
    data = model.data_preprocessor(dict(inputs=[torch.rand(3, 45, 60) * 255], data_samples=given), True)
    with torch.no_grad():
        loss = model(**data, mode='loss')['decode.loss_ce']
        logits = model(data['inputs'])
        logits = torch.nn.functional.interpolate(logits, size=(56, 70), mode='bilinear', align_corners=False)
    by_hand = torch.nn.functional.cross_entropy(logits[..., :45, :60], truth)
    torch.testing.assert_close(loss, by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('size', [(45, 60), (56, 70), (14, 20)])
def test_export_is_the_stock_segmenter(size):
    """The full state dict loads strictly into mmseg's EncoderDecoder with mmpretrain's class, and predicts the same."""
    ours = MODELS.build(segmentor_config()).eval()
    torch.nn.init.normal_(ours.decode_head.conv_seg.weight)
    cfg = segmentor_config()
    cfg.backbone = cfg.backbone.backbone
    stock = MODELS.build(cfg).eval()
    stock.load_state_dict(full_state_dict(ours), strict=True)
    image, results = [torch.rand(3, *size) * 255], []
    for model in (ours, stock):
        data = model.data_preprocessor(dict(inputs=image, data_samples=samples(1, *size)), False)
        with torch.no_grad():
            results.append(model(**data, mode='predict')[0])
    assert results[0].pred_sem_seg.data.shape == (1, *size)
    torch.testing.assert_close(results[0].seg_logits.data, results[1].seg_logits.data, rtol=0, atol=1e-6)


def test_stock_checkpoint_loads_if_its_backbone_is_the_same(tmp_path):
    ours = MODELS.build(segmentor_config())
    state = {k: v.clone() for k, v in full_state_dict(ours).items()}
    torch.nn.init.normal_(state['decode_head.conv_seg.weight'])
    torch.save(state, tmp_path / 'stock.pth')
    load_weights(ours, tmp_path / 'stock.pth')
    assert torch.equal(ours.decode_head.conv_seg.weight, state['decode_head.conv_seg.weight'])
    state['backbone.layers.1.attn.qkv.weight'][0, 0] += 1
    torch.save(state, tmp_path / 'stock.pth')
    with pytest.raises(
        CheckpointError, match=r'other weights than the frozen backbone.*backbone.layers.1.attn.qkv.weight'
    ):
        check_weights(ours, tmp_path / 'stock.pth')


def test_backbone_without_padding_resizes():
    """A preprocessor that does not pad: the map covers the image, where mmpretrain's own would reach beyond it."""
    backbone = FrozenBackbone(STOCK, 'random')
    x = torch.rand(1, 3, 44, 60)
    assert backbone(x)[0].shape == (1, 16, 3, 4)
    assert backbone.prior('frozen').backbone(x)[0].shape == (1, 16, 4, 5)


def test_holders_are_found():
    model = torch.nn.ModuleDict(dict(segmentor=MODELS.build(segmentor_config())))
    assert list(held_priors(model)) == ['segmentor.backbone.frozen']
    model.double()
    frozen = model['segmentor'].backbone.prior('frozen')
    assert frozen.backbone.pos_embed.dtype == torch.float64
    assert frozen.weights_hash == FrozenViT(STOCK, 'random').weights_hash  # of the weights as they were loaded


def test_hash_tells_priors_apart():
    hashes = {tiny().weights_hash, tiny(backbone=dict(VIT, img_size=28)).weights_hash}
    clip = dict(embed_dim=6, vision_cfg=dict(image_size=16, layers=1, width=8, head_width=8, patch_size=8))
    hashes.add(CLIPPrior(clip, 'random', embedding=True).weights_hash)
    assert len(hashes) == 3
    assert all(len(h) == 64 for h in hashes)
