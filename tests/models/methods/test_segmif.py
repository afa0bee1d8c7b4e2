import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.models.methods.segmif import SegMiF, SegMiFLoss, saliency_mix
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod, build, stand_in, to_tensor

NARROW = dict(channels=8, growth=4, heads=2, width=8, layers=(1, 1, 1, 1), hidden=8)


class TestSegMiF(PublishedMethod):
    """The public code with five blocks in the place of 28, its weights being too large to be here."""

    name = 'segmif'
    config = 'segmif/segmif_tno.py'
    train = 'segmif/segmif_mfnet_train.py'
    build_options = {'network.layers': (1, 2, 1, 1), 'network.hidden': 32}
    narrow = {**{f'network.{key}': value for key, value in NARROW.items()}, 'network.pretrained': None}
    size = 64

    def samples(self):
        labels = torch.randint(0, 9, (2, 1, self.size, self.size))
        return [FusionDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]

    def test_labels(self, numbers):
        fuser = self.fuser(stand_in(numbers['names'], numbers['shapes'], gain=float(numbers['gain']))).double()
        vi, ir = (to_tensor(numbers[name], torch.float64) for name in ('vi_0', 'ir_0'))
        with torch.no_grad():
            found = fuser.run(vi, ir)['seg_logits'][0]  # mean and deviation of ImageNet are rounded to float32
        torch.testing.assert_close(found, torch.from_numpy(numbers['seg_logits']), rtol=0, atol=1e-6)

    def test_files_of_the_public_code(self, numbers):
        """Of the full size; one of the two alone is refused."""
        pairs = zip(numbers['full_names'], numbers['full_shapes'], strict=True)
        full = {str(n): torch.empty([int(k) for k in str(s).split(',') if k], device='meta') for n, s in pairs}
        renamed = SegMiF.from_authors(full)
        assert {n: v.shape for n, v in renamed.items()} == {n: v.shape for n, v in SegMiF().state_dict().items()}
        fusion = {name: value for name, value in full.items() if 'denoise_net' not in name}
        with pytest.raises(KeyError, match=r'the two files of SegMiF \(modelfusion-final2.pth and'):
            SegMiF.from_authors(fusion)

    def test_guide(self):
        """A companion is taken where there is one; the fused image follows it."""
        torch.manual_seed(0)
        network, vi, ir = SegMiF(guide='saliency', **NARROW).eval(), torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
        with torch.no_grad():
            given = [network(vi, vi.expand(-1, 3, -1, -1), ir, mask)['guide'] for mask in (None, ir)]
        torch.testing.assert_close(given, [saliency_mix(vi, ir), ir])

    def test_least_size(self):
        fuser, _ = build(self.config, **{f'network.{key}': value for key, value in NARROW.items()})
        with pytest.raises(ValueError, match='SegMiF needs images of at least 32×32 pixels, got 31×40'):
            fuser.eval().fuse(torch.rand(1, 3, 31, 40), torch.rand(1, 1, 31, 40))

    def test_options(self):
        with pytest.raises(ValueError, match="guide must be 'visible' or 'saliency', got 'x'"):
            SegMiF(guide='x', **NARROW)
        with pytest.raises(ValueError, match="kind must be 'edges' or 'structure', got 'x'"):
            SegMiFLoss('x')
        with pytest.raises(FileNotFoundError, match=r"mit_b3: 'nowhere.pth' is no file"):
            SegMiF(pretrained='nowhere.pth', **NARROW)

    def test_imagenet_weights(self, numbers, tmp_path):
        """NVIDIA's names and mmsegmentation's give the same encoder."""
        state = stand_in(numbers['names'], numbers['shapes'])
        prefix = 'model-fusion_add_final2.denoise_net.encoder.'
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        torch.save({**state, 'head.weight': torch.zeros(1)}, tmp_path / 'theirs.pth')
        options = dict(layers=(1, 2, 1, 1), hidden=8, channels=8, growth=4, heads=2)
        first = SegMiF(pretrained=tmp_path / 'theirs.pth', **options).segmenter.encoder.state_dict()
        torch.save(first, tmp_path / 'ours.pth')
        second = SegMiF(pretrained=tmp_path / 'ours.pth', **options).segmenter.encoder.state_dict()
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        torch.testing.assert_close(first['layers.0.0.projection.weight'], state['patch_embed1.proj.weight'])


def test_rounds():
    """The segmenter's loss counts from the second round on, that of fusion less from round to round."""
    _, cfg = build('segmif/segmif_mfnet_train.py', **TestSegMiF.narrow)
    stages, hook = cfg.default_hooks.stages.stages, cfg.default_hooks.loss_weight
    assert [stage.losses for stage in stages[:4]] == [
        ['start'],
        ['segmentation'],
        ['fusion', 'segmentation'],
        ['segmentation'],
    ]
    assert [stage.train for stage in stages] == 7 * [['network.fusion'], ['network.segmenter']]
    assert [phase['value'] for phase in hook.weights['losses.fusion.loss_weight'][1:3]] == [0.4 / 2, 0.4 / 3]


def test_losses_of_a_constant():
    """|f − g| and (f − g)² of constants; SSIM of equal images is one."""
    guide = torch.full((1, 1, 16, 16), 0.5)
    assert SegMiFLoss('structure')(guide, guide) == pytest.approx(0, abs=1e-6)
    assert SegMiFLoss('edges', loss_weight=2.0)(guide, guide) == 0
    shifted = guide + 0.25
    # Sobel meets zeros around the image: 4 corners of (3 + 3) · 0.25, 56 sides of 4 · 0.25.
    assert SegMiFLoss('edges')(shifted, guide) == pytest.approx(0.25 + (4 * 1.5 + 56 * 1.0) / 256)
