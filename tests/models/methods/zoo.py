"""Checks that the tests of all published methods share.

A method's test file derives a class from :class:`PublishedMethod` and says which numbers, configs and weights are its own::

    class TestDenseFuse(PublishedMethod):
        name = 'densefuse'                      # tests/data/zoo/densefuse.npz
        config = 'densefuse/densefuse_tno.py'   # below configs/
        train = 'densefuse/densefuse_coco.py'
        weights = 'DenseFuse/densefuse_gray.model'  # below data/zoo, a file or a folder
        narrow = {'network.channels': 4}        # below model, for the training step
        published = ('DenseFuse', ('02', '13'))  # folder below data/reference_fusions/TNO, images

The ``.npz`` holds what the public code gave for the inputs in it:

==================  ================================================================================================
``names``           the authors' parameter names, flat, as ``from_authors`` gets them
``shapes``          their shapes, each as text such as ``'16,1,3,3'``, ``''`` for a scalar
``vi_0``, ``ir_0``  inputs, uint8, H×W (or H×W×3 for ``vi`` in colour); ``vi_1`` and so on, one of an odd size
``fused_0``         float32 in [0, 1], H×W or H×W×3: the public code's image before 8 bits, by the authors' weights
``standin_0``       the same by the weights of :func:`stand_in`, so that it can be checked without the authors' file;
                    of float64 where the public code's float32 differs from machine to machine: all is compared in it
``gain``            optional: the factor that :func:`stand_in` was given
==================  ================================================================================================
"""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.hooks import Hook
from PIL import Image
from pretended_cuda import pretended_cuda
from small_training import SIZE, end_stages, shrink, shrink_datasets

from mmfusion.cli import train
from mmfusion.registry import HOOKS, MODELS
from mmfusion.utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parents[3]


@HOOKS.register_module()
class WatchGradients(Hook):
    """Note which parameters of the fuser's network a gradient reaches, and how many steps were taken.

    Attributes:
        learning, reached (set[str]): Of the last run: parameters that some stage trains, and those with a finite gradient
            that is not zero everywhere, in some step.
        steps (int): Of the last run.
    """

    priority = 'LOW'  # after stages froze their parts

    def before_train(self, runner):
        cls = type(self)
        cls.steps, cls.learning, cls.reached = 0, set(), set()
        for module in runner.model.network.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0  # a part that the next stage freezes has seen two batches only
        for name, parameter in runner.model.network.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(partial(self.note, name))

    def note(self, name, parameter):
        if parameter.grad.isfinite().all() and parameter.grad.any():
            self.reached.add(name)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.learning.update(name for name, p in runner.model.network.named_parameters() if p.requires_grad)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        type(self).steps += 1


def stand_in(names, shapes, tensorflow=False, gain=1.0):
    """Make seeded weights under the authors' names, scaled so that features keep their size from layer to layer.

    Args:
        names (Sequence[str]): Of the tensors, in the order of the file.
        shapes (Sequence[str]): Such as ``'16,1,3,3'``.
        tensorflow (bool): Kernels are HWIO, not OIHW.
        gain (float): Factor on kernels, where features would vanish or explode without it.

    Returns:
        dict[str, Tensor]: float32 (counters of batch norm int64); the same on every machine.
    """
    random, state = np.random.RandomState(0), {}
    for name, text in zip(names, shapes, strict=True):
        shape = tuple(int(length) for length in str(text).split(',') if length)
        last = re.split(r'[./]', str(name))[-1]
        if last == 'num_batches_tracked':
            value = np.zeros(shape, np.int64)
        elif last in ('running_var', 'moving_variance') or (len(shape) == 1 and last in ('weight', 'gamma')):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            fan_in = np.prod(shape[:-1] if tensorflow else shape[1:])
            value = random.standard_normal(shape) * fan_in**-0.5 * gain
        else:
            value = random.standard_normal(shape) * 0.1
        state[str(name)] = torch.from_numpy(np.asarray(value, np.int64 if value.dtype == np.int64 else np.float32))
    return state


def to_tensor(image, dtype=torch.float32):
    """H×W or H×W×3, uint8 or float in [0, 1] → 1×C×H×W in [0, 1]."""
    scale = 255 if image.dtype == np.uint8 else 1
    image = torch.from_numpy(np.array(image[..., None] if image.ndim == 2 else image))
    return image.permute(2, 0, 1)[None].to(dtype) / scale


def build(config, **changes):
    """Build the model of a config below ``configs/``, with changes of ``model`` in merge_from_dict's notation."""
    cfg = Config.fromfile(ROOT / 'configs' / config)
    cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    return MODELS.build(cfg.model), cfg


