"""Algorithm 1 of GFFusion on tiny models: what learns when, what a checkpoint holds, and what comes out."""

import copy
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfusion.models.priors import held_priors
from mmfusion.registry import DATASETS, MODELS
from mmfusion.structures import FusionDataSample

pytestmark = pytest.mark.usefixtures('one_thread')
CONFIG = Path(__file__).resolve().parents[2] / 'configs/gffusion/gffusion_joint_demo-random.py'
HEAD = 'segmentor.decode_head.conv_seg'


class Recorder(Hook):
    """Keeps what each epoch starts from; may end the run at the beginning of an epoch, as a crash would."""

    priority = 'LOWEST'

    def __init__(self, crash_at=None):
        self.epochs, self.losses, self.crash_at = [], [], crash_at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx:
            return
        if runner.epoch == self.crash_at:
            raise KeyboardInterrupt
        model = runner.model
        group = next(g for g in runner.optim_wrapper.param_groups if g.get('group') == 'head')
        rates = {g['lr'] for g in runner.optim_wrapper.param_groups if 'group' not in g}
        self.epochs.append(
            dict(
                state=copy.deepcopy(model.state_dict()),
                priors={k: copy.deepcopy(p.state_dict()) for k, p in held_priors(model).items()},
                weight=model.loss_weights['task'],
                rates=(rates, group['lr']),
            )
        )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


def config(work_dir, epochs=4, q=2, stages=None, **options):
    """The demo's config with few and small scenes; ``stages``: (what is trained, end) instead of Algorithm 1's."""
    cfg = Config.fromfile(CONFIG)
    staged, weights, guide = (cfg.default_hooks[name] for name in ('stages', 'task_weight', 'guide'))
    staged.stages[0].end = q
    first, second = weights.weights['loss_weights.task']
    first.end, second.end = q, epochs
    if stages:
        staged.stages = [dict(train=train, end=end) for train, end in stages]
        weights.weights = {'loss_weights.task': [dict(value=1.0)]}
        guide.allow_random_guide = False
    del cfg.default_hooks.source_balance
    cfg.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'train_cfg': dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=100),
            'train_dataloader': dict(batch_size=2, num_workers=0, persistent_workers=False),
            'train_dataloader.dataset': dict(num=4, size=(48, 62)),
            'param_scheduler': [dict(cfg.param_scheduler[0], begin=q, step_size=1, end=epochs)],
            'default_hooks.checkpoint.max_keep_ckpts': -1,
            'log_level': 'ERROR',
            **options,
        }
    )
    for key in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg.pop(f'{key}_{part}')
    return cfg


