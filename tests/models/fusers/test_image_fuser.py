"""ImageFuser: colour, sizes, losses, windows, mixed precision."""

import inspect

import cv2
import numpy as np
import pytest
import torch
from kornia.color import rgb_to_ycbcr, ycbcr_to_rgb
from mmengine.structures import PixelData
from PIL import Image
from torch import nn

from mmfusion.models.fusers import Batch, ImageFuser, luminance, output
from mmfusion.models.fusers.output import check_steps, finish, pad_to_multiple, resize_at_8_bits
from mmfusion.models.fusers.sliding import ramp, slide, windows
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

FIFN = dict(type='FIFN', channels=(4, 4, 4, 4), num_heads=(1, 1, 1, 1))
PIXEL = dict(ssim=dict(type='SSIMLoss'), intensity=dict(type='MaskedIntensityLoss'), texture=dict(type='TextureLoss'))
CONTRASTIVE = dict(
    type='ContextualContrastiveLoss',
    prior=dict(type='VGGPrior', weights='random', width=1 / 16),
    layers={'relu2_1': 1.0, 'relu3_1': 1.0},
)


@MODELS.register_module()
class PointwiseFusion(nn.Module):
    """A network that looks at one pixel at a time: windows must not change its result."""

    def __init__(self, visible=0.6):
        super().__init__()
        self.visible = nn.Parameter(torch.tensor(visible))

    def forward(self, vi, ir):
        return self.visible * vi + (1 - self.visible) * ir


@MODELS.register_module()
class DefaultsLoss(nn.Module):
    """A third party's loss: it wants the colours and has parameters of its own."""

    def forward(self, vi_rgb, fused, power=2, **kwargs):
        assert vi_rgb.shape[1] == 3
        return (vi_rgb - fused).abs().pow(power).mean()


@MODELS.register_module()
class GreedyLoss(nn.Module):
    """A loss that asks for what no fuser has."""

    def forward(self, fused, depth):
        return fused.mean()


@MODELS.register_module()
class TermsLoss(nn.Module):
    """A loss that tells its terms, whose names have "loss" in them, as numbers and as maps."""

    def forward(self, fused, vi):
        difference = (fused - vi).abs()
        return difference.mean(), dict(loss_map=difference, gradient_loss=2.5)


@MODELS.register_module()
class GivesLoss(nn.Module):
    """A loss that gives what it is told to."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, fused):
        return self.value


@MODELS.register_module()
class GivesNetwork(nn.Module):
    """A network that gives the visible image in a form of its own."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, vi, ir):
        return (vi, ir) if self.form == 'tuple' else vi[..., ::2, ::2]


@MODELS.register_module()
class NanLoss(nn.Module):
    """Not a number."""

    def forward(self, fused):
        return fused.mean() * float('nan')


def fuser(network=FIFN, losses=None, **kwargs):
    return ImageFuser(network, losses, **kwargs)


def inputs(n=2, h=16, w=20):
    return dict(vi=torch.rand(n, 3, h, w), ir=torch.rand(n, 1, h, w))


def samples(n=2, h=16, w=20, masks=True):
    out = []
    for i in range(n):
        sample = FusionDataSample(metainfo=dict(img_path=f'vi/{i:05d}.png'))
        if masks:
            vi, ir = torch.zeros(2, 1, h, w, dtype=torch.bool)
            vi[:, 2:9, 2:12], ir[:, 5:13, 6:16] = True, True
            sample.gt_saliency = PixelData(vi=vi, ir=ir)
        out.append(sample)
    return out


def test_luminance_known_values():
    red, green, blue = torch.eye(3).view(3, 3, 1, 1)
    values = [luminance(c[None]).item() for c in (red, green, blue)]
    assert values == pytest.approx([0.299, 0.587, 0.114], abs=1e-6)
    assert luminance(torch.full((1, 3, 1, 1), 0.4)).item() == pytest.approx(0.4)


