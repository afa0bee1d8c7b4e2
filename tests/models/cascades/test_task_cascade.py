"""What FusionSegmentor and FusionDetector have in common: gradients, freezing, weights, sizes, errors."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from mmfusion.models.checkpoint import load_weights
from mmfusion.models.fusers import ImageFuser
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import CheckpointError

from .conftest import FUSER, batch, cascade_config, small

pytestmark = pytest.mark.usefixtures('one_thread')
NETS = {
    'seg': 'mmseg::bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
    'det': 'mmdet::yolox/yolox_nano_8xb8-300e_coco.py',
}


@pytest.fixture(scope='module', params=NETS)
def task(request):
    return request.param


@pytest.fixture(scope='module')
def configs(tmp_path_factory):
    """The configs of both cascades."""
    return {task: cascade_config(tmp_path_factory.mktemp(task), base) for task, base in NETS.items()}


def make(cfg, **options):
    """The same model each time, with other options."""
    torch.manual_seed(0)
    return MODELS.build(dict(cfg.model, **options))


def losses_of(model, raw):
    torch.manual_seed(1)
    return model(**model.data_preprocessor(copy.deepcopy(raw), True), mode='loss')


def fuser_gradients(model, losses):
    model.zero_grad()
    model.parse_losses(losses)[0].backward()
    return [p.grad.clone() for p in model.fuser.parameters() if p.grad is not None]


def test_without_task_weight_gradients_are_those_of_fusion_alone(configs, task, hub):
    """Bit for bit; and the weights multiply what they are said to."""
    model, raw = make(configs[task], task_weight=0.0).train(), batch(task)
    ours = fuser_gradients(model, losses_of(model, raw))
    alone = copy.deepcopy(model.fuser)
    alone.zero_grad()
    data = alone.data_preprocessor(copy.deepcopy(raw), True)
    alone.parse_losses(alone(**data, mode='loss'))[0].backward()
    theirs = [p.grad for p in alone.parameters() if p.grad is not None]
    assert len(ours) == len(theirs) > 10
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert any(g.abs().sum() > 0 for g in ours)


def test_weights_scale_their_side(configs, task, hub):
    raw = batch(task)
    plain = losses_of(make(configs[task]).train(), raw)
    scaled = losses_of(make(configs[task], fusion_weight=3.0, task_weight=0.5).train(), raw)
    for name, value in plain.items():
        factor = {'fusion': 3.0}.get(name.split('.')[0], 0.5) if 'loss' in name else 1.0
        pairs = zip(value, scaled[name], strict=True) if isinstance(value, list) else [(value, scaled[name])]
        for a, b in pairs:
            torch.testing.assert_close(factor * a, b)
    assert {name.split('.')[0] for name in plain} == {'fusion', task}


def test_a_preprocessor_without_size_is_told_in_training(configs, hub):
    """mmsegmentation's model files leave the size to the configs that inherit them."""
    model = make(configs['seg'])
    model.task.data_preprocessor.size = None
    with pytest.raises(
        ValueError, match=r'segmentor.data_preprocessor has neither size nor size_divisor.*Set segmentor'
    ):
        losses_of(model.train(), batch('seg'))


def test_the_config_of_the_docs_trains(tmp_path, hub):
    page = (Path(__file__).resolve().parents[3] / 'docs/cascades.md').read_text(encoding='utf-8')
    (tmp_path / 'mine.py').write_text(re.search(r'```python\n(_base_ = .*?)```', page, re.DOTALL)[1])
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert cfg.model.segmentor.data_preprocessor.size == (480, 480)
    losses = losses_of(MODELS.build(small(cfg.model, 6)).train(), batch('seg'))
    assert {'fusion.loss_intensity', 'seg.decode.loss_ce', 'seg.aux.loss_ce'} <= set(losses)


@MODELS.register_module()
class TellingLoss(torch.nn.Module):
    """A loss that tells a term whose name has "loss" in it."""

    def forward(self, fused, ir):
        value = (fused - ir).abs().mean()
        return value, dict(loss_l1=value)


