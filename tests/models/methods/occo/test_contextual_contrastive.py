"""OCCO's contrastive loss against its equations, term by term, and against the public code's numbers."""

import contextlib
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from mmfusion.models.methods.occo import ContextualContrastiveLoss, contextual_distance, euclidean_distance, split_masks
from mmfusion.models.methods.occo.masked_vgg import RegionFeatures

# Numbers made by running the public code, bociic/OCCO at 1c22560, in float64 and without a GPU: on the batches of
# :func:`seeded_batch` with its VGG19 made narrow, and on the batch of the parity file ("whole") with its own VGG19.
DATA = Path(__file__).parents[3] / 'data' / 'occo'

TINY = dict(type='VGGPrior', weights='random', width=1 / 16)
# Shallow layers keep enough points on small images.
LAYERS = {'relu2_1': 0.25, 'relu3_1': 1.0}
NAMES = ('unique_vi', 'unique_ir', 'shared_vi', 'shared_ir', 'background')


def build(**kwargs):
    return ContextualContrastiveLoss(**{**dict(prior=TINY, layers=LAYERS, omega=(0.3, 0.7, 0.5)), **kwargs})


def batch(n=4, size=16, dtype=torch.float32):
    """Random images; each mask a rectangle, so that all four regions are there."""
    fused, vi, ir = torch.rand(3, n, 1, size, size, dtype=dtype)
    mask_vi, mask_ir = torch.zeros(2, n, 1, size, size, dtype=torch.bool)
    mask_vi[..., 2:10, 3:12] = True
    mask_ir[..., 6:14, 5:15] = True
    return dict(fused=fused, vi=vi, ir=ir, mask_vi=mask_vi, mask_ir=mask_ir)


def direct_terms(loss, b):
    """Eq. 6-8 by loops over layers, groups and images."""
    vgg, n = loss.prior('vgg'), len(b['fused']) // loss.groups
    regions = split_masks(b['mask_vi'], b['mask_ir'])

    euclidean = loss.space == 'euclidean'
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=b['fused'].dtype).view(1, 3, 1, 1)

    def distance(x, y):
        if euclidean:
            return euclidean_distance(x, y, loss.variant)[0]
        return contextual_distance(x, y, loss.variant, loss.omega[2])[0]

    def features(image, layer):
        """In Euclidean space of a first layer folded to grey, without normalisation."""
        return (vgg.features_of(image * luma, (layer,)) if euclidean else vgg(image, (layer,)))[layer]

    def ratio(region, positive, negative):
        mask = regions[region]
        index = [i for i in range(n) if loss.empty == 'keep' or mask[i].any()]
        if not index:
            return torch.tensor(0.0)
        tops, bottoms = [], []
        for layer, weight in loss.layers.items():

            def feature(name, group=0, layer=layer):
                rows = [group * n + i for i in index]
                return torch.cat([features(b[name][r][None] * mask[r][None], layer) for r in rows])

            pair = (feature('fused'), feature(positive))
            if loss.variant == 'official' and layer.startswith('relu5'):
                pair = pair[::-1]  # the public code's order, there only
            tops.append(weight * distance(*pair))
            bottoms.append(sum(weight * distance(feature('fused'), feature(negative, j)) for j in range(loss.groups)))
        if loss.variant == 'paper':
            return sum(tops) / sum(bottoms)
        return sum(w * t / q for w, t, q in zip(loss.layers.values(), tops, bottoms, strict=True))

    def background():
        mask = regions['background']

        def distance_bg(x, y):
            mse = (loss.regions.shallow(x) - loss.regions.shallow(y)).square().flatten(1).mean(1)
            return (mse if loss.variant == 'official' else mse.sqrt()).mean()

        anchor = (b['fused'] * mask)[:n]
        bottom = sum(distance_bg(anchor, (b['ir'] * mask)[j * n : (j + 1) * n]) for j in range(loss.groups))
        return (1 / 16 if loss.variant == 'official' else 1) * distance_bg(anchor, (b['vi'] * mask)[:n]) / bottom

    return dict(
        unique_vi=ratio('unique_vi', 'vi', 'ir'),
        unique_ir=ratio('unique_ir', 'ir', 'vi'),
        shared_vi=ratio('shared', 'vi', 'ir'),
        shared_ir=ratio('shared', 'ir', 'vi'),
        background=background(),
    )