def test_network_gets_luminance_and_its_luminance_comes_out():
    batch = dict(vi=0.4 + 0.2 * torch.rand(2, 3, 6, 7), ir=0.4 + 0.2 * torch.rand(2, 1, 6, 7))  # nothing is clipped
    out = fuser(dict(type='PointwiseFusion'))(batch)
    expected = 0.6 * luminance(batch['vi']) + 0.4 * batch['ir']
    torch.testing.assert_close(luminance(out), expected, rtol=0, atol=1e-3)


def test_colours_are_the_visible_ones():
    """Cb and Cr are kept wherever the new luminance leaves the colour within [0, 1]."""
    batch = inputs(2, 32, 32)
    out = fuser().eval()(batch)
    assert out.shape == (2, 3, 32, 32)
    assert 0 <= out.min() <= out.max() <= 1
    inside = ((out > 0) & (out < 1)).all(1)
    assert 0.1 < inside.float().mean() < 1
    before, after = (rgb_to_ycbcr(x)[:, 1:].permute(0, 2, 3, 1)[inside] for x in (batch['vi'], out))
    # kornia's constants, those of the public code, invert each other to three digits.
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)


@pytest.mark.parametrize('color', ['LuminanceColor', 'RGBColor', 'WeightedChromaColor'])
def test_large_images_get_their_colours_in_bands(color, monkeypatch):
    """The same colours, a few rows at a time; where gradients are asked for, at once."""
    part, images = MODELS.build(dict(type=color)), inputs(h=21)
    images = dict(vi_rgb=images['vi'], ir=images['ir'], fused=torch.rand(2, part.channels, 21, 20))
    images = {name: images[name] for name in inspect.signature(part.forward).parameters if name in images}
    rows = []
    monkeypatch.setattr(output, '_LARGE', 320)

    def counted(**images):
        rows.append(images['fused'].shape[2])
        return part(**images)

    assert torch.equal(output.by_bands(counted, images), part(**images))
    assert rows == [21]
    with torch.no_grad():
        assert torch.equal(output.by_bands(counted, images), part(**images))
    assert rows == [21, 4, 4, 4, 4, 4, 1]


def test_rounded_inverse_and_stretched_colours():
    """As public code joins colours: constants of three digits, then all channels from minimum to maximum, in tests only."""
    images = inputs()
    y, blue, red = (rgb_to_ycbcr(images['vi']) - torch.tensor([0, 0.5, 0.5]).view(3, 1, 1)).split(1, 1)
    fused = 0.3 * y + 0.2
    rgb = torch.cat([fused + 1.403 * red, fused - 0.714 * red - 0.344 * blue, fused + 1.773 * blue], 1).clamp(0, 1)
    low, high = rgb.amin((1, 2, 3), keepdim=True), rgb.amax((1, 2, 3), keepdim=True)
    color = MODELS.build(dict(type='LuminanceColor', inverse='rounded', stretch=True))
    torch.testing.assert_close(color.train()(fused, images['vi']), rgb)
    torch.testing.assert_close(color.eval()(fused, images['vi']), (rgb - low) / (high - low))
    exact = MODELS.build(dict(type='LuminanceColor'))(y, images['vi'])
    torch.testing.assert_close(exact, images['vi'], rtol=0, atol=1e-6)
    model = fuser(dict(type='PointwiseFusion'), color=dict(type='LuminanceColor', stretch=True)).eval()
    batch = model.run(**images)
    torch.testing.assert_close(batch['fused'], luminance(batch['fused_rgb']))
    with pytest.raises(ValueError, match="inverse must be 'exact' or 'rounded', got 'cv2'"):
        fuser(color=dict(type='LuminanceColor', inverse='cv2'))