def test_terms_of_the_fusers_losses_are_neither_added_nor_weighted(configs, task, hub):
    fuser = dict(FUSER, losses=dict(own=dict(type='TellingLoss')))
    model = make(configs[task], fuser=fuser, fusion_weight=3.0).train()
    losses = losses_of(model, batch(task))
    torch.testing.assert_close(3 * losses['fusion.own/loss_l1'], losses['fusion.loss_own'].detach())
    total, log = model.parse_losses(losses)
    parts = [value for name, value in log.items() if 'loss' in name and name not in ('loss', 'fusion.own/loss_l1')]
    torch.testing.assert_close(total, sum(parts))
    assert 'fusion.own/loss_l1' in log


def test_a_frozen_fuser_stays_as_it_is(configs, task, hub):
    """Bit-equal parameters and batch norm statistics, no gradient, no fusion losses; the task still learns."""
    model = make(configs[task], frozen=('fuser',)).train()
    before = copy.deepcopy(model.fuser.state_dict())
    task_before = copy.deepcopy(model.task_state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    for _ in range(2):
        losses = losses_of(model, batch(task))
        assert all(name.startswith(task) for name in losses)
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in model.fuser.state_dict().items())
    assert all(p.grad is None for p in model.fuser.parameters())
    assert not model.fuser.training
    assert any(not torch.equal(v, task_before[k]) for k, v in model.task_state_dict().items())


def test_a_frozen_task_still_guides_the_fuser(configs, task, hub):
    model = make(configs[task], frozen=(make(configs[task]).task_name,)).train()
    before = copy.deepcopy(model.task_state_dict())
    with_task = fuser_gradients(model, losses_of(model, batch(task)))
    model.loss_weights['task'] = 0.0
    without = fuser_gradients(model, losses_of(model, batch(task)))
    assert any(not torch.equal(a, b) for a, b in zip(with_task, without, strict=True))
    assert all(torch.equal(v, before[k]) for k, v in model.task_state_dict().items())
    assert all(p.grad is None for p in model.task.parameters())


@MODELS.register_module()
class DimmedFuser(ImageFuser):
    """Fuses in its own way."""

    def run(self, vi, ir=None, samples=None):
        batch = super().run(vi, ir, samples)
        return self.complete(batch, dict(fused=0.5 * batch['fused']))


def test_the_task_is_trained_on_the_image_of_a_test(configs, task, hub, monkeypatch):
    """Of a fuser that overrides ``run``: difference 0 between losses, task in training, task in tests, and the result."""
    fuser = dict(FUSER, type='DimmedFuser', network=dict(type='AverageNetwork'))
    model, seen = make(configs[task], fuser=fuser).train(), []
    task_inputs = type(model)._task_inputs

    def remember(self, fused, *args):
        seen.append([image.detach().clone() for image in fused])
        return task_inputs(self, fused, *args)

    monkeypatch.setattr(type(model), '_task_inputs', remember)
    raw = batch(task)
    losses_of(model, raw)
    model.eval()
    data = model.data_preprocessor(copy.deepcopy(raw), False)
    with torch.no_grad():
        seen += [list(model.fuser.run(**model.data_preprocessor(copy.deepcopy(raw), False)['inputs'])['fused_rgb'])]
        found = model(**data, mode='predict')
    seen.append([sample.fused.data for sample in found])
    assert len(seen) == 4
    assert all(torch.equal(a, b) for images in seen[1:] for a, b in zip(seen[0], images, strict=True))


def test_images_of_several_sizes(configs, task):
    """Predictions of a mixed batch are those of each image alone."""
    model = make(configs[task]).eval()
    parts = [batch(task, 1, 0, (64, 64)), batch(task, 1, 1, (48, 80)), batch(task, 1, 2, (64, 64))]
    mixed = {key: [x for part in copy.deepcopy(parts) for x in part[key]] for key in ('inputs', 'data_samples')}
    together = model(**model.data_preprocessor(mixed, False), mode='predict')
    for part, sample in zip(parts, together, strict=True):
        alone = model(**model.data_preprocessor(part, False), mode='predict')[0]
        torch.testing.assert_close(sample.fused.data, alone.fused.data, rtol=0, atol=1e-5)
        if task == 'seg':
            torch.testing.assert_close(sample.seg_logits.data, alone.seg_logits.data, rtol=1e-4, atol=1e-5)
        else:
            torch.testing.assert_close(sample.pred_instances.scores, alone.pred_instances.scores, rtol=1e-4, atol=1e-6)


