"""Shares of the sources in known mixtures, the warnings, and augmentation that repeats."""

import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset
from mmengine.runner import EpochBasedTrainLoop
from mmengine.structures import PixelData

from mmfusion.datasets import FusionDataset
from mmfusion.engine.hooks import ReproducibleEpochHook, SourceBalanceHook, source_shares
from mmfusion.structures import FusionDataSample
from mmfusion.utils import write_image


def sources(h=40, w=50, correlation=0.0):
    """Two images of given correlation, in [0, 1]."""
    a, b = torch.randn(2, h * w, dtype=torch.double)
    a = (a - a.mean()) / a.std()
    b = b - b.mean() - (b - b.mean()).dot(a) / a.dot(a) * a
    b = correlation * a + (1 - correlation**2) ** 0.5 * b / b.std()
    return (0.5 + 0.1 * a).view(h, w), (0.5 + 0.1 * b).view(h, w)


@pytest.mark.parametrize('correlation', [-0.5, 0.0, 0.6])
@pytest.mark.parametrize(
    ('a', 'b', 'share_vi'), [(1, 0, 1), (0, 1, 0), (0.5, 0.5, 0.5), (0.8, 0.2, 0.8), (3, 1, 0.75)], ids=str
)
def test_shares_of_known_mixtures(a, b, share_vi, correlation):
    """The sources have equal contrast, so that the share is the factor, however they are correlated."""
    vi, ir = sources(correlation=correlation)
    corr_vi, corr_ir, vi_share, ir_share = source_shares(a * vi + b * ir + 0.1, vi, ir).tolist()
    assert vi_share == pytest.approx(share_vi, abs=1e-6)
    assert ir_share == pytest.approx(1 - share_vi, abs=1e-6)
    norm = (a * a + b * b + 2 * a * b * correlation) ** 0.5
    assert corr_vi == pytest.approx((a + b * correlation) / norm, abs=1e-6)
    assert corr_ir == pytest.approx((b + a * correlation) / norm, abs=1e-6)


def test_shares_of_inverted_and_constant():
    vi, ir = sources()
    _, corr_ir, share_vi, share_ir = source_shares(vi - ir, vi, ir).tolist()
    assert corr_ir == pytest.approx(-(0.5**0.5), abs=1e-6)
    assert (share_vi, share_ir) == pytest.approx((1, 0))
    assert source_shares(torch.ones(40, 50), vi, ir).tolist() == [0, 0, 0, 0]
    assert source_shares(vi, torch.ones(40, 50), ir).isnan().all()
    assert source_shares(vi, vi, ir, torch.zeros(40, 50, dtype=torch.bool)).isnan().all()
    where = torch.zeros(40, 50, dtype=torch.bool)
    where[:, :25] = True
    mixed = torch.where(where, vi, ir)
    assert source_shares(mixed, vi, ir, where)[2:].tolist() == pytest.approx([1, 0])
    assert source_shares(mixed, vi, ir, ~where)[2:].tolist() == pytest.approx([0, 1])


def test_equal_sources_are_shared():
    """What both sources hold alike is not called missing from either."""
    vi, _ = sources()
    assert source_shares(vi, vi, vi)[2:].tolist() == pytest.approx([0.5, 0.5])


class Runner:
    """What the hooks use of a runner."""

    def __init__(self, epoch=3, seed=7, dataset=None, loop=EpochBasedTrainLoop):
        self.scalars, self.epoch, self.seed = {}, epoch, seed
        self.logger = logging.getLogger('source_balance_test')
        self.visualizer = SimpleNamespace(add_scalars=lambda d, step: self.scalars.update(d))
        self.train_dataloader = SimpleNamespace(dataset=dataset)
        self.train_loop = object.__new__(loop)


def validate(fuse, masks=True, correlation=0.0, **options):
    """One validation of two images through the hook."""
    hook, runner = SourceBalanceHook(**options), Runner()
    hook.before_val_epoch(runner)
    pairs, outputs = [], []
    for _ in range(2):
        vi, ir = (x.clamp(0, 1) for x in sources(correlation=correlation))
        pairs.append((torch.stack([vi, vi, vi, ir]) * 255).round().byte())
        sample = FusionDataSample()
        sample.fused = PixelData(data=fuse(vi, ir).float().expand(3, -1, -1))
        if masks:
            inside = torch.zeros(1, 40, 50, dtype=torch.bool)
            inside[:, 10:30, 10:30] = True
            sample.gt_saliency = PixelData(vi=inside, ir=inside)
        outputs.append(sample)
    hook.after_val_iter(runner, 0, dict(inputs=pairs), outputs)
    hook.after_val_epoch(runner)
    return runner.scalars


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_a_fair_mixture_is_logged_without_warning(caplog):
    with caplog.at_level(logging.INFO):
        scalars = validate(lambda vi, ir: 0.5 * vi + 0.5 * ir)
    assert warnings(caplog) == []
    for region in ('all', 'inside', 'outside'):
        assert scalars[f'balance/{region}_share_ir'] == pytest.approx(0.5, abs=0.02)
        assert scalars[f'balance/{region}_corr_vi'] == pytest.approx(0.5**0.5, abs=0.05)
    assert 'Source balance in the salient objects: correlation with visible 0.' in caplog.text
    assert len(scalars) == 9