@pytest.mark.usefixtures('one_thread')
class PublishedMethod:
    """The checks; see the module's docstring for the attributes to set."""

    name: str
    config: str
    train: str | None = None
    weights: str | None = None
    tensorflow = False
    tolerance = 1e-5
    build_options: dict = {}  # changes of the test config's model, as for `narrow`
    narrow: dict = {}
    size = 32  # of the training's square patches
    seed = 1  # of the training; of few units all may be below zero at the start
    single_images = False  # the training step gets images without partner
    unlearned: tuple = ()  # patterns of the network's parameters that get no gradient by design
    may_rest: tuple = ()  # patterns of those whose gradient is zero but for rounding
    published: tuple | None = None
    published_tolerance = 0.5  # grey levels, mean over the image

    @pytest.fixture(scope='class')
    def numbers(self):
        with np.load(ROOT / 'tests/data/zoo' / f'{self.name}.npz') as file:
            return dict(file)

    def fuser(self, state):
        """The fuser of the test config with the authors' weights, without rounding to 8 bits."""
        fuser, _ = build(self.config, **self.build_options)
        fuser.network.load_state_dict(fuser.network.from_authors(state), strict=True)
        return fuser.eval()

    def compare(self, fuser, numbers, key):
        rounding, fuser.rounding = fuser.rounding, 'round'
        count = sum(name.startswith(f'{key}_') for name in numbers)
        assert count >= 2, f'{self.name}.npz has {count} images {key}_*; expected two sizes or more'
        for k in range(count):
            double = numbers[f'{key}_{k}'].dtype == np.float64
            dtype, bound = (torch.float64, 1e-9) if double else (torch.float32, self.tolerance)
            vi, ir, expected = (to_tensor(numbers[f'{name}_{k}'], dtype) for name in ('vi', 'ir', key))
            with torch.no_grad():
                batch = fuser.to(dtype).run(vi.expand(-1, 3, -1, -1), ir)
            fused = batch['fused'] if expected.shape[1] == 1 else batch['fused_rgb']
            where = f'{self.name}, {key}_{k}: '
            torch.testing.assert_close(fused, expected, rtol=0, atol=bound, msg=lambda m, w=where: w + m)
        fuser.rounding = rounding

    def test_public_code_by_stand_in_weights(self, numbers):
        state = stand_in(numbers['names'], numbers['shapes'], self.tensorflow, float(numbers.get('gain', 1)))
        self.compare(self.fuser(state), numbers, 'standin')

    @pytest.mark.data
    def test_public_code_by_authors_weights(self, numbers, data_dir):
        if self.weights is None:
            pytest.skip(f'the weights of {self.name} are not in data/zoo')
        self.compare(self.fuser(read_checkpoint(data_dir / 'zoo' / self.weights)[0]), numbers, 'fused')

    @pytest.mark.data
    def test_published_images(self, data_dir):
        if self.published is None:
            pytest.skip(f'data/reference_fusions has no images of {self.name}')
        fuser = self.fuser(read_checkpoint(data_dir / 'zoo' / self.weights)[0])
        folder, images = self.published
        for image in images:
            vi, ir, expected = (
                np.asarray(Image.open(data_dir / part / f'{image}.png').convert(mode))
                for part, mode in (('TNO/vi', 'RGB'), ('TNO/ir', 'L'), (f'reference_fusions/TNO/{folder}', 'L'))
            )
            with torch.no_grad():
                fused = fuser.run(to_tensor(vi), to_tensor(ir))['fused'][0, 0] * 255
            difference = np.abs(fused.round().numpy() - expected).mean()
            assert difference <= self.published_tolerance, f'{folder}/{image}.png: mean difference {difference:.3f}'

    def test_mixed_precision(self):
        """Under bfloat16 autocast the network runs, and gives numbers."""
        fuser, _ = build(self.config, **self.build_options)
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            fused = fuser.eval().run(torch.rand(1, 3, self.size, self.size), torch.rand(1, 1, self.size, self.size))
        assert fused['fused_rgb'].isfinite().all()

    def test_smallest_images(self):
        """Of the least size the network gives numbers; what is smaller is refused with that size."""
        fuser, _ = build(self.config, **{key: v for key, v in self.narrow.items() if key.startswith('network.')})
        least = getattr(fuser.eval().network, 'min_size', 1)
        fuser.resize = fuser.resize and (32, 32)  # the usual size takes long
        for shape in ((least, least), (least, least + 3)):
            with torch.no_grad():
                fused = fuser.run(torch.rand(1, 3, *shape), torch.rand(1, 1, *shape))['fused_rgb']
            assert fused.shape == (1, 3, *shape)
            assert fused.isfinite().all()
        small = (least - 1) // fuser.size_divisor * fuser.size_divisor
        if small and not fuser.resize:
            with pytest.raises(ValueError, match=f'needs images of at least {least}×{least} pixels, got {small}×40'):
                fuser.run(torch.rand(1, 3, small, 40), torch.rand(1, 1, small, 40))

    def test_constant_images(self):
        """One source or both without any contrast: a closed shutter, a covered lens."""
        fuser, _ = build(self.config, **{key: v for key, v in self.narrow.items() if key.startswith('network.')})
        fuser.eval().resize = fuser.resize and (32, 32)
        images = torch.rand(1, 3, self.size, self.size)
        for vi, ir in ((images, 0 * images), (0 * images, images), (0 * images, 0 * images + 1)):
            with torch.no_grad():
                assert fuser.run(vi, ir[:, :1])['fused_rgb'].isfinite().all()

    def test_training_epochs(self, small_data, tmp_path, monkeypatch):
        """Two steps of each stage, by the config's own pipeline, optimizer and schedule; gradients reach all that learn.

        Its ``mmfusion train`` on four pairs, with the sizes of ``narrow``, and a validation on one.
        """
        if self.train is None:
            pytest.skip(f'{self.name} has no config to train')
        monkeypatch.setenv('MMFUSION_DATA', str(small_data))
        cfg = Config.fromfile(ROOT / 'configs' / self.train)
        cfg.merge_from_dict({f'model.{key}': value for key, value in self.narrow.items()})
        for part, size in (('train', 2), ('val', 1)):
            loader = cfg[f'{part}_dataloader']
            shrink(loader, min(self.size, *SIZE))
            shrink_datasets(loader, part)
            loader.update(batch_size=size, num_workers=0, persistent_workers=False)
        epochs = end_stages(cfg)
        cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
        for metric in [cfg.val_evaluator] if isinstance(cfg.val_evaluator, dict) else cfg.val_evaluator:
            if metric.type == 'mmfusion.FusionMetric':
                metric.metric = ['EN']
        cfg.load_from = None
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), dict(type='mmfusion.WatchGradients')]
        cfg.merge_from_dict(dict(log_level='ERROR', randomness=dict(seed=self.seed)))
        cfg.dump(tmp_path / 'narrow.py')
        assert train.main([str(tmp_path / 'narrow.py'), '--work-dir', str(tmp_path / 'run')]) == 0
        assert (tmp_path / f'run/epoch_{epochs}.pth').is_file()
        learning, reached, steps = WatchGradients.learning, WatchGradients.reached, WatchGradients.steps
        assert steps == 2 * epochs
        by_design = {name for name in learning if any(re.fullmatch(pattern, name) for pattern in self.unlearned)}
        rest = {
            name for name in learning - reached - by_design if not any(re.fullmatch(p, name) for p in self.may_rest)
        }
        assert not rest, f'no gradient reaches {sorted(rest)}'
        assert not by_design & reached, f'a gradient does reach {sorted(by_design & reached)}'

    def test_device(self):
        """A training step and a test on a pretended CUDA device, whose tensors refuse to meet the CPU's."""
        if self.train is None:
            pytest.skip(f'{self.name} has no config to train')
        fuser, cfg = build(self.train, **self.narrow)
        with pretended_cuda() as device:
            fuser.to(device).train()
            end_stages(cfg)
            hooks = [*(cfg.get('custom_hooks') or ()), *cfg.get('default_hooks', {}).values()]
            for stage in [stage for hook in hooks if hook for stage in hook.get('stages', ())] or [{}]:
                fuser.phase, fuser.active_losses = stage.get('phase'), stage.get('losses')
                self.backward(fuser)
            with torch.no_grad():
                sample = fuser.eval()(self.inputs(device, pairs=True), mode='predict')[0]
                image = fuser(self.inputs(device, pairs=True), mode='tensor')
            assert sample.fused.data.device == image.device == device

    def backward(self, fuser):
        """One backward pass of all losses on synthetic images; a method with other needs overrides it."""
        device = next(fuser.network.parameters()).device
        samples = fuser.data_preprocessor.cast_data(self.samples())
        loss, _ = fuser.parse_losses(fuser(self.inputs(device), samples, mode='loss'))
        assert loss.isfinite()
        loss.backward()

    def inputs(self, device, pairs=False):
        """Two random images, or pairs of them."""
        inputs = dict(vi=torch.rand(2, 3, self.size, self.size), ir=torch.rand(2, 1, self.size, self.size))
        if self.single_images and not pairs:
            del inputs['ir']
        return {name: value.to(device) for name, value in inputs.items()}

    def samples(self):
        """Data samples of the training step's two images, for losses that need annotations."""
        return
