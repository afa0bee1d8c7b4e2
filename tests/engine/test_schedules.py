"""Hooks that move loss weights and train in stages, through a real Runner."""

import copy
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmfusion.engine.hooks import LossWeightHook, NormEvalHook, StagedTrainingHook, TaskClassesHook
from mmfusion.engine.hooks.loss_weight import weight_at
from mmfusion.models.freezing import named_parts

pytestmark = pytest.mark.usefixtures('one_thread')


class Two(BaseModel):
    """Two parts with batch norm and dropout, and a loss of both."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.1))
        self.second = nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.1))
        self.loss_weights = dict(a=1.0)
        self.seen = []

    def forward(self, inputs, mode='tensor'):
        self.seen.append((self.loss_weights['a'], copy.deepcopy(self.state_dict()), self.training_modes()))
        return dict(loss=self.loss_weights['a'] * self.second(self.first(torch.stack(inputs))).square().mean())

    def training_modes(self):
        return {name: m.training for name, m in self.named_modules() if name}


def run(hooks, epochs, work_dir, **options):
    """Train ``Two`` for some epochs of one step."""
    torch.manual_seed(0)
    model = Two()
    data = [dict(inputs=torch.randn(3)) for _ in range(4)]
    Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4, dataset=data, sampler=dict(type='DefaultSampler', shuffle=False), num_workers=0
        ),
        train_cfg=options.pop('train_cfg', None) or dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.1)),
        custom_hooks=hooks,
        default_hooks=dict(logger=None),
        default_scope='mmengine',
        experiment_name=f'{work_dir.name}_{epochs}_{options.get("resume", False)}',
        **options,
    ).train()
    return model


def changed(before, after, part):
    return any(not torch.equal(before[k], after[k]) for k in before if k.startswith(part))


def test_stages(tmp_path):
    """Each stage trains what it names; the rest is bit-equal, batch norm statistics included, and in eval mode."""
    hook = StagedTrainingHook(
        [dict(train=['first'], end=2), dict(train=['second'], end=4), dict(train=['first', 'second'])]
    )
    model = run([hook], 6, tmp_path)
    states = [state for _, state, _ in model.seen] + [model.state_dict()]
    moved = [(changed(a, b, 'first'), changed(a, b, 'second')) for a, b in pairwise(states)]
    assert moved == [(True, False)] * 2 + [(False, True)] * 2 + [(True, True)] * 2
    modes = [modes for _, _, modes in model.seen]
    assert [(m['first.1'], m['first.2'], m['second.1']) for m in modes] == (
        [(True, True, False)] * 2 + [(False, False, True)] * 2 + [(True, True, True)] * 2
    )


def test_stages_after_resuming(tmp_path):
    """A resumed run is in the stage of its epoch."""
    stages = [dict(train=['first'], end=2), dict(train=['second'])]
    run([StagedTrainingHook(stages)], 3, tmp_path)
    model = run([StagedTrainingHook(stages)], 4, tmp_path, resume=True)
    assert len(model.seen) == 1
    before, after = model.seen[0][1], model.state_dict()
    assert not changed(before, after, 'first')
    assert changed(before, after, 'second')


def test_norms_keep_their_statistics(tmp_path):
    """From its epoch on the statistics stay, while the norm's weights learn; a resumed run holds them, too."""
    model = run([NormEvalHook(begin=2)], 4, tmp_path)
    states = [state for _, state, _ in model.seen] + [model.state_dict()]
    moved = [changed(a, b, 'first.1.running') for a, b in pairwise(states)]
    learned = [changed(a, b, 'first.1.weight') for a, b in pairwise(states)]
    assert (moved, learned) == ([True, True, False, False], [True] * 4)
    modes = [(m['first.1'], m['first.2']) for _, _, m in model.seen]
    assert modes == [(True, True)] * 2 + [(False, True)] * 2
    resumed = run([NormEvalHook(begin=2)], 5, tmp_path, resume=True)
    assert [m['first.1'] for _, _, m in resumed.seen] == [False]