def train(cfg, crash_at=None):
    cfg.experiment_name = f'{Path(cfg.work_dir).name}_{cfg.get("resume")}_{crash_at}'
    runner, recorder = Runner.from_cfg(cfg), Recorder(crash_at)
    runner.register_hook(recorder)
    if crash_at is None:
        runner.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    return runner.model, recorder


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Algorithm 1 with q = 2 of 4 epochs: the folder, the model, and what was recorded."""
    with torch.random.fork_rng():
        folder = tmp_path_factory.mktemp('joint')
        return folder, *train(config(folder))


def changed(before, after, start):
    return [k for k in before if k.startswith(start) and not torch.equal(before[k], after[k])]


def test_who_learns_when(trained):
    """Until q the fuser, then the head, too; what does not learn is bit-equal, and the head has no optimizer state."""
    folder, model, recorder = trained
    states = [epoch['state'] for epoch in recorder.epochs] + [model.state_dict()]
    for epoch, (before, after) in enumerate(pairwise(states)):
        assert len(changed(before, after, 'fuser')) > 20
        assert len(changed(before, after, HEAD)) == (0 if epoch < 2 else 2)
    counts = [
        len(torch.load(folder / f'epoch_{epoch}.pth', weights_only=True)['optimizer']['state']) for epoch in (2, 3)
    ]
    assert counts == [len(list(model.parameters())) - 2, len(list(model.parameters()))]


def test_lambda_and_learning_rates(trained):
    """λ is 0.2, then on its cosine to 1; the head's rate falls from q on, the fuser's stays."""
    _, _, recorder = trained
    assert [e['weight'] for e in recorder.epochs] == pytest.approx([0.2, 0.2, 0.2, 0.6])
    assert [e['rates'][0] for e in recorder.epochs] == [{1e-3}] * 4
    assert [e['rates'][1] for e in recorder.epochs] == pytest.approx([1e-3, 1e-3, 1e-3, 1e-4])


def test_clip_and_dinov2_stay_frozen(trained):
    """Bit-equal, in eval mode, without gradient; and no part of the model."""
    _, model, recorder = trained
    priors = held_priors(model)
    assert sorted(priors) == ['fuser.prior', 'segmentor.backbone.frozen']
    for name, prior in priors.items():
        assert all(torch.equal(v, prior.state_dict()[k]) for k, v in recorder.epochs[0]['priors'][name].items())
        assert not any(m.training for m in prior.modules())
        assert all(p.grad is None and not p.requires_grad for p in prior.parameters())
    own = {id(p) for p in model.parameters()}
    assert not own & {id(p) for prior in priors.values() for p in prior.parameters()}


def test_checkpoint_holds_what_is_trained_and_hashes(trained):
    folder, model, _ = trained
    checkpoint = torch.load(folder / 'epoch_4.pth', weights_only=True)
    names = list(checkpoint['state_dict'])
    assert {n for n in names if not n.startswith('fuser.network.')} == {f'{HEAD}.weight', f'{HEAD}.bias'}
    records = checkpoint['meta']['priors']
    assert {k: v['sha256'] for k, v in records.items()} == {k: p.weights_hash for k, p in held_priors(model).items()}
    assert checkpoint['meta']['guide'] == 'an earlier stage of this run'
    assert torch.load(folder / 'epoch_3.pth', weights_only=True)['state_dict'].keys() == set(names)


def test_a_resumed_run_is_the_same(trained, tmp_path):
    """Cut after the first epoch of the joint stage: λ, rates, losses and weights are those of a run in one piece."""
    _, whole, recorder = trained
    train(config(tmp_path), crash_at=3)
    model, again = train(config(tmp_path, resume=True))
    assert [again.epochs[0][k] for k in ('weight', 'rates')] == [recorder.epochs[3][k] for k in ('weight', 'rates')]
    assert again.losses == recorder.losses[-2:]
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in model.state_dict().items())


def test_head_warm_up_leaves_the_fuser_alone(tmp_path):
    """A stage of the head only: the fuser's batch norm stays, too. It may guide afterwards, and the loss has fallen."""
    stages = [(['segmentor.decode_head'], 2), (['fuser'], 3)]
    model, recorder = train(config(tmp_path, 3, 1, stages))
    states = [epoch['state'] for epoch in recorder.epochs] + [model.state_dict()]
    moved = [(bool(changed(a, b, 'fuser')), bool(changed(a, b, HEAD))) for a, b in pairwise(states)]
    assert moved == [(False, True), (False, True), (True, False)]
    assert sum(recorder.losses[2:4]) < sum(recorder.losses[:2])


def test_a_random_guide_is_refused(tmp_path):
    cfg = config(tmp_path, 2, 1)
    cfg.default_hooks.guide.allow_random_guide = False
    runner = Runner.from_cfg(dict(cfg, experiment_name='refused'))
    with pytest.raises(ValueError, match=r'decode_head\.conv_seg has random weights'):
        runner.train()