def test_training_on_several_sizes_weighs_images_alike(configs, hub):
    """The fuser's losses are means over the images, whatever their sizes; mmdet pads what it gets."""
    model = make(configs['det']).train()
    parts = [batch('det', 2, 0, (64, 64)), batch('det', 1, 2, (48, 80))]
    mixed = {key: [x for part in copy.deepcopy(parts) for x in part[key]] for key in ('inputs', 'data_samples')}
    together = losses_of(model, mixed)
    model = make(configs['det']).train()
    single = [losses_of(model, part) for part in parts]
    for name in ('fusion.loss_ssim', 'fusion.loss_texture'):
        torch.testing.assert_close(together[name], (2 * single[0][name] + single[1][name]) / 3, rtol=1e-4, atol=1e-6)


def test_without_data_samples(configs, task):
    """Tensors alone are enough to predict, and mode 'tensor' gives what the stock model gives."""
    model = make(configs[task]).eval()
    vi, ir = torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64)
    samples = model(dict(vi=vi, ir=ir), mode='predict')
    assert len(samples) == 2
    assert torch.equal(samples[1].fused.data, model.fuser.fuse(vi, ir)[1])
    assert ('pred_sem_seg' if task == 'seg' else 'pred_instances') in samples[0]
    with torch.no_grad():
        raw = model(dict(vi=vi, ir=ir))
        images = model.task.data_preprocessor(dict(inputs=[255 * x.flip(0) for x in model.fuser.fuse(vi, ir)]), False)
        expected = model.task(images['inputs'], mode='tensor')
    first = [x[0] if isinstance(x, list | tuple) else x for x in (raw, expected)]
    first = [x[0] if isinstance(x, list | tuple) else x for x in first]
    torch.testing.assert_close(*first)


def test_tensor_mode_pads_without_samples(tmp_path):
    """mmseg's preprocessor, told to pad at test time, wants samples even where only tensors are asked for."""
    edits = 'segmentor.data_preprocessor.test_cfg = dict(size_divisor=32)'
    model = make(cascade_config(tmp_path, NETS['seg'], edits)).eval()
    with torch.no_grad():
        out = model(dict(vi=torch.rand(1, 3, 50, 70), ir=torch.rand(1, 1, 50, 70)))
    assert out.shape == (1, 6, 64 // 8, 96 // 8)


def test_images_without_objects(configs, hub):
    raw = batch('det')
    for sample in raw['data_samples']:
        sample.gt_instances = sample.gt_instances[:0]
    total = make(configs['det']).train().parse_losses(losses_of(make(configs['det']).train(), raw))[0]
    assert torch.isfinite(total)


def test_a_fusers_checkpoint_is_put_in_its_place(configs, task, tmp_path):
    model = make(configs[task])
    state = {k: v + 1 if v.is_floating_point() else v for k, v in model.fuser.state_dict().items()}
    torch.save(dict(state_dict=state), tmp_path / 'fuser.pth')
    task_before = copy.deepcopy(model.task_state_dict())
    load_checkpoint(model, str(tmp_path / 'fuser.pth'), strict=False)
    assert all(torch.equal(v, state[k]) for k, v in model.fuser.state_dict().items())
    assert all(torch.equal(v, task_before[k]) for k, v in model.task_state_dict().items())


def test_a_cascades_checkpoint_given_to_a_fuser_alone(configs, task, tmp_path):
    """The fuser's part is taken, also by mmengine's own loading; an inferencer's strict loading agrees."""
    model = make(configs[task])
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'cascade.pth')
    torch.manual_seed(5)
    for load in (load_weights, lambda m, file: load_checkpoint(m, file, strict=False)):
        alone = MODELS.build(FUSER)
        load(alone, str(tmp_path / 'cascade.pth'))
        assert all(torch.equal(v, model.fuser.state_dict()[k]) for k, v in alone.state_dict().items())


