"""Both methods with the real architectures of CLIP ViT-B/16 and DINOv2 ViT-B/14, of random weights, on 224×224."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# A process of its own, for its own peak of memory.
STEP = """
import resource, sys, torch
import mmfusion
from mmengine.config import Config
from mmengine.structures import PixelData
from mmfusion.models.priors import held_priors
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

torch.set_num_threads(2)
cfg = Config.fromfile(sys.argv[1])
model = MODELS.build(cfg.model).train()
priors = held_priors(model)
before = {name: [p.clone() for p in prior.parameters()] for name, prior in priors.items()}
optimizer = torch.optim.Adam(model.parameters(), lr=cfg.optim_wrapper.optimizer.lr)
torch.manual_seed(0)
samples = [FusionDataSample(metainfo=dict(img_shape=(224, 224))) for _ in range(2)]
for sample in samples:
    sample.gt_sem_seg = PixelData(data=torch.randint(9, (1, 224, 224)))
data = dict(inputs=dict(vi=torch.rand(2, 3, 224, 224), ir=torch.rand(2, 1, 224, 224)), data_samples=samples)
losses = []
for step in (True, False):
    with torch.set_grad_enabled(step):
        loss, _ = model.parse_losses(model(**data, mode='loss'))
    losses.append(loss.item())
    if step:
        loss.backward()
        optimizer.step()
assert all(p.grad.isfinite().all() for p in model.parameters())
assert losses[1] < losses[0], losses
for name, prior in priors.items():
    assert sum(b.numel() for b in before[name]) > 85e6
    assert all(p.grad is None and p.equal(b) for p, b in zip(prior.parameters(), before[name], strict=True))
assert not [k for k in model.state_dict() if 'network.' not in k and 'decode_head.' not in k]
print(len(priors), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'priors'),
    [
        ('mgfusion/mgfusion_unified.py', 1),
        ('gffusion/gffusion_joint_msrs.py', 2),
    ],
)
def test_training_steps_under_6_gb(config, priors, monkeypatch):
    monkeypatch.setenv('MMFUSION_CLIP', 'random')
    monkeypatch.setenv('MMFUSION_DINOV2', 'random')
    command = [sys.executable, '-c', STEP, str(ROOT / 'configs' / config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found, peak = result.stdout.split()[-2:]
    assert int(found) == priors
    assert float(peak) < 6