def test_each_result_is_cut_to_8_bits_once():
    """A colour image is not made from luminance that was cut already."""
    images = inputs()
    whole, cut = (
        fuser(dict(type='PointwiseFusion'), test_cfg=dict(rounding=rounding)).eval().run(**images)
        for rounding in ('round', 'truncate')
    )
    for name in ('fused', 'fused_rgb'):
        levels = cut[name] * 255
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
        loss = whole[name] * 255 - levels
        assert loss.min() > -1e-3
        assert loss.max() < 1


def test_grey_stays_grey():
    grey = torch.rand(1, 1, 16, 16)
    out = fuser().eval()(dict(vi=grey.expand(-1, 3, -1, -1), ir=torch.rand(1, 1, 16, 16)))
    assert (out.amax(1) - out.amin(1)).max() < 1e-6
    torch.testing.assert_close(out[:, :1].amax(), torch.tensor(1.0))


def test_mixed_sizes_equal_each_alone():
    model = fuser().eval()
    sizes = [(16, 16), (9, 23), (16, 16), (24, 17)]
    vi, ir = [torch.rand(3, *s) for s in sizes], [torch.rand(1, *s) for s in sizes]
    with torch.no_grad():
        together = model(dict(vi=vi, ir=ir))
        for k, size in enumerate(sizes):
            assert together[k].shape == (3, *size)
            alone = model(dict(vi=vi[k][None], ir=ir[k][None]))[0]
            torch.testing.assert_close(together[k], alone, rtol=0, atol=1e-5)


def test_predict():
    model, batch = fuser().eval(), inputs()
    given = samples(masks=False)
    out = model(batch, given, mode='predict')
    assert out[1] is given[1]
    expected = model(batch, mode='tensor')
    torch.testing.assert_close(torch.stack([s.fused.data for s in out]), expected)
    assert not out[0].fused.data.requires_grad
    fresh = model(batch, mode='predict')
    torch.testing.assert_close(fresh[0].fused.data, out[0].fused.data)


def test_test_step_from_a_dataloader_batch():
    """uint8 pairs (B, G, R, IR) of two sizes, through the data preprocessor."""
    pairs = [torch.randint(0, 256, (4, h, 16), dtype=torch.uint8) for h in (16, 12)]
    out = fuser().eval().test_step(dict(inputs=pairs, data_samples=samples(masks=False)))
    assert [tuple(s.fused.data.shape) for s in out] == [(3, 16, 16), (3, 12, 16)]


def test_loss_names():
    losses = dict(PIXEL, contrastive=CONTRASTIVE, colour=dict(type='DefaultsLoss'))
    out = fuser(losses=losses).train()(inputs(4), samples(4), mode='loss')
    terms = [f'contrastive/{t}' for t in ('unique_vi', 'unique_ir', 'shared_vi', 'shared_ir', 'background')]
    names = ['loss_ssim', 'loss_intensity', 'loss_texture', 'loss_contrastive', 'loss_colour']
    assert list(out) == [*names, *terms]
    assert not any(out[t].requires_grad for t in terms)
    total, _ = fuser(losses=losses).parse_losses(out)
    torch.testing.assert_close(total, sum(out[n] for n in names))


def test_a_loss_may_take_other_entries_and_be_taken_away():
    """``inputs`` renames; None, as a child config writes it, removes."""
    losses = dict(own=dict(type='MaxIntensityLoss', inputs=dict(fused='ir')), ssim=None)
    model, batch = fuser(losses=losses).train(), inputs()
    expected = MODELS.build(dict(type='MaxIntensityLoss'))(batch['ir'], luminance(batch['vi']), batch['ir'])
    assert model(batch, mode='loss') == dict(loss_own=expected)


def test_terms_of_a_loss_are_not_added_to_the_total():
    """mmengine adds whatever has "loss" in its name; the names of losses and terms are the user's."""
    model = fuser(losses=dict(my_loss=dict(type='TermsLoss'))).train()
    out = model(inputs(), mode='loss')
    total, log = model.parse_losses(out)
    assert total.item() == out['loss_my_loss'].item() == log['loss'].item()
    assert total.requires_grad
    assert log['my_loss/gradient_loss'].item() == 2.5
    torch.testing.assert_close(log['my_loss/loss_map'], total.detach())
    assert not log['my_loss/loss_map'].requires_grad