def test_a_head_of_a_file_may_guide(trained, tmp_path):
    """As tools/model_converters/map_seg_head.py writes it."""
    state = {k.removeprefix('segmentor.'): v for k, v in trained[1].state_dict().items() if k.startswith(HEAD)}
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'head.pth')
    cfg = config(tmp_path, 2, 1)
    cfg.default_hooks.guide.allow_random_guide = False
    cfg.model.task_checkpoint = str(tmp_path / 'head.pth')
    model, recorder = train(cfg)
    for epoch in recorder.epochs:
        assert all(torch.equal(epoch['state'][f'segmentor.{k}'], v) for k, v in state.items())
    assert len(changed(recorder.epochs[1]['state'], model.state_dict(), HEAD)) == 2


@pytest.fixture
def model():
    """The demo's model, untrained."""
    return MODELS.build(Config.fromfile(CONFIG).model)


def test_gradient_reaches_the_fused_image_through_dinov2(model):
    """By DINOv2's own Jacobian: central differences say the same."""
    images = torch.rand(1, 3, 56, 70).requires_grad_()
    backbone = model.segmentor.backbone
    tokens = backbone(images)[-1]
    direction = torch.randn_like(tokens)
    grad = torch.autograd.grad((tokens * direction).sum(), images)[0]
    delta = 1e-3 * torch.randn_like(images)
    with torch.no_grad():
        change = ((backbone(images + delta)[-1] - backbone(images - delta)[-1]) * direction).sum() / 2
    torch.testing.assert_close((grad * delta).sum(), change, rtol=0.02, atol=1e-4)
    assert all(p.grad is None for p in held_priors(model)['segmentor.backbone.frozen'].parameters())


def test_task_loss_alone_trains_the_fuser(model):
    """Its gradient comes to every parameter, of both encoders and of FINet."""
    dataset = Config.fromfile(CONFIG).train_dataloader.dataset
    data = DATASETS.build(dict(dataset, num=2, size=(48, 62)))
    model.loss_weights.update(fusion=0.0, task=1.0)
    model.train()
    losses = model(**model.data_preprocessor(pseudo_collate([data[0], data[1]]), True), mode='loss')
    model.parse_losses(losses)[0].backward()
    grads = {n: p.grad for n, p in model.fuser.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in grads.values())
    assert grads['network.finet.linear.weight'].abs().sum() > 0
    assert grads['network.encoder.ir.0.conv.weight'].abs().sum() > 0


def test_export_is_a_stock_segmenter(model, tmp_path):
    """mmseg's EncoderDecoder on mmpretrain's VisionTransformer loads it strictly, and predicts the same."""
    model.eval()
    torch.save(model.task_state_dict(), tmp_path / 'stock.pth')
    cfg = Config.fromfile(CONFIG).model.segmentor
    stock = MODELS.build(dict(cfg, backbone=dict(cfg.backbone.backbone)))
    stock.load_state_dict(torch.load(tmp_path / 'stock.pth', weights_only=True), strict=True)
    stock.eval()
    vi, ir = torch.rand(1, 3, 48, 62), torch.rand(1, 1, 48, 62)
    ours = model(dict(vi=vi, ir=ir), mode='predict')[0]
    with torch.no_grad():
        image = (255 * ours.fused.data.flip(0)).clone()
        data = stock.data_preprocessor(dict(inputs=[image], data_samples=[FusionDataSample()]), False)
        assert tuple(data['inputs'].shape) == (1, 3, 56, 70)
        logits = stock(data['inputs'], mode='tensor')
    expected = torch.nn.functional.interpolate(logits, (56, 70), mode='bilinear', align_corners=False)
    torch.testing.assert_close(ours.seg_logits.data, expected[0, :, :48, :62], rtol=1e-4, atol=1e-4)


def test_sides_of_mfnet_are_padded_to_whole_patches(model):
    """640×480 → 644×490."""
    raw = dict(inputs=[torch.zeros(3, 480, 640)], data_samples=[FusionDataSample()])
    data = model.segmentor.data_preprocessor(raw, False)
    assert tuple(data['inputs'].shape) == (1, 3, 490, 644)