@pytest.mark.parametrize('empty', ['keep', 'drop'])
@pytest.mark.parametrize('space', ['contextual', 'euclidean'])
@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize(('layers', 'size'), [(LAYERS, 16), (None, 32)])
def test_terms_against_equations(variant, space, layers, size, empty):
    """Two images a group, some of them with empty regions: values, total and gradient."""
    loss = build(variant=variant, space=space, layers=layers, empty=empty).double()
    b = batch(8, size, dtype=torch.double)
    b['mask_vi'][0] = False  # an anchor without visible and shared objects
    b['mask_ir'][3] = False  # a negative that is left with no shared region
    b['mask_vi'][6] = b['mask_ir'][6] = True  # a negative without background
    b['fused'].requires_grad_()
    total, terms = loss(**b)
    expected = direct_terms(loss, b)
    assert tuple(terms) == NAMES
    for name in NAMES:
        torch.testing.assert_close(terms[name], expected[name].detach(), rtol=1e-8, atol=1e-10)
    u_vi, u_ir, s_vi, s_ir, background = (expected[name] for name in NAMES)
    expected_total = u_vi + u_ir + 0.3 * s_vi + 0.7 * s_ir + background  # eq. 5-7
    torch.testing.assert_close(total, expected_total, rtol=1e-8, atol=1e-10)
    grads = [torch.autograd.grad(value, b['fused'])[0] for value in (total, expected_total)]
    torch.testing.assert_close(*grads, rtol=1e-7, atol=1e-10)
    assert (grads[0][2:] == 0).all()  # only the first group is anchor


EMPTY = ['nothing', 'vi only', 'ir only', 'same', 'all', 'disjoint']


@pytest.mark.parametrize('empty', ['keep', 'drop'])
@pytest.mark.parametrize('variant', ['official', 'paper'])
@pytest.mark.parametrize('case', EMPTY)
def test_empty_regions(variant, case, empty):
    """Without images a term has no gradient, and is 0 if they are dropped; the loss and its gradient stay finite."""
    b = batch()
    nothing = torch.zeros_like(b['mask_vi'])
    mask_vi, mask_ir = {
        'nothing': (nothing, nothing),
        'vi only': (b['mask_vi'], nothing),
        'ir only': (nothing, b['mask_ir']),
        'same': (b['mask_vi'], b['mask_vi']),
        'all': (~nothing, ~nothing),
        'disjoint': (b['mask_vi'], b['mask_ir'] & ~b['mask_vi']),
    }[case]
    b.update(mask_vi=mask_vi, mask_ir=mask_ir)
    b['fused'].requires_grad_()
    total, terms = build(variant=variant, empty=empty)(**b)
    regions = split_masks(mask_vi, mask_ir)
    for name, region in zip(NAMES, ('unique_vi', 'unique_ir', 'shared', 'shared', 'background'), strict=True):
        if empty == 'drop' or regions[region].any():
            assert (terms[name] == 0) == (not regions[region].any())
    (grad,) = torch.autograd.grad(total, b['fused'])
    assert total.isfinite()
    assert grad.isfinite().all()
    outside = [r for r in regions.values() if not r.any()]
    assert len(outside) == dict(zip(EMPTY, (3, 2, 2, 2, 3, 1), strict=True))[case]


@pytest.mark.parametrize(('space', 'empty'), [('contextual', 'keep'), ('contextual', 'drop'), ('euclidean', 'keep')])
def test_empty_term_has_no_gradient(space, empty):
    """Where both masks are everything there is nothing unique and no background: with ω1 = ω2 = 0 nothing is left."""
    b = batch()
    b['mask_vi'][:], b['mask_ir'][:] = True, True
    b['fused'].requires_grad_()
    total, _ = build(omega=(0, 0, 0.5), space=space, empty=empty)(**b)
    if (
        empty == 'drop' or space == 'euclidean'
    ):  # black features have no Euclidean distance: 0, where the public code is NaN
        assert total == 0
    assert (torch.autograd.grad(total, b['fused'])[0] == 0).all()