@pytest.mark.parametrize('value', [dict(a=1), 0.5, None, (torch.ones(()), torch.ones(()))])
def test_a_loss_that_gives_no_tensor(value):
    model = fuser(losses=dict(own=dict(type='GivesLoss', value=value))).train()
    with pytest.raises(ValueError, match=rf'losses.own: GivesLoss gave a {type(value).__name__}; expected a tensor'):
        model(inputs(), mode='loss')


@pytest.mark.parametrize(
    ('form', 'message'),
    [
        ('tuple', r'GivesNetwork gave a fused image that is a tuple; .* returns a dict'),
        ('half', r'GivesNetwork gave a fused image of 8×10 for a pair of 16×20 .*size_divisor'),
    ],
)
def test_a_network_that_gives_no_image_of_the_pairs_size(form, message):
    model = fuser(dict(type='GivesNetwork', form=form))
    for mode in ('tensor', 'predict'):
        with pytest.raises(ValueError, match=message):
            model(inputs(), mode=mode)


def test_names_of_losses_and_inputs():
    with pytest.raises(
        ValueError, match='inputs of own: DefaultsLoss does not take fusd; it takes fused, power, vi_rgb'
    ):
        fuser(losses=dict(own=dict(type='DefaultsLoss', inputs=dict(fusd='vi'))))
    with pytest.raises(ValueError, match="'a/b' has a slash"):
        fuser(losses={'a/b': dict(type='DefaultsLoss')})


def test_loss_errors():
    with pytest.raises(
        ValueError, match=r"GreedyLoss asks for 'depth', which this batch does not have. It has.*fused_rgb"
    ):
        fuser(losses=dict(greedy=dict(type='GreedyLoss'))).train()(inputs(), samples(), mode='loss')
    model = fuser(losses=dict(PIXEL, contrastive=CONTRASTIVE)).train()
    some = samples(4)
    del some[2].gt_saliency
    with pytest.raises(ValueError, match=r'1 of 4 samples have none: vi/00002.png. Add mmfusion.LoadSaliencyMasks'):
        model(inputs(4), some, mode='loss')
    with pytest.raises(ValueError, match='the batch came without data samples'):
        model(inputs(4), None, mode='loss')
    mixed = dict(vi=[torch.rand(3, 16, 16), torch.rand(3, 9, 16)], ir=[torch.rand(1, 16, 16), torch.rand(1, 9, 16)])
    with pytest.raises(
        ValueError, match=r'images of one size in a batch, got \[\(9, 16\), \(16, 16\)\] .*mmfusion.ForegroundCrop'
    ):
        model(mixed, samples(), mode='loss')


def test_loss_that_is_not_finite_names_the_files():
    model = fuser(losses=dict(texture=dict(type='TextureLoss'), nan=dict(type='NanLoss'))).train()
    with pytest.raises(FloatingPointError, match=r'loss_nan = nan. The batch was: vi/00000.png, vi/00001.png') as e:
        model(inputs(), samples(), mode='loss')
    assert 'loss_texture = ' in str(e.value)


@pytest.mark.parametrize('where', ['vi', 'weight'])
def test_nan_of_image_or_network_is_found(where):
    """Also what the network's min-max would turn into a black image."""
    model, batch = fuser(losses=PIXEL).train(), inputs()
    if where == 'vi':
        batch['vi'][1, 0, 3, 3] = float('nan')
    else:
        nn.init.constant_(model.network.final.weight, float('nan'))
    with pytest.raises(FloatingPointError, match='a loss is not finite'):
        model(batch, samples(), mode='loss')


