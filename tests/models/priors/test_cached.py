"""CachedPrior: same features, computed once, whoever asks."""

import json
import multiprocessing

import pytest
import torch

from mmfusion.models.fusers import ImageFuser
from mmfusion.models.priors import CachedPrior, CLIPPrior
from mmfusion.models.priors.cached import pixel_keys
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

CLIP = dict(
    type='mmfusion.CLIPPrior',
    model=dict(embed_dim=6, vision_cfg=dict(image_size=16, layers=2, width=8, head_width=8, patch_size=8)),
    pretrained='random',
    layers=(1, 2),
    embedding=True,
)

pytestmark = pytest.mark.usefixtures('one_thread')


def eight_bit(n=3, h=20, w=24):
    return torch.randint(0, 256, (n, 3, h, w), dtype=torch.uint8).float() / 255


def counted(prior):
    """Sizes of the batches that the prior inside computes."""
    calls = []
    prior.inner.visual.conv1.register_forward_hook(lambda m, args, out: calls.append(len(args[0])))
    return calls


def tensors(features):
    return [*features.tokens, features.embedding]


def test_equal_to_the_prior_itself_and_computed_once(tmp_path):
    prior, plain = CachedPrior(CLIP, tmp_path), MODELS.build(CLIP)
    calls, images = counted(prior), eight_bit()
    first = prior(images)
    again = prior(images.flip(0))
    assert calls == [3]
    for a, b, c in zip(tensors(first), tensors(again), tensors(plain(images)), strict=True):
        assert torch.equal(a, b.flip(0))
        torch.testing.assert_close(a, c, rtol=1e-5, atol=1e-6)
    more = eight_bit(1)
    prior(torch.cat([images[:1], more, more, images[1:]]))
    assert calls == [3, 1]
    assert len(list(tmp_path.rglob('*.pt'))) == 4
    assert not list(tmp_path.rglob('*.tmp'))


def test_another_process_finds_them(tmp_path):
    """Another prior of the same weights and settings: nothing is computed."""
    images = eight_bit()
    expected = CachedPrior(CLIP, tmp_path)(images)
    other = CachedPrior(CLIP, tmp_path)
    calls = counted(other)
    assert all(torch.equal(a, b) for a, b in zip(tensors(expected), tensors(other(images)), strict=True))
    assert calls == []


def _fill(folder, images, queue):
    torch.set_num_threads(1)
    queue.put(CachedPrior(CLIP, folder)(images).embedding.numpy())


def test_several_processes_at_once(tmp_path):
    """Four processes start on one empty cache with the same images."""
    context = multiprocessing.get_context('fork')
    images, queue = eight_bit(8), context.Queue()
    workers = [context.Process(target=_fill, args=(tmp_path, images, queue)) for _ in range(4)]
    for w in workers:
        w.start()
    results = [torch.from_numpy(queue.get(timeout=60)) for _ in workers]
    for w in workers:
        w.join()
    expected = MODELS.build(CLIP)(images).embedding
    for result in results:
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-6)
    assert len(list(tmp_path.rglob('*.pt'))) == 8
    assert not list(tmp_path.rglob('*.tmp'))


def test_key_is_the_content(tmp_path):
    """A flip, another crop, another type: another entry. What is the same image to the prior: the same."""
    images = eight_bit(1, 20, 20)
    keys = {
        pixel_keys(x)[0] for x in (images, images.flip(3), images[..., :19], images.mT, images * 0.5, images + 1e-6)
    }
    assert len(keys) == 6
    assert (
        pixel_keys(images)
        == pixel_keys(images.double())
        == pixel_keys(images.contiguous(memory_format=torch.channels_last))
    )
    fine = torch.rand(1, 3, 8, 8)  # not of 8-bit values
    assert pixel_keys(fine)[0] != pixel_keys((fine * 255).round() / 255)[0]


@pytest.mark.parametrize(
    'change', [dict(layers=(2,)), dict(embedding=False), dict(size=24), dict(mean=(0.5, 0.5, 0.5))]
)
def test_settings_and_weights_have_their_own_folders(tmp_path, change):
    one, other = CachedPrior(CLIP, tmp_path), CachedPrior(dict(CLIP, **change), tmp_path)
    assert one.folder != other.folder
    images = eight_bit(1)
    one(images)
    calls = counted(other)
    other(images)
    assert calls == [1]