def test_norms_are_held_in_stages(tmp_path):
    """A stage that begins later turns on training mode, but not that of batch norms."""
    stages = StagedTrainingHook([dict(train=['second'], end=1), dict(train=['first', 'second'])])
    model = run([NormEvalHook(begin=3, by_epoch=False), stages], 4, tmp_path)
    assert [m['first.1'] for _, _, m in model.seen] == [False, True, True, False]
    model = run([NormEvalHook(), stages], 2, tmp_path / 'all')
    assert [m['first.1'] for _, _, m in model.seen] == [False, False]


@pytest.mark.parametrize('begin', ['2', -1, True, None])
def test_a_begin_that_is_no_number(begin):
    with pytest.raises(ValueError, match=f'NormEvalHook.begin is {begin!r}; expected a number of epochs or iterations'):
        NormEvalHook(begin)


SCHEDULES = {
    'norms': lambda **options: NormEvalHook(2, **options),
    'stages': lambda **options: StagedTrainingHook([dict(train=['first'], end=2), dict(train=['second'])], **options),
    'weights': lambda **options: LossWeightHook({'loss_weights.a': [dict(value=0.5, begin=2)]}, **options),
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_epochs_are_not_counted_where_training_counts_iterations(name, tmp_path):
    """All of a loop by iterations is epoch 0: what should begin at epoch 2 never would."""
    loop = dict(train_cfg=dict(by_epoch=False, max_iters=4))
    with pytest.raises(ValueError, match=r'counts epochs, and train_cfg iterations, .*Set by_epoch=False'):
        run([SCHEDULES[name]()], 4, tmp_path, **loop)
    model = run([SCHEDULES[name](by_epoch=False)], 5, tmp_path, **loop)
    assert len(model.seen) == 4


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize(('epochs', 'late'), [(2, True), (3, False)])
def test_what_begins_after_the_end_is_told(name, epochs, late, tmp_path):
    run([SCHEDULES[name]()], epochs, tmp_path)
    (log,) = tmp_path.glob('*/*.log')
    assert ('does something at epoch 2, and training ends before, at 2' in log.read_text()) == late


def test_no_norms_to_hold():
    runner = SimpleNamespace(model=nn.Linear(2, 2))
    with pytest.raises(ValueError, match='the model has no batch norm'):
        NormEvalHook().before_train(runner)


def test_what_was_frozen_stays_frozen():
    """A part that the model itself freezes is not woken by a stage that names what holds it."""
    model = Two()
    model.first[0].requires_grad_(False)
    hook = StagedTrainingHook([dict(train=['first'])])
    runner = SimpleNamespace(model=model, epoch=0, logger=SimpleNamespace(info=lambda message: None))
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    wanted = {name for name, p in model.named_parameters() if p.requires_grad}
    assert wanted == {'first.1.weight', 'first.1.bias'}
    assert not model.first[0].training
    assert model.first[1].training


@pytest.mark.parametrize(
    ('stages', 'message'),
    [
        ([], 'need ends that rise'),
        ([dict(train=['a']), dict(train=['b'])], r'got \[None, None\]'),
        ([dict(train=['a'], end=5), dict(train=['b'], end=5)], r'got \[5, 5\]'),
        ([dict(train=[], end=5)], 'stage 0 trains nothing'),
        ([dict(train=['a'], lossses=['b'])], 'stage 0 has lossses; expected of train, end, phase, losses, restart'),
        ([dict(train='first')], r"stage 0: train is 'first'; expected a list, \['first'\]"),
        ([dict(train=['a'], losses='b')], r"stage 0: losses is 'b'; expected a list, \['b'\]"),
        (['first'], "stage 0 is 'first'; expected a dict"),
        ([dict(train=['a'], end='5'), dict(train=['b'])], "stage 0: end is '5'; expected a number of epochs"),
    ],
)
def test_stages_that_make_no_sense(stages, message):
    with pytest.raises(ValueError, match=message):
        StagedTrainingHook(stages)


def test_parts_are_found_by_name():
    model = Two()
    assert named_parts(model, ['first.0.weight']) == {'first.0.weight': model.first[0].weight}
    with pytest.raises(ValueError, match=r"'first\.7': no such part of the model\. first has 0, 1, 2"):
        named_parts(model, ['first.7'])
    with pytest.raises(ValueError, match=r"'third': no such part of the model\. Two has .*first, second"):
        named_parts(model, ['third'])


def test_weights_follow_their_phases(tmp_path):
    """Constant, then half a cosine from 0.2 to 1, then as it ended."""
    phases = [dict(value=0.2, end=2), dict(start=0.2, stop=1.0, end=6, curve='cosine')]
    model = run([LossWeightHook({'loss_weights.a': phases})], 8, tmp_path)
    expected = [0.2, 0.2, *(0.2 + 0.8 * (1 - math.cos(math.pi * k / 4)) / 2 for k in range(4)), 1.0, 1.0]
    assert [weight for weight, _, _ in model.seen] == pytest.approx(expected)


def test_weight_before_the_first_phase_and_in_a_line():
    hook = LossWeightHook({'losses.0.loss_weight': [dict(begin=2, end=4, start=0.0, stop=1.0)]})
    phases = hook.phases['losses.0.loss_weight']
    assert [weight_at(phases, k) for k in range(6)] == [None, None, 0.0, 0.5, 1.0, 1.0]


def test_a_weight_of_a_loss_in_a_list():
    loss = nn.Identity()
    loss.loss_weight = 1.0
    model = nn.Module()
    model.losses = nn.ModuleList([loss])
    hook = LossWeightHook({'losses.0.loss_weight': [dict(value=3.0)]}, by_epoch=False)
    hub = SimpleNamespace(update_scalar=lambda *args: None)
    hook.before_train_iter(SimpleNamespace(model=model, iter=0, message_hub=hub), 0)
    assert loss.loss_weight == 3.0


@pytest.mark.parametrize(
    ('phases', 'message'),
    [
        ([dict(begin=3, end=3, value=1.0)], 'begin < end'),
        ([dict(end=3, value=1.0), dict(begin=2, end=5, value=2.0)], 'rising order'),
        ([dict(end=3, start=1.0)], 'start, stop and curve'),
        ([dict(end=3, value=1.0, curve='square')], 'linear, cosine'),
        ([dict(start=1.0, stop=2.0)], 'needs an end'),
        (0.5, 'loss_weights.a: found 0.5; expected a list of phases'),
        ([dict(end='3', value=1.0)], "loss_weights.a: end is '3'; expected a number of epochs"),
    ],
)
def test_phases_that_make_no_sense(phases, message):
    with pytest.raises(ValueError, match=message):
        LossWeightHook({'loss_weights.a': phases})


@pytest.mark.parametrize('place', ['loss_weights.b', 'losses.0.loss_weight', 'first.0'])
def test_a_weight_that_is_not_there(place):
    runner = SimpleNamespace(model=Two())
    with pytest.raises(KeyError, match=f'{place}.*no (such|number: no) weight'):
        LossWeightHook({place: [dict(value=1.0)]}).before_train(runner)


def test_classes_of_data_and_head():
    class Head(nn.Module):
        num_classes = 9

    model = nn.Module()
    model.decode_head = Head()
    dataset = SimpleNamespace(metainfo=dict(classes=('road', 'car')))
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    with pytest.raises(ValueError, match=r'train_dataloader: .* has 2 classes \(road, car\), but .*decode_head.*=9'):
        TaskClassesHook().before_train(runner)
    Head.num_classes = 2
    TaskClassesHook().before_train(runner)