def test_option_errors():
    with pytest.raises(ValueError, match=r"test_cfg.mode must be 'whole' or 'slide', got 'tile'"):
        fuser(test_cfg=dict(mode='tile'))
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'val'"):
        fuser()(inputs(), mode='val')
    with pytest.raises(ValueError, match=r'losses is a list, and has names now: losses=dict\(ssim=dict\(type=…\)'):
        fuser(losses=[dict(type='SSIMLoss')])
    with pytest.raises(ValueError, match=r'prior=dict\(…\) is priors=dict\(prior=dict\(…\)\) now'):
        fuser(prior=dict(type='CLIPPrior'))
    with pytest.raises(ValueError, match="ImageFuser has no option 'looses'"):
        fuser(looses={})
    with pytest.raises(ValueError, match=r"output: expected steps 'clamp', .* got 'tanh'"):
        fuser(output=('tanh',))
    for wrong in (('min_max', 0.0), (('min_max', 1, 2),), ('range', 1, 0), ('range', 1), ('clamp', 1)):
        with pytest.raises(ValueError, match=r"output: expected steps 'clamp', .* got \("):
            fuser(output=wrong)
    with pytest.raises(ValueError, match=r'test_cfg.rounding must be one of round, truncate'):
        fuser(test_cfg=dict(rounding='floor'))
    with pytest.raises(
        ValueError,
        match=r"test_cfg.luminance must be one of round, pillow, truncate, ycbcr, studio, or None, got 'floor'",
    ):
        fuser(test_cfg=dict(luminance='floor'))
    for wrong in ((1, 0), 5):
        with pytest.raises(ValueError, match='input_range: expected two rising numbers'):
            fuser(input_range=wrong)
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match='size_divisor: expected a whole number of at least 1'):
            fuser(size_divisor=wrong)
    with pytest.raises(TypeError, match=r'priors.vgg: VGGPrior gives neither'):
        fuser(priors=dict(vgg=dict(type='VGGPrior', weights='random', width=1 / 16, layers=('relu1_1',))))


@MODELS.register_module()
class RangeNetwork(nn.Module):
    """Keeps what it was given, and gives the mean."""

    def forward(self, vi, ir):
        self.seen = vi, ir
        return (vi + ir) / 2


def test_input_range():
    """The network sees the images in its range; a step of ``output`` brings its own back."""
    model = fuser(dict(type='RangeNetwork'), input_range=(-1, 1), output=('range', -1, 1))
    given = inputs()
    batch = model.run(**given)
    torch.testing.assert_close(model.network.seen, (2 * luminance(given['vi']) - 1, 2 * given['ir'] - 1))
    torch.testing.assert_close(batch['fused'], (luminance(given['vi']) + given['ir']) / 2)
    assert torch.equal(batch['ir'], given['ir'])  # of losses and metrics: in [0, 1]


def test_colours_of_two_sources_weighted_by_hand():
    """DeepFuse's rule: of Cb 0.7 and 0.4 the merge is 0.5 + (0.2·0.2 − 0.1·0.1) / 0.3."""
    sources = []
    for cb in (0.7, 0.4):
        ycbcr = torch.full((1, 3, 4, 4), 0.5)
        ycbcr[:, 1] = cb
        sources.append(ycbcr_to_rgb(ycbcr))
    color = MODELS.build(dict(type='WeightedChromaColor'))
    merged = rgb_to_ycbcr(color(torch.full((1, 1, 4, 4), 0.5), sources[0], torch.zeros(1, 1, 4, 4), sources[1]))
    torch.testing.assert_close(merged[:, 1], torch.full((1, 4, 4), 0.6), rtol=0, atol=2e-3)
    # A grey second source leaves the colours of the first.
    alone = rgb_to_ycbcr(color(torch.full((1, 1, 4, 4), 0.5), sources[0], torch.full((1, 1, 4, 4), 0.3)))
    torch.testing.assert_close(alone[:, 1], torch.full((1, 4, 4), 0.7), rtol=0, atol=2e-3)