def test_ignored_source_is_named(caplog):
    validate(lambda vi, ir: vi, masks=False)
    (message,) = warnings(caplog)
    assert (
        'The fused image hardly holds anything of the infrared one in the whole image (share 0%, below 10%;' in message
    )
    assert 'this modality is being ignored. Look at the intensity loss' in message


def test_inverted_source_is_named(caplog):
    """ "My retrained network shows dark persons.\""""
    validate(lambda vi, ir: 0.5 + 0.5 * (vi - ir))
    messages = warnings(caplog)
    assert len(messages) == 3
    for message, place in zip(messages, ('the whole image', 'the salient objects', 'the background'), strict=True):
        assert f'The fused image is the NEGATIVE of the infrared one in {place} (correlation -0.7' in message


def test_fair_mixture_of_opposite_sources_is_no_negative(caplog):
    """Sources that are themselves negatively correlated: the weaker one's correlation is negative, its share is not."""
    scalars = validate(lambda vi, ir: 0.75 * vi + 0.25 * ir, correlation=-0.6)
    assert scalars['balance/all_corr_ir'] < -0.1
    assert warnings(caplog) == []


def test_visible_image_of_opposite_sources_is_no_negative(caplog):
    """Where the sources are opposite, the visible image alone correlates with the infrared one's negative."""
    scalars = validate(lambda vi, ir: vi, correlation=-0.6, masks=False)
    assert scalars['balance/all_corr_ir'] < -0.5
    (message,) = warnings(caplog)
    assert 'hardly holds anything of the infrared one' in message


def test_without_fused_images_nothing_is_said(caplog):
    hook, runner = SourceBalanceHook(), Runner()
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, dict(inputs=[torch.zeros(4, 8, 8, dtype=torch.uint8)]), [FusionDataSample()])
    hook.after_val_epoch(runner)
    assert runner.scalars == {}
    assert warnings(caplog) == []


def test_min_share_error():
    with pytest.raises(ValueError, match=r'min_share must be between 0 and 0.5, got 0.6'):
        SourceBalanceHook(min_share=0.6)


@pytest.fixture
def dataset(tmp_path):
    """Six pairs, with an augmentation that draws from all three generators."""
    for i in range(6):
        for folder, shape in (('vi', (4, 5, 3)), ('ir', (4, 5))):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_image(tmp_path / folder / f'{i}.png', np.full(shape, i, np.uint8))
    return FusionDataset(data_root=str(tmp_path), pipeline=[draw])


def draw(results):
    return dict(idx=results['sample_idx'], numbers=(random.random(), np.random.rand(), torch.rand(()).item()))


def epoch(dataset, number, workers=0, seed=7, order=None):
    """The numbers of each sample in an epoch, through the hook and a dataloader."""
    ReproducibleEpochHook().before_train_epoch(Runner(number, seed, dataset))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=workers, sampler=order or range(len(dataset)), collate_fn=lambda x: x
    )
    return {r['idx']: r['numbers'] for r in loader}


def test_augmentation_is_a_function_of_seed_epoch_and_sample(dataset):
    first = epoch(dataset, 0)
    assert len({n for numbers in first.values() for n in numbers}) == 18  # no two samples, no two generators alike
    assert epoch(dataset, 0, workers=2) == first
    assert epoch(dataset, 0, order=[5, 3, 1, 0, 2, 4]) == first
    second = epoch(dataset, 1)
    assert all(a != b for k in first for a, b in zip(first[k], second[k], strict=True))
    assert epoch(dataset, 1, workers=1) == second
    assert epoch(dataset, 0, seed=8)[0] != first[0]


def test_workers_that_live_on_see_the_new_epoch(dataset):
    expected = [epoch(dataset, k) for k in (0, 1)]
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=1, persistent_workers=True, collate_fn=lambda x: x
    )
    for k in (0, 1):
        ReproducibleEpochHook().before_train_epoch(Runner(k, 7, dataset))
        assert {r['idx']: r['numbers'] for r in loader} == expected[k]


def test_samples_leave_the_generators_alone(dataset):
    dataset.set_epoch(0, 0)
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    dataset[0]
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


def test_without_the_hook_samples_draw_from_the_global_generators(dataset):
    random.seed(1)
    first = dataset[0]['numbers'][0]
    random.seed(1)
    assert random.random() == first


def test_hook_seeds_the_process(dataset):
    values = []
    for number in (0, 0, 1):
        ReproducibleEpochHook().before_train_epoch(Runner(number, 7, dataset))
        values.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert values[0] == values[1]
    assert all(a != b for a, b in zip(values[1], values[2], strict=True))


def test_hook_reaches_wrapped_datasets(dataset, caplog):
    class Repeated(RepeatDataset):
        """A user's subclass, which repeats as mmengine's class does."""

    wrapped = SimpleNamespace(datasets=[Repeated(dataset, 2)])
    ReproducibleEpochHook().before_train_epoch(Runner(0, 7, wrapped))
    assert dataset._epoch.tolist() == [7, 0]
    assert 'RepeatDataset gives the same augmentation for each repetition' in caplog.text


def test_hook_leaves_iteration_based_loops_alone(dataset):
    runner = Runner(4, 7, dataset)
    runner.train_loop = object()
    ReproducibleEpochHook().before_train_epoch(runner)
    assert dataset._epoch.tolist() == [-1, -1]
