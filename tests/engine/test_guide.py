"""A random head is refused as a guide."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import PretrainedInit
from torch import nn

from mmfusion.engine.hooks import GuideHook
from mmfusion.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class OwnPretrained(PretrainedInit):
    """A user's way of loading, which counts as the class it inherits."""


class Cascade(nn.Module):
    """What the hook looks at in a cascade: a fuser, and a task of a backbone and a head."""

    task_name = 'segmentor'

    def __init__(self, task_weight=0.2):
        super().__init__()
        self.fuser = nn.Linear(2, 2)
        self.segmentor = nn.Module()
        self.segmentor.backbone = nn.Linear(2, 2)
        self.segmentor.decode_head = nn.Sequential(nn.Linear(2, 3))
        self.loss_weights = dict(task=task_weight)
        self.checkpoints = dict(segmentor=None)
        self.segmentor.requires_grad_(False)

    task = property(lambda self: self.segmentor)
    place_state_dict = staticmethod(dict)
    fuser_is_frozen = property(lambda self: not any(p.requires_grad for p in self.fuser.parameters()))


class Log(list):
    """A logger that keeps its lines."""

    info = warning = list.append


def runner_of(model):
    return SimpleNamespace(model=model, logger=Log(), _load_from='start.pth')


def step(hook, runner):
    hook.before_train_iter(runner, 0)
    hook.after_train_iter(runner, 0)


def started(model, checkpoint=None, **options):
    hook, runner = GuideHook(**options), runner_of(model)
    if checkpoint is not None:
        hook.after_load_checkpoint(runner, checkpoint)
        model.load_state_dict(checkpoint['state_dict'], strict=False)
    hook.before_train(runner)
    return hook, runner


def record(hook, runner):
    checkpoint = dict(meta={})
    hook.before_save_checkpoint(runner, checkpoint)
    return checkpoint['meta']['guide']


def test_a_random_head_is_refused_with_advice():
    hook, runner = started(Cascade())
    with pytest.raises(
        ValueError, match=r'segmentor\.decode_head\.0 has random weights .*\(task weight 0\.2\).*map_seg'
    ):
        step(hook, runner)
    assert record(hook, runner) is None


def test_a_random_head_where_the_config_says_so():
    hook, runner = started(Cascade(), allow_random_guide=True)
    for _ in range(2):
        step(hook, runner)
    assert len([line for line in runner.logger if 'random weights' in line]) == 1
    assert record(hook, runner) is None


@pytest.mark.parametrize('case', ['weight 0', 'frozen fuser', 'the head learns'])
def test_where_nothing_is_guided_by_a_fixed_head(case):
    model = Cascade(0.0 if case == 'weight 0' else 0.2)
    if case == 'frozen fuser':
        model.fuser.requires_grad_(False)
    if case == 'the head learns':
        model.segmentor.decode_head.requires_grad_(True)
    hook, runner = started(model)
    step(hook, runner)
    assert bool(record(hook, runner)) == (case == 'the head learns')


def test_a_head_that_learnt_in_an_earlier_stage_may_guide():
    model = Cascade()
    model.segmentor.decode_head.requires_grad_(True)
    model.fuser.requires_grad_(False)
    hook, runner = started(model)
    step(hook, runner)
    model.segmentor.decode_head.requires_grad_(False)
    model.fuser.requires_grad_(True)
    step(hook, runner)
    assert record(hook, runner) == 'an earlier stage of this run'


def test_a_head_that_was_in_training_mode_with_weight_0_has_learnt_nothing():
    model = Cascade(0.0)
    model.segmentor.decode_head.requires_grad_(True)
    hook, runner = started(model)
    step(hook, runner)
    model.segmentor.decode_head.requires_grad_(False)
    model.loss_weights['task'] = 0.2
    with pytest.raises(ValueError, match='has random weights'):
        step(hook, runner)


def head_of(model):
    return {k: v + 1 for k, v in model.state_dict().items() if 'decode_head' in k}


def test_a_loaded_head():
    model = Cascade()
    hook, runner = started(model, dict(state_dict=head_of(model), meta={}))
    step(hook, runner)
    assert record(hook, runner) == 'start.pth'


def test_a_checkpoint_hands_on_where_the_head_came_from():
    model = Cascade()
    hook, runner = started(model, dict(state_dict=head_of(model), meta=dict(guide='ade20k.pth')))
    step(hook, runner)
    assert record(hook, runner) == 'ade20k.pth'


@pytest.mark.parametrize('case', ['fuser alone', 'left out when loading', 'random when saved'])
def test_checkpoints_that_give_no_head(case):
    model = Cascade()
    meta, state = {}, head_of(model)
    if case == 'fuser alone':
        state = {k: v for k, v in model.state_dict().items() if k.startswith('fuser')}
    if case == 'random when saved':
        meta = dict(guide=None)
    hook = GuideHook()
    runner = runner_of(model)
    checkpoint = dict(state_dict=state, meta=meta)
    hook.after_load_checkpoint(runner, checkpoint)
    if case != 'left out when loading':  # as mmengine's lenient loading does with other shapes
        model.load_state_dict(state, strict=False)
    hook.before_train(runner)
    with pytest.raises(ValueError, match='has random weights'):
        step(hook, runner)


@pytest.mark.parametrize('way', ['task_checkpoint', 'init_cfg of the head', 'init_cfg of the task', 'own init_cfg'])
def test_a_head_from_a_file(way, tmp_path):
    model, file = Cascade(), str(tmp_path / 'head.pth')
    state = {f'decode_head.{k}': v + 1 for k, v in model.segmentor.decode_head.state_dict().items()}
    torch.save(dict(state_dict=state), file)
    if way == 'task_checkpoint':
        model.checkpoints['segmentor'] = file
    elif way == 'init_cfg of the head':
        model.segmentor.decode_head.init_cfg = dict(type='Pretrained', checkpoint=file, prefix='decode_head.')
    elif way == 'own init_cfg':
        model.segmentor.init_cfg = dict(type='mmfusion.OwnPretrained', checkpoint=file)
    else:
        model.segmentor.init_cfg = [dict(type='Normal', layer='Conv2d'), dict(type='Pretrained', checkpoint=file)]
    hook, runner = started(model)
    with pytest.raises(ValueError, match='has random weights'):  # the file is named, and was not loaded
        step(hook, runner)
    model.segmentor.load_state_dict(state, strict=False)
    hook, runner = started(model)
    step(hook, runner)
    assert record(hook, runner) == file


def test_a_pretrained_backbone_is_no_head(tmp_path):
    model, file = Cascade(), str(tmp_path / 'backbone.pth')
    torch.save(dict(state_dict=model.segmentor.backbone.state_dict()), file)
    model.segmentor.backbone.init_cfg = dict(type='Pretrained', checkpoint=file)
    hook, runner = started(model)
    with pytest.raises(ValueError, match='has random weights'):
        step(hook, runner)


def test_parts_can_be_named_and_a_fuser_alone_is_no_cascade():
    hook, runner = started(Cascade(), parts=['segmentor.backbone.weight'])
    with pytest.raises(ValueError, match=r'segmentor\.backbone has random weights'):
        step(hook, runner)
    with pytest.raises(ValueError, match='Linear is no cascade'):
        GuideHook().before_train(runner_of(nn.Linear(1, 1)))