def test_output_steps():
    image = torch.tensor([-1.0, 0.0, 2.0, 3.0]).view(1, 1, 2, 2)
    for steps, expected in {
        ('clamp',): [0, 0, 1, 1],
        ('min_max',): [0, 0.25, 0.75, 1],
        ('min_max', 1.0): [0, 0.2, 0.6, 0.8],
        ('max',): [0, 0, 2 / 3, 1],
        ('range', -1, 1): [0, 0.5, 1.5, 2],
        (('range', -1, 1), 'clamp'): [0, 0.5, 1, 1],
    }.items():
        out = finish(image, check_steps(steps, 'output'))
        torch.testing.assert_close(out.flatten(), torch.tensor(expected, dtype=torch.float32))


def test_luminance_at_8_bits():
    """What the network of a test gets, as public code computes Y at 8 bits; in training nothing is rounded."""
    rgb = np.random.RandomState(0).randint(0, 256, (32, 33, 3), np.uint8)
    vi = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    opencv = torch.from_numpy(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., 0])
    truncated = torch.from_numpy((rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8))
    # SciPy's imread(path, flatten=True, mode='YCbCr').
    pillow = torch.from_numpy(np.array(Image.fromarray(rgb).convert('YCbCr').convert('RGB').convert('F')))
    for levels, expected in dict(round=opencv, truncate=truncated, ycbcr=pillow).items():
        model = fuser(test_cfg=dict(luminance=levels)).eval()
        y = model.batch(vi, None, None)['vi'][0, 0] * 255
        if levels != 'ycbcr':
            assert (y - y.round()).abs().max() < 1e-4
        # Sums that are whole numbers but for rounding are floored either way.
        assert ((y - expected).abs() > 1e-4).float().mean() <= (0.001 if levels == 'truncate' else 0)
        torch.testing.assert_close(model.train().batch(vi, None, None)['vi'], luminance(vi))
    grey = torch.arange(256).view(1, 1, 16, 16).expand(-1, 3, -1, -1) / 255
    for levels in ('truncate', 'ycbcr'):
        torch.testing.assert_close(luminance(grey, levels), grey[:, :1])