def test_one_side_is_not_enough_for_a_test(configs, task, tmp_path):
    model = make(configs[task])
    torch.save(dict(state_dict=model.fuser.state_dict()), tmp_path / 'fuser.pth')
    with pytest.raises(CheckpointError, match=f'It holds the fuser alone: train the {model.task_name} first'):
        load_weights(model, tmp_path / 'fuser.pth')
    torch.save(dict(state_dict=model.task.state_dict()), tmp_path / 'task.pth')
    with pytest.raises(CheckpointError, match=f'It holds the {model.task_name} alone: train the fuser first'):
        load_weights(model, tmp_path / 'task.pth')


def test_starting_weights_of_each_side(configs, task, tmp_path):
    """They are loaded when weights are initialised, as strictly as a test would load them."""
    source = make(configs[task])
    states = {}
    for side, module in (('fuser', source.fuser), ('task', source.task)):
        states[side] = {k: v + 1 if v.is_floating_point() else v for k, v in module.state_dict().items()}
        torch.save(dict(state_dict=states[side]), tmp_path / f'{side}.pth')
    options = {f'{side}_checkpoint': str(tmp_path / f'{side}.pth') for side in states}
    model = make(configs[task], **options)
    model.init_weights()
    assert all(torch.equal(v, states['fuser'][k]) for k, v in model.fuser.state_dict().items())
    assert all(torch.equal(v, states['task'][k]) for k, v in model.task_state_dict().items())
    wrong = make(configs[task], fuser_checkpoint=str(tmp_path / 'task.pth'))
    with pytest.raises(CheckpointError, match='not a checkpoint of this model'):
        wrong.init_weights()


def test_the_config_can_be_written_and_read(configs, task, tmp_path):
    """A dumped config gives the same model."""
    configs[task].dump(tmp_path / 'dumped.py')
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.model == configs[task].model
    assert list(make(again).state_dict()) == list(make(configs[task]).state_dict())


@pytest.mark.parametrize(('side', 'what'), [('fuser', 'the fused image'), ('task', 'a loss')])
def test_nan_stops_with_the_files(configs, side, what, hub):
    model = make(configs['seg'], fuser=dict(FUSER, losses=None)).train()
    for parameter in getattr(model, side).parameters():
        parameter.data.fill_(float('nan'))
    raw = batch('seg')
    with pytest.raises(FloatingPointError, match=f'{what} is not finite.*{raw["data_samples"][0].img_path}'):
        losses_of(model, raw)


@pytest.mark.parametrize('task', ['seg', 'det'])
def test_a_seed_gives_the_task_the_same_weights_behind_any_fuser(configs, task):
    def task_weights(**changes):
        torch.manual_seed(3)
        cascade = MODELS.build(dict(configs[task].model, **changes))
        cascade.init_weights()
        return cascade.task.state_dict()

    network = dict(type='mmfusion.SourceNetwork', source='visible')
    visible_source = dict(type='mmfusion.ImageFuser', network=network, color=dict(type='mmfusion.RGBColor'))
    fused, visible = task_weights(), task_weights(fuser=visible_source)
    assert fused.keys() == visible.keys()
    assert all(torch.equal(value, visible[name]) for name, value in fused.items())


def test_errors(configs):
    with pytest.raises(
        ValueError, match=r"'encoder': no such part of the model\. FusionSegmentor has .*segmentor, fuser"
    ):
        make(configs['seg'], frozen=('encoder',))
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'train'"):
        make(configs['seg'])(None, mode='train')


@pytest.mark.parametrize(
    ('preprocessor', 'message'),
    [
        (
            dict(type='mmseg.SegDataPreProcessor', mean=[0.485, 0.456, 0.406], std=[0.2, 0.2, 0.2]),
            'multiply both by 255',
        ),
        (dict(type='mmseg.SegDataPreProcessor', mean=[99.0] * 4, std=[58.0] * 4), 'for images of 4 channels'),
        (dict(type='mmengine.BaseDataPreprocessor'), 'which does not prepare images'),
    ],
)
def test_preprocessors_that_cannot_follow_a_fuser(configs, preprocessor, message):
    segmentor = dict(copy.deepcopy(configs['seg'].model.segmentor), data_preprocessor=preprocessor)
    with pytest.raises(ValueError, match=message):
        make(configs['seg'], segmentor=segmentor)