def test_wrong_batch_size():
    with pytest.raises(ValueError, match=r'into 4 groups, and this one has 6 pairs. Use a batch_size of 4, 8, 12, …'):
        build()(**batch(6))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(space='cosine'), "space must be 'contextual' or 'euclidean', got 'cosine'"),
        (dict(variant='public'), "variant must be 'official' or 'paper', got 'public'"),
        (dict(empty='skip'), "empty must be 'keep' or 'drop', got 'skip'"),
    ],
)
def test_option_errors(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_vgg_runs_once_with_gradient_and_once_without(monkeypatch):
    """Anchors in one call; positives and negatives in another, in batches whose size changes nothing."""
    b = batch(8)
    b['fused'].requires_grad_()
    values = []
    for size in (5, 100):
        loss, calls = build(vgg_batch=size), []
        regions = loss.regions

        def masked(images, regions, batch, calls=calls, run=regions.masked):
            out = run(images, regions, batch)
            calls.append((torch.is_grad_enabled(), len(images), batch, all(v.requires_grad for v in out.values())))
            return out

        monkeypatch.setattr(regions, 'masked', masked)
        values.append(loss(**b)[0])
        # 3 regions × 2 anchors; 2 shared × 8, and the unique ones' 2 positives + 8 negatives each
        assert sorted(calls) == [(False, 36, size, False), (True, 6, size, True)]
    torch.testing.assert_close(*values, rtol=1e-5, atol=0)


def test_gradient_goes_to_the_fused_image_only():
    b = batch()
    for name in ('fused', 'vi', 'ir'):
        b[name].requires_grad_()
    loss = build()
    loss(**b)[0].backward()
    assert b['fused'].grad.abs().sum() > 0
    assert b['vi'].grad is None
    assert b['ir'].grad is None
    assert all(p.grad is None and not p.requires_grad for p in loss.prior('vgg').parameters())


def test_prior_is_beside_the_model():
    """Not in the checkpoint, the optimizer or an EMA copy, but moved along."""
    loss = build()
    assert loss.state_dict() == {}
    assert list(loss.parameters()) == []
    assert list(loss.buffers()) == []
    vgg = loss.prior('vgg')
    assert copy.deepcopy(loss).prior('vgg') is vgg
    assert not loss.train().prior('vgg').training
    torch.nn.Sequential(loss).to(torch.float64)
    assert {t.dtype for t in (*vgg.parameters(), *vgg.buffers())} == {torch.float64}
    assert loss(**batch(dtype=torch.double))[0].dtype == torch.float64


def test_loss_weight_and_gradcheck():
    b = batch(dtype=torch.double)
    loss = build().double()
    torch.testing.assert_close(build(loss_weight=10).double()(**b)[0], 10 * loss(**b)[0])
    fused = b.pop('fused').requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, **b)[0], fused, fast_mode=True)


def test_one_group():
    """With one group the only negative is the anchor's own pair."""
    loss, b = build(groups=1).double(), batch(1, dtype=torch.double)
    for name, value in direct_terms(loss, b).items():
        torch.testing.assert_close(loss(**b)[1][name], value, rtol=1e-8, atol=0)


@pytest.fixture(scope='session')
def seeded_vgg19(tmp_path_factory):
    """The parity file's VGG19, of random but reproducible weights, as a state dict on disk."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        features = torchvision.models.vgg19(weights=None).features
    path = tmp_path_factory.mktemp('vgg') / 'vgg19.pt'
    torch.save(features.state_dict(), path)
    return str(path)


@pytest.fixture(scope='module')
def parity(data_dir):
    return torch.load(data_dir / 'parity' / 'occo_official.pt', weights_only=True)


@contextlib.contextmanager
def float64():
    """Modules built here hold their constants, such as ImageNet's mean, in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def relative(a, b):
    return ((a - b).norm() / b.norm()).item()


def seeded_loss(**kwargs):
    """The loss with a VGG19 an eighth as wide, whose weights NumPy draws: the one that the public code's numbers are of."""
    with float64():
        loss = ContextualContrastiveLoss(prior=dict(type='VGGPrior', weights='random', width=1 / 8), **kwargs).double()
    rng, vgg = np.random.RandomState(0), loss.prior('vgg')
    for layer in vgg.features:
        if isinstance(layer, torch.nn.Conv2d):
            scale = (2 / (9 * layer.in_channels)) ** 0.5
            layer.weight.data = torch.from_numpy(scale * rng.standard_normal(layer.weight.shape))
            layer.bias.data = torch.from_numpy(0.1 * rng.standard_normal(layer.bias.shape))
    loss.regions = RegionFeatures(vgg, loss.regions.grey)
    return loss


def seeded_batch(case):
    """Images of coarse and fine noise and rectangles as masks, two images a group, as the public code was given them."""
    rng = np.random.RandomState(('full', 'some', 'anchors').index(case))

    def image():
        coarse = np.kron(rng.randint(0, 256, (8, 1, 16, 16)), np.ones((4, 4)))
        return torch.from_numpy((0.5 * coarse + rng.randint(0, 128, (8, 1, 64, 64))) / 255)

    fused, vi, ir = image(), image(), image()
    mask_vi, mask_ir = torch.zeros(2, 8, 1, 64, 64, dtype=torch.bool)
    mask_vi[..., 8:40, 12:44] = True
    mask_ir[..., 24:56, 20:60] = True
    if case == 'some':  # an anchor without visible objects; negatives without those of one modality, or of both
        mask_vi[[0, 6]] = False
        mask_ir[[3, 6]] = False
    elif case == 'anchors':  # no anchor has infrared objects: two regions are empty in all of them
        mask_vi[5] = False
        mask_ir[:2] = False
    return dict(fused=fused, vi=vi, ir=ir, mask_vi=mask_vi, mask_ir=mask_ir)


SPACES = {
    'contextual': {},
    'euclidean-deep': dict(space='euclidean'),
    'euclidean-all': dict(
        space='euclidean', layers=dict(relu1_1=1 / 16, relu2_1=1 / 16, relu3_1=1 / 8, relu4_1=1 / 4, relu5_1=1.0)
    ),
}