@pytest.mark.parametrize(('size', 'padded'), [((16, 20), (24, 24)), ((5, 8), (8, 16)), ((3, 9), (8, 16))])
def test_padding_as_swinir_does(size, padded):
    """Mirrored with the border pixel, a whole divisor more for a multiple; in tests only."""
    image = torch.rand(1, 2, *size)
    rows, columns = torch.cat([image, image.flip(2)], 2), pad_to_multiple(image, 8, 'swinir')
    expected = torch.cat([rows, rows.flip(3)], 3)[..., : padded[0], : padded[1]]
    assert columns.shape[2:] == padded
    torch.testing.assert_close(columns[..., : expected.shape[2], :], expected, rtol=0, atol=0)
    shapes = []
    model = fuser(dict(type='PointwiseFusion'), size_divisor=8, test_cfg=dict(padding='swinir'))
    model.network.register_forward_pre_hook(
        lambda _, args, given: shapes.append(given['ir'].shape[2:]), with_kwargs=True
    )
    for training in (True, False):
        assert model.train(training)(inputs(h=size[0], w=size[1])).shape[2:] == size
    assert shapes == [tuple(-(-n // 8) * 8 for n in size), padded]
    with pytest.raises(ValueError, match=r"test_cfg.padding must be one of reflect, center, swinir, got 'zeros'"):
        fuser(test_cfg=dict(padding='zeros'))


def test_padding_on_all_sides():
    """A network that looks at one pixel gives back each in its place."""
    image = torch.rand(1, 3, 5, 9)
    padded = pad_to_multiple(image, 8, 'center')
    assert padded.shape[2:] == (8, 16)
    torch.testing.assert_close(padded[..., 1:6, 3:12], image, rtol=0, atol=0)
    torch.testing.assert_close(padded[..., 1:6, 2], image[..., 1], rtol=0, atol=0)
    given = inputs(h=5, w=9)
    plain = fuser(dict(type='PointwiseFusion')).eval()(given)
    model = fuser(dict(type='PointwiseFusion'), size_divisor=8, test_cfg=dict(padding='center')).eval()
    torch.testing.assert_close(model(given), plain)


def test_resize_in_tests():
    """The network sees what Pillow makes at 8 bits, and the images keep their size; training does as it did."""
    rgb = np.random.RandomState(0).randint(0, 256, (30, 44, 3), np.uint8)
    vi = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    for size in ((40, 48), (17, 20)):
        pillow = np.asarray(Image.fromarray(rgb).resize(size[::-1], Image.BILINEAR))
        found = resize_at_8_bits(vi, size)[0].permute(1, 2, 0) * 255
        assert (found - torch.from_numpy(pillow.copy())).abs().max() < 1e-4
        model = fuser(dict(type='PointwiseFusion', visible=1.0), test_cfg=dict(resize=size)).eval()
        back = torch.nn.functional.interpolate(luminance(resize_at_8_bits(vi, size)), (30, 44), mode='bilinear')
        torch.testing.assert_close(model.run(vi, torch.zeros(1, 1, 30, 44))['fused'], back)
        torch.testing.assert_close(model.train().run(vi, torch.zeros(1, 1, 30, 44))['fused'], luminance(vi))
    with pytest.raises(ValueError, match=r"test_cfg\.resize goes with mode='whole'"):
        fuser(test_cfg=dict(mode='slide', crop_size=(8, 8), resize=(16, 16)))


def test_images_below_a_networks_least_size():
    """What counts is the size after padding."""
    model = fuser(dict(type='PointwiseFusion'))
    model.network.min_size = 8
    small = inputs(h=6, w=20)
    with pytest.raises(ValueError, match=r'\w+ needs images of at least 8×8 pixels, got 6×20 \(height×width\)'):
        model(small)
    model.size_divisor = 4
    assert model(small).shape[2:] == (6, 20)


def test_windows_below_a_networks_least_size():
    """The image is large enough; the message says what is not."""
    model = fuser(dict(type='PointwiseFusion'), test_cfg=dict(mode='slide', crop_size=(5, 5), stride=(5, 5))).eval()
    model.network.min_size = 8
    with pytest.raises(ValueError, match=r'got 5×5 \(height×width\)\. That is a window.*--tile'):
        model(inputs(h=20, w=20))


@pytest.mark.parametrize(('size', 'crop', 'stride'), [(20, 8, 6), (8, 8, 3), (5, 8, 6), (21, 8, 8), (9, 8, 1)])
def test_windows_cover_everything(size, crop, stride):
    starts = windows(size, crop, stride)
    covered = {p for s in starts for p in range(s, min(s + crop, size))}
    assert covered == set(range(size))
    assert len(set(starts)) == len(starts)
    assert starts[-1] == max(0, size - crop)


def test_blending_weights():
    """Neighbouring ramps add up to 1 over their overlap."""
    weights = ramp(8, 2, 'cpu')
    assert weights.tolist() == [0.25, 0.75, 1, 1, 1, 1, 0.75, 0.25]
    assert (weights[-2:] + weights[:2]).tolist() == [1, 1]
    assert ramp(4, 0, 'cpu').tolist() == [0.5, 1, 1, 0.5]


@pytest.mark.parametrize(('crop', 'stride'), [((8, 8), None), ((7, 9), (3, 9)), ((16, 40), (16, 1)), ((5, 5), (5, 5))])
def test_pointwise_network_by_windows_is_exact(crop, stride):
    """Overlaps are averaged with weights that sum to one: nothing changes for a network without context."""
    vi, ir = torch.rand(2, 2, 1, 19, 33)
    network = MODELS.build(dict(type='PointwiseFusion'))
    out = slide(lambda window: network(window['vi_rgb'], window['ir']), Batch(vi_rgb=vi, ir=ir), crop, stride)
    torch.testing.assert_close(out, network(vi, ir), rtol=1e-6, atol=1e-6)


def test_windows_that_are_averaged():
    """Each window counts the same where two overlap; fading windows differ."""
    batch = Batch(vi_rgb=torch.rand(1, 3, 4, 6))
    values = iter([1.0, 3.0, 1.0, 3.0])
    results = {
        blend: slide(lambda window: torch.full_like(window['vi_rgb'], next(values)), batch, (4, 4), (4, 2), blend)[0, 0]
        for blend in ('mean', 'linear')
    }
    assert results['mean'][0].tolist() == [1, 1, 2, 2, 3, 3]
    assert results['linear'][0].tolist() == [1, 1, 1.5, 2.5, 3, 3]
    with pytest.raises(ValueError, match=r"test_cfg.blend must be one of linear, mean, mean_border, got 'max'"):
        slide(None, batch, (4, 4), blend='max')


def test_slide_mode():
    """``exact`` gives the whole image's result; independent windows do not; training takes whole images."""
    batch = inputs(1, 40, 56)
    results = {}
    for name, test_cfg in dict(
        whole=None,
        exact=dict(mode='slide', crop_size=(24, 24)),
        windows=dict(mode='slide', crop_size=(24, 24), stride=(16, 16), exact=False),
    ).items():
        torch.manual_seed(0)
        with torch.no_grad():
            results[name] = fuser(test_cfg=test_cfg).eval()(batch)
    torch.testing.assert_close(results['exact'], results['whole'], rtol=0, atol=1e-5)
    assert (results['windows'] - results['whole']).abs().max() > 1e-3


def test_stride_that_leaves_gaps():
    with pytest.raises(ValueError, match=r'stride \(9, 4\) must be between 1 and crop_size \(8, 8\)'):
        slide(None, Batch(vi_rgb=torch.rand(1, 3, 20, 20)), (8, 8), (9, 4))


@pytest.mark.parametrize('variant', ['official', 'paper'])
def test_mixed_precision_training(variant):
    """Under autocast the losses and the min-max are computed in float32, and near those of full precision."""
    torch.manual_seed(0)
    model = fuser(dict(FIFN, variant=variant), dict(PIXEL, contrastive=CONTRASTIVE)).train()
    batch, seen = inputs(4, 24, 24), {}
    model.network.register_forward_hook(lambda m, args, out: seen.update(network=out))
    for loss in model.losses.values():
        loss.register_forward_pre_hook(
            lambda m, args, kwargs: seen.update({type(m): (kwargs['fused'].dtype, torch.is_autocast_enabled('cpu'))}),
            with_kwargs=True,
        )
    expected = model(batch, samples(4, 24, 24), mode='loss')
    with torch.autocast('cpu', torch.bfloat16):
        out = model(batch, samples(4, 24, 24), mode='loss')
    assert seen.pop('network').dtype == torch.float32
    assert set(seen.values()) == {(torch.float32, False)}
    for name, value in out.items():
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert value.item() == pytest.approx(expected[name].item(), rel=0.15, abs=0.05)
    sum(v for k, v in out.items() if k.startswith('loss')).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_half_precision_output_of_a_network():
    """A network that answers in half precision: its losses are still float32, without overflow."""

    class Half(nn.Module):
        def forward(self, vi, ir):
            return (vi + ir).half() * 300

    model = fuser(dict(type='PointwiseFusion'), PIXEL)
    model.network = Half()
    out = model(inputs(), samples(), mode='loss')  # (600)² is beyond half precision
    assert all(v.dtype == torch.float32 and v.isfinite() for v in out.values())
    assert out['loss_intensity'] > 65504
    assert model(inputs()).dtype == torch.float32


def test_float64_stays():
    model = fuser(losses=PIXEL).double().train()
    out = model({k: v.double() for k, v in inputs().items()}, samples(), mode='loss')
    assert {v.dtype for v in out.values()} == {torch.float64}