def test_weights_in_the_key(tmp_path):
    one = CachedPrior(CLIP, tmp_path / 'cache')
    tower = CLIPPrior(**{k: v for k, v in CLIP.items() if k != 'type'}).visual
    with torch.no_grad():
        tower.proj[0, 0] += 1
    torch.save({f'visual.{k}': v for k, v in tower.state_dict().items()}, tmp_path / 'w.pt')
    other = CachedPrior(dict(CLIP, pretrained=str(tmp_path / 'w.pt')), tmp_path / 'cache')
    assert one.weights_hash == one.inner.weights_hash != other.weights_hash
    assert one.folder != other.folder
    said = json.loads((other.folder / 'settings.json').read_text())
    assert said['weights_sha256'] == other.weights_hash
    assert said['settings']['layers'] == [1, 2]
    assert other.identity == dict(name='CLIPPrior(custom, w.pt)', sha256=other.weights_hash)


def test_half_precision_only_if_asked(tmp_path):
    images = eight_bit(1)
    full, half = (CachedPrior(CLIP, tmp_path, half=h) for h in (False, True))
    a, fresh, stored = full(images), half(images), half(images)
    assert all(t.dtype == torch.float32 for t in tensors(stored))
    assert all(torch.equal(x, y) for x, y in zip(tensors(fresh), tensors(stored), strict=True))
    assert torch.equal(stored.embedding, a.embedding.half().float())
    assert not torch.equal(stored.embedding, a.embedding)
    sizes = [sum(f.stat().st_size for f in prior.folder.rglob('*.pt')) for prior in (full, half)]
    assert sizes[1] < sizes[0]


def test_what_is_kept_does_not_depend_on_autocast(tmp_path):
    prior, images = CachedPrior(CLIP, tmp_path), eight_bit(1)
    with torch.autocast('cpu', torch.bfloat16):
        first = prior(images)
    torch.testing.assert_close(first.embedding, MODELS.build(CLIP)(images).embedding, rtol=1e-5, atol=1e-6)


def test_images_altered_at_random_are_refused(tmp_path):
    prior, image = CachedPrior(CLIP, tmp_path, max_versions=2), eight_bit(1)
    for _ in range(2):  # an image and its mirror image may come again and again
        prior(image, ['a.png (vi)'])
        prior(image.flip(3), ['a.png (vi)'])
    prior(eight_bit(1), ['b.png (vi)'])
    with pytest.raises(
        ValueError, match=r'a.png \(vi\) came with 3 different contents.*cropped or altered.*max_versions'
    ):
        prior(image[..., 1:], ['a.png (vi)'])


def test_fuser_names_the_files(tmp_path):
    """Through ImageFuser: the batch of both modalities, and the names from the samples."""

    @MODELS.register_module(force=True)
    class EmbeddingNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, vi, ir, prior):
            return (vi + self.scale * prior['ir'].embedding.mean() * ir).sigmoid()

    cached = dict(type='CachedPrior', prior=CLIP, cache_dir=str(tmp_path), max_versions=1)
    model = ImageFuser(dict(type='EmbeddingNet'), priors=dict(prior=cached))
    calls = counted(model.prior('prior'))
    samples = [FusionDataSample(metainfo=dict(img_path=f'{i}.png')) for i in range(2)]
    batch = dict(vi=eight_bit(2), ir=eight_bit(2)[:, :1])
    outputs = [model.train()(batch, samples, mode='tensor') for _ in range(2)]
    assert calls == [4]
    assert torch.equal(*outputs)
    outputs[1].mean().backward()
    assert model.network.scale.grad is not None
    with torch.inference_mode():
        model(dict(batch, vi=eight_bit(2)), [FusionDataSample() for _ in range(2)], mode='predict')
    with pytest.raises(ValueError, match=r'0.png \(vi\) came with 2 different contents'):
        model(dict(batch, vi=eight_bit(2)), samples, mode='tensor')


def test_features_read_in_inference_mode_serve_training(tmp_path):
    prior, images = CachedPrior(CLIP, tmp_path), eight_bit(1)
    with torch.inference_mode():
        prior(images)
    weight = torch.ones(6, requires_grad=True)
    (prior(images).embedding * weight).sum().backward()
    assert weight.grad.abs().sum() > 0


def test_damaged_entry_is_named(tmp_path):
    prior, images = CachedPrior(CLIP, tmp_path), eight_bit(1)
    prior(images)
    file = next(tmp_path.rglob('*.pt'))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RuntimeError, match=rf'{file.name}: a damaged entry of the cache .*Delete it'):
        prior(images)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match='features from disk have no gradient; remove grad=True'):
        CachedPrior(dict(CLIP, grad=True), tmp_path)
    with pytest.raises(TypeError, match='VGGPrior gives no PriorFeatures'):
        CachedPrior(dict(type='VGGPrior', weights='random', width=1 / 32), tmp_path)
    with pytest.raises(ValueError, match='max_versions must be at least 1, got 0'):
        CachedPrior(CLIP, tmp_path, max_versions=0)
    with pytest.raises(ValueError, match=r'images must be N×3×H×W'):
        CachedPrior(CLIP, tmp_path)(torch.rand(3, 8, 8))
