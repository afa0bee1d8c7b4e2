"""CLIPPrior on open_clip's own classes, tiny and random."""

import json

import open_clip
import pytest
import torch
from open_clip import pretrained as oc_pretrained
from torch.nn import functional as F

from mmfusion.models.fusers import ImageFuser
from mmfusion.models.priors import CLIPPrior, FeaturePrior, PriorFeatures
from mmfusion.models.priors import clip as module
from mmfusion.registry import MODELS

VISION = dict(image_size=32, layers=4, width=16, head_width=8, patch_size=8)
TINY = dict(embed_dim=6, vision_cfg=VISION)
TEXT = dict(context_length=4, vocab_size=9, width=8, heads=1, layers=1)

pytestmark = pytest.mark.usefixtures('one_thread')


def tiny(**kwargs):
    return CLIPPrior(**{**dict(model=TINY, pretrained='random', layers=(1, 3), embedding=True), **kwargs})


def whole_model(quick_gelu=False, seed=3, **vision):
    torch.manual_seed(seed)
    return open_clip.CLIP(6, {**VISION, **vision}, TEXT, quick_gelu=quick_gelu)


def by_hand(tower, images, size=32):
    """Tokens of all blocks, without class token, and embedding, block by block."""
    x = F.interpolate(images, size=(size, size), mode='bicubic', antialias=True, align_corners=False)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.48145466, 0.4578275, 0.40821073), _STD))
    x = tower.conv1((x - mean) / std).flatten(2).mT
    x = torch.cat([tower.class_embedding.expand(len(x), 1, -1), x], 1) + tower.positional_embedding
    x, tokens = tower.ln_pre(x), []
    for block in tower.transformer.resblocks:
        x = block(x)
        tokens.append(x[:, 1:].mT.reshape(len(x), -1, size // 8, size // 8))
    return tokens, tower.ln_post(x)[:, 0] @ tower.proj


_STD = (0.26862954, 0.26130258, 0.27577711)


def test_tokens_and_embedding_against_the_blocks_one_by_one():
    prior, images = tiny(), torch.rand(2, 3, 24, 40)
    out = prior(images)
    tokens, embedding = by_hand(prior.visual, images)
    assert [t.shape for t in out.tokens] == [(2, 16, 4, 4)] * 2
    torch.testing.assert_close(out.tokens[0], tokens[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.tokens[1], tokens[2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out.embedding, embedding, rtol=1e-5, atol=1e-5)
    only = tiny(layers=())(images)
    assert only.tokens == ()
    torch.testing.assert_close(only.embedding, embedding, rtol=1e-5, atol=1e-5)
    assert tiny(embedding=False)(images).embedding is None


def test_vit_b16_has_the_papers_tokens():
    """GFFusion section III-B.2: ViT-B/16 at 224×224, 196 tokens of 768, layers 1 … 11."""
    config = open_clip.get_model_config('ViT-B-16-quickgelu')
    assert config['quick_gelu'] is True
    assert {k: config['vision_cfg'][k] for k in ('image_size', 'layers', 'width', 'patch_size')} == dict(
        image_size=224, layers=12, width=768, patch_size=16
    )
    assert config['embed_dim'] == 512


@pytest.mark.slow
def test_real_architecture_runs():
    prior = CLIPPrior('ViT-B-16-quickgelu', 'random', layers=range(1, 12), embedding=True)
    out = prior(torch.rand(1, 3, 48, 64))
    assert [t.shape for t in out.tokens] == [(1, 768, 14, 14)] * 11
    assert out.embedding.shape == (1, 512)


def test_squash_keeps_the_border():
    """The whole image is seen: a change at any border changes the features, which a centre crop would not show."""
    prior, image = tiny(), torch.rand(1, 3, 32, 96)
    other = image.clone()
    other[..., :6] = 0
    assert (prior(image).embedding - prior(other).embedding).abs().max() > 1e-4


def test_size_interpolates_the_positions():
    prior = tiny(size=(48, 64))
    assert prior(torch.rand(1, 3, 20, 20)).tokens[0].shape == (1, 16, 6, 8)
    assert prior.visual.positional_embedding.shape == (49, 16)


@pytest.mark.parametrize('size', [None, 48])
def test_weights_from_a_file(tmp_path, size):
    source = whole_model()
    state = {f'module.{k}': v.half() for k, v in source.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'clip.pt')
    prior = CLIPPrior(TINY, str(tmp_path / 'clip.pt'), layers=(2,), size=size)
    assert torch.equal(prior.visual.conv1.weight, source.visual.conv1.weight.half().float())
    assert prior.visual.positional_embedding.shape[0] == (17 if size is None else 37)


def test_gradient_only_where_asked():
    images = torch.rand(1, 3, 40, 40, requires_grad=True)
    assert not tiny()(images).tokens[0].requires_grad
    prior = tiny(grad=True)
    out = prior(images)
    (out.tokens[1].sum() + out.embedding.sum()).backward()
    assert images.grad.abs().sum() > 0
    assert not any(p.requires_grad or p.grad is not None for p in prior.parameters())
    with torch.no_grad():
        assert not prior(images).embedding.requires_grad


def test_gradcheck():
    prior = tiny(grad=True, layers=(2,)).double()
    x = torch.rand(1, 3, 8, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: prior(x).tokens[0], x, fast_mode=True)


def test_batch_equals_single():
    prior, images = tiny(), torch.rand(3, 3, 24, 24)
    both = prior(images)
    alone = PriorFeatures.cat([prior(images[i : i + 1]) for i in range(3)])
    for a, b in zip((*both.tokens, both.embedding), (*alone.tokens, alone.embedding), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(both[1:].embedding, alone.embedding[1:], rtol=1e-5, atol=1e-5)


def test_random_weights_repeat_are_told_and_leave_the_generator_alone(monkeypatch):
    lines = []
    monkeypatch.setattr('mmfusion.utils.log.print_log', lambda text, *_: lines.append(text))
    before = torch.get_rng_state()
    a = tiny()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert a.weights_hash == tiny().weights_hash != tiny(model=dict(TINY, embed_dim=7)).weights_hash
    assert 'has RANDOM weights' in lines[0]


def test_resnet_and_other_towers():
    """Other open_clip towers give maps as well; a ResNet's are its stem and stages."""
    vision = dict(image_size=64, layers=(1, 1, 1, 1), width=8, head_width=16)
    prior = CLIPPrior(dict(embed_dim=6, vision_cfg=vision), 'random', layers=(1, 5), embedding=True)
    out = prior(torch.rand(2, 3, 40, 40))
    assert [t.shape for t in out.tokens] == [(2, 8, 16, 16), (2, 256, 2, 2)]
    assert out.embedding.shape == (2, 6)
    before = {k: v.clone() for k, v in prior.state_dict().items()}
    prior.train()(torch.rand(2, 3, 40, 40))
    assert all(torch.equal(v, before[k]) for k, v in prior.state_dict().items())  # statistics of batch norm


@MODELS.register_module()
class ReadsPriorNet(torch.nn.Module):
    """A network whose two blocks both read the prior."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))

    def forward(self, vi, ir, prior):
        self.seen = prior
        out = vi
        for scale in self.scale:
            out = out + scale * prior['vi'].tokens[0].mean() * ir + prior['ir'].embedding.mean()
        return out.sigmoid()


@MODELS.register_module()
class MeanLoss(torch.nn.Module):
    """Brightness."""

    loss_name = 'mean'

    def forward(self, fused):
        return fused.mean()


def test_fuser_runs_clip_once_per_step_on_both_modalities():
    """However many blocks read it, CLIP sees one batch of 2N images a step (issue 4: calls per image and step, 1)."""
    prior = dict(type='CLIPPrior', model=TINY, pretrained='random', layers=(1, 3), embedding=True)
    model = ImageFuser(dict(type='ReadsPriorNet'), dict(mean=dict(type='MeanLoss')), dict(prior=prior))
    clip, calls = model.prior('prior'), []
    clip.visual.conv1.register_forward_hook(lambda m, args, out: calls.append(len(args[0])))
    vi, ir = torch.rand(3, 3, 20, 24), torch.rand(3, 1, 20, 24)
    model.train()(dict(vi=vi, ir=ir), None, mode='loss')['loss_mean'].backward()
    assert calls == [6]
    seen = model.network.seen
    for key, images in (('vi', vi), ('ir', ir.repeat(1, 3, 1, 1))):
        expected = clip(images)
        torch.testing.assert_close(seen[key].embedding, expected.embedding, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(seen[key].tokens[1], expected.tokens[1], rtol=1e-5, atol=1e-5)
    assert not any(p.requires_grad for p in clip.parameters())
    assert [n for n, _ in model.named_parameters()] == ['network.scale'] == list(model.state_dict())
    calls.clear()
    batch = model.eval().run(vi, ir)
    assert calls == [6]
    torch.testing.assert_close(batch['fused_rgb'], model(dict(vi=vi, ir=ir)))
    sizes = dict(vi=[vi[0], vi[1, :, :16], vi[2]], ir=[ir[0], ir[1, :, :16], ir[2]])
    calls.clear()
    model(sizes, mode='predict')
    assert calls == [4, 2]


def test_prior_moves_with_its_fuser():
    prior = dict(type='CLIPPrior', model=TINY, pretrained='random', layers=(1,), embedding=True)
    model = ImageFuser(dict(type='ReadsPriorNet'), priors=dict(prior=prior)).double()
    assert model.prior('prior').mean.dtype == model.prior('prior').visual.proj.dtype == torch.float64
    out = model(dict(vi=torch.rand(1, 3, 20, 24).double(), ir=torch.rand(1, 1, 20, 24).double()))
    assert out.dtype == torch.float64


def test_fuser_with_prior_by_windows():
    """Each window is fused by itself: with one window as large as the image nothing changes."""
    prior = dict(type='CLIPPrior', model=TINY, pretrained='random', layers=(1,), embedding=True)
    vi, ir = torch.rand(1, 3, 20, 40), torch.rand(1, 1, 20, 40)
    results = {}
    for size in ((20, 40), (20, 20)):
        model = ImageFuser(
            dict(type='ReadsPriorNet'), priors=dict(prior=prior), test_cfg=dict(mode='slide', crop_size=size)
        ).eval()
        results[size] = model.run(vi, ir)['fused']
    whole = model.train().run(vi, ir)['fused']
    torch.testing.assert_close(results[20, 40], whole)
    left = model.run(vi[..., :20], ir[..., :20])['fused']
    torch.testing.assert_close(results[20, 20][..., :5], left[..., :5])  # beyond, windows overlap


def test_fuser_refuses_a_prior_without_features():
    with pytest.raises(TypeError, match=r'VGGPrior gives neither PriorFeatures nor .* mmfusion.CLIPPrior'):
        ImageFuser(dict(type='ReadsPriorNet'), priors=dict(prior=dict(type='VGGPrior', weights='random', width=1 / 32)))


def test_unknown_names_list_near_ones():
    with pytest.raises(ValueError, match=r"'ViT-B16' is no model of open_clip. Near ones: ViT-B-16, "):
        CLIPPrior('ViT-B16', 'openai', embedding=True)
    with pytest.raises(
        ValueError, match=r"no weights 'laion2b' for the model 'ViT-B-16'.*Near tags: .*laion2b_s34b_b88k"
    ):
        CLIPPrior('ViT-B-16', 'laion2b', embedding=True)
    with pytest.raises(ValueError, match=r"Models with 'openai': ViT-L-14.*Give a tag, a file, or 'random'"):
        CLIPPrior('ViT-H-14', 'openai', embedding=True)
    with pytest.raises(FileNotFoundError, match=r"CLIP ViT-B-16: 'weights/clip.pt' is no file"):
        CLIPPrior('ViT-B-16', 'weights/clip.pt', embedding=True)
    with pytest.raises(ValueError, match=r"has no weights 'None' for the model 'custom'"):
        CLIPPrior(TINY, None, embedding=True)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r'nothing is asked for. Give layers='):
        tiny(layers=(), embedding=False)
    with pytest.raises(ValueError, match=r'layers \[0, 5\] are none of its blocks 1 … 4'):
        tiny(layers=(5, 0, 2))
    with pytest.raises(ValueError, match='model lacks vision_cfg'):
        tiny(model=dict(embed_dim=6))
    with pytest.raises(ValueError, match=r'images must be N×3×H×W \(R, G, B\), got \(1, 1, 8, 8\)'):
        tiny()(torch.rand(1, 1, 8, 8))


def test_openai_tag_needs_quick_gelu():
    with pytest.raises(ValueError, match=r"'openai' were trained with quick-GELU.*Use model='ViT-B-16-quickgelu'"):
        CLIPPrior('ViT-B-16', 'openai', embedding=True)


def fake_openai(tmp_path, sign):
    """A file as OpenAI's are in one respect; tiny."""
    model = whole_model(quick_gelu=True).eval()
    state, path = model.state_dict(), tmp_path / 'ViT-tiny.pt'
    if sign == 'archive':
        torch.jit.save(torch.jit.trace(Holder(model.visual), torch.rand(1, 3, 32, 32), check_trace=False), path)
        return path
    if sign == 'keys':
        state['input_resolution'] = torch.tensor(32)
    if sign == 'half':
        state = {k: v if 'ln_' in k or 'embedding' in k else v.half() for k, v in state.items()}
    if sign == 'name':
        path = tmp_path / 'vit_OpenAI.pt'
    torch.save(state, path)
    return path


class Holder(torch.nn.Module):
    """Puts the tower under the name that whole models have it by."""

    def __init__(self, visual):
        super().__init__()
        self.visual = visual

    def forward(self, x):
        return self.visual(x)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('sign', ['archive', 'keys', 'half', 'name'])
def test_local_openai_files_are_recognised(tmp_path, sign):
    path = fake_openai(tmp_path, sign)
    with pytest.raises(
        ValueError, match=r"which is OpenAI's \(.*trained with quick-GELU.*Set quick_gelu=True in the mod"
    ):
        CLIPPrior(TINY, str(path), embedding=True)
    prior = CLIPPrior(dict(TINY, quick_gelu=True), str(path), embedding=True)
    source = whole_model(quick_gelu=True).visual
    assert prior.settings()['activation'] == 'QuickGELU'
    same = source.conv1.weight.half().float() if sign == 'half' else source.conv1.weight
    assert torch.equal(prior.visual.conv1.weight, same)


def test_named_model_gets_the_right_name():
    with pytest.raises(ValueError, match=r"Use model='ViT-B-32-quickgelu'"):
        module._check_activation('ViT-B-32', False, True, 'a file')
    with pytest.raises(
        ValueError, match=r"trained without quick-GELU, and this model is with it.*Use model='ViT-B-32'"
    ):
        module._check_activation('ViT-B-32-quickgelu', True, False, 'a file')


def test_file_that_does_not_tell_is_warned_about(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmfusion.utils.log.print_log', lambda text, *_: lines.append(text))
    state = whole_model().state_dict()
    module._check_file(tmp_path / 'a.pt', state, False, 'ViT-B-16', False)
    assert "use model='ViT-B-16-quickgelu' then" in lines.pop()
    module._check_file(tmp_path / 'a.pt', state, False, 'ViT-B-16-quickgelu', True)
    assert not lines
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=dict(quick_gelu=True))))
    with pytest.raises(ValueError, match=r'says open_clip_config.json beside it'):
        module._check_file(tmp_path / 'a.pt', state, False, 'ViT-B-16', False)


def test_files_of_something_else(tmp_path):
    path = tmp_path / 'a.pt'
    torch.save({'vision_model.embeddings.weight': torch.zeros(1)}, path)
    with pytest.raises(
        RuntimeError, match=r'no CLIP in open_clip or OpenAI form: expected names visual.…, found vision_'
    ):
        CLIPPrior(TINY, str(path), embedding=True)
    torch.save(whole_model(width=24).state_dict(), path)
    with pytest.raises(RuntimeError, match=r'not the weights of CLIP custom.*size mismatch'):
        CLIPPrior(TINY, str(path), embedding=True)
    path.write_bytes(b'html')
    with pytest.raises(RuntimeError, match=r'a.pt: cannot be read as weights of CLIP: .*damaged') as e:
        CLIPPrior(TINY, str(path), embedding=True)
    assert 'weights_only' not in str(e.value)


def test_failed_download_names_url_cache_and_option(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(oc_pretrained, 'download_pretrained', fail)
    with pytest.raises(
        RuntimeError, match=r"could not download the weights 'openai' from https://huggingface.co/timm"
    ) as e:
        CLIPPrior('ViT-B-16-quickgelu', 'openai', embedding=True, cache_dir='some/cache')
    for part in ('https://openaipublic', 'cache: some/cache', 'no route to host', '`pretrained`', 'MMFUSION_CLIP'):
        assert part in str(e.value)


def test_tag_downloads_and_normalises_as_the_tag_says(tmp_path, monkeypatch):
    """With the download replaced by a local file: the tag's own mean and std."""
    monkeypatch.setattr(open_clip, 'get_model_config', lambda name: dict(TINY))
    tag = dict(mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 0.5), url='https://x/y.pt')
    monkeypatch.setattr(oc_pretrained, 'get_pretrained_cfg', lambda name, t: tag if t == 'mine' else {})
    torch.save(whole_model().state_dict(), tmp_path / 'y.pt')
    monkeypatch.setattr(oc_pretrained, 'download_pretrained', lambda *args, **kwargs: str(tmp_path / 'y.pt'))
    prior = CLIPPrior('ViT-tiny', 'mine', layers=(1,))
    assert prior.std.flatten().tolist() == [0.25, 0.5, 0.5]
    assert prior.label == 'CLIPPrior(ViT-tiny, mine)'


def test_local_dir(tmp_path):
    """open_clip's folders: config, preprocessing and weights together."""
    config = dict(embed_dim=6, vision_cfg=VISION, text_cfg=TEXT)
    stats = dict(mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.5])
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=config, preprocess_cfg=stats)))
    name = f'local-dir:{tmp_path}'
    with pytest.raises(RuntimeError, match='open_clip could not build it'):
        CLIPPrior(name, None, embedding=True)
    source = whole_model()
    torch.save(source.state_dict(), tmp_path / 'open_clip_pytorch_model.bin')
    prior = CLIPPrior(name, None, embedding=True)
    assert torch.equal(prior.visual.conv1.weight, source.visual.conv1.weight)
    assert prior.mean.flatten().tolist() == pytest.approx(stats['mean'])
    with pytest.raises(ValueError, match='has its weights with it: set pretrained=None'):
        CLIPPrior(name, 'openai', embedding=True)


def test_is_a_feature_prior():
    assert isinstance(tiny(), FeaturePrior)
    assert MODELS.get('mmfusion.CLIPPrior') is CLIPPrior