@pytest.mark.parametrize('space', SPACES)
@pytest.mark.parametrize('case', ['full', 'some', 'anchors'])
def test_public_numbers_with_empty_regions(case, space):
    """Terms, total and gradient that the public code gave in float64: within 1e-9; in float32 the total within 1e-5.

    In the case without empty regions float32 is not asked for: two points of that batch are so near that the formula
    itself loses 1.4e-5 in float32.
    """
    with np.load(DATA / 'contrastive.npz') as numbers:
        terms, total, grad = (torch.from_numpy(numbers[f'{case}/{space}/{k}']) for k in ('terms', 'total', 'grad'))
    loss, b = seeded_loss(**SPACES[space]), seeded_batch(case)
    b['fused'].requires_grad_()
    value, ours = loss(**b)
    # Distances of black features to each other are −log(1 + 1e-5): small, and of either sign.
    torch.testing.assert_close(torch.stack([ours[name] for name in NAMES]), terms, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(value.detach(), total, rtol=1e-9, atol=0)
    gradient = torch.autograd.grad(value, b['fused'])[0]
    assert relative(gradient[:2].flatten()[::16], grad) < 1e-9
    if case == 'full':
        return
    single = loss.float()(**{k: v.detach().float() if v.is_floating_point() else v for k, v in b.items()})[0]
    assert single.item() == pytest.approx(total.item(), rel=1e-5)


def test_dropping_empty_images_changes_the_terms():
    """Where a region is empty in one anchor of two, the two choices are far apart; where none is empty, the same."""
    for case, same in (('full', True), ('some', False)):
        b = seeded_batch(case)
        keep, drop = (seeded_loss(empty=empty)(**b)[0] for empty in ('keep', 'drop'))
        assert ((keep - drop).abs() / keep < 1e-12) == same
        assert same or (keep - drop).abs() / keep > 0.1


@pytest.mark.data
def test_parity_of_terms(parity, seeded_vgg19):
    """All five terms and their sum in float32: relative error ≤ 1e-5."""
    probe = torch.load(seeded_vgg19, weights_only=True)['0.weight'].flatten()[:8]
    torch.testing.assert_close(probe, parity['vgg19_probe'].detach(), rtol=0, atol=0)
    case, loss = parity['contrastive'], ContextualContrastiveLoss(prior=dict(type='VGGPrior', weights=seeded_vgg19))
    total, terms = loss(*(case[k].detach() for k in ('fused', 'vi', 'ir', 'mask_vi', 'mask_ir')))
    for name in NAMES:
        assert terms[name].item() == pytest.approx(case[name].item(), rel=1e-5), name
    assert total.item() == pytest.approx(case['total'].item(), rel=1e-5)


@pytest.mark.data
def test_parity_of_gradient(parity, seeded_vgg19):
    """Terms and gradient of the same batch in float64: within 1e-9, the largest difference of the gradient as well.

    The forward values cannot tell which way round relu5_4's positive is compared: on 3×3 points each is by far the nearest
    to itself, all five distances are −log(1 + 1e-5), their ratio is a quarter. The gradient does: 1.0e-4 the wrong way
    round. In float32 it could not be asked for: there the public code's gradient is 1.2e-4 from its own in float64, and
    terms up to 6e-4, by the rounding of the processor's instruction set.
    """
    case = parity['contrastive']
    with np.load(DATA / 'contrastive.npz') as numbers:
        expected, reference = (torch.from_numpy(numbers[f'whole/{k}']) for k in ('terms', 'grad'))
    with float64():
        loss = ContextualContrastiveLoss(prior=dict(type='VGGPrior', weights=seeded_vgg19)).double()
    fused, *others = (case[k].detach().double() for k in ('fused', 'vi', 'ir', 'mask_vi', 'mask_ir'))
    total, terms = loss(fused.requires_grad_(), *others)
    gradient = torch.autograd.grad(total, fused)[0]
    torch.testing.assert_close(torch.stack([terms[name] for name in NAMES]), expected, rtol=1e-9, atol=0)
    assert (gradient[1:] == 0).all()
    assert relative(gradient[:1], reference) <= 1e-9
    assert ((gradient[:1] - reference).abs().max() / reference.abs().max()).item() <= 1e-9


@pytest.mark.parametrize(('variant', 'deep'), [('official', 0.25), ('paper', 1.0)])
def test_default_weights_of_layers(variant, deep):
    """Eq. 13 has no weights, the public code 1/4 and 1."""
    prior = dict(type='VGGPrior', weights='random', width=1 / 16)
    assert ContextualContrastiveLoss(prior=prior, variant=variant).layers == dict(relu4_4=deep, relu5_4=1.0)
