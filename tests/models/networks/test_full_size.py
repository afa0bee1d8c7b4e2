"""Both methods with the real architecture of CLIP ViT-B/16, of random weights, on 224×224."""

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
from mmfusion.registry import MODELS

torch.set_num_threads(2)
cfg = Config.fromfile(sys.argv[1])
model = MODELS.build(cfg.model).train()
clip = model.prior('prior')
before = [p.clone() for p in clip.parameters()]
optimizer = torch.optim.Adam(model.parameters(), lr=cfg.optim_wrapper.optimizer.lr)
torch.manual_seed(0)
inputs = dict(vi=torch.rand(2, 3, 224, 224), ir=torch.rand(2, 1, 224, 224))
losses = []
for _ in range(2):
    optimizer.zero_grad()
    loss = sum(v for k, v in model(inputs, mode='loss').items() if k.startswith('loss_'))
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert all(p.grad.isfinite().all() for p in model.parameters())
assert losses[1] < losses[0], losses
assert all(p.grad is None and p.equal(b) for p, b in zip(clip.parameters(), before, strict=True))
assert sum(b.numel() for b in before) > 86e6
assert not [k for k in model.state_dict() if not k.startswith('network.')]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
"""


@pytest.mark.slow
@pytest.mark.parametrize('config', ['mgfusion/mgfusion_unified.py', 'gffusion/gffusion_funet_msrs.py'])
def test_training_steps_under_6_gb(config, monkeypatch):
    monkeypatch.setenv('MMFUSION_CLIP', 'random')
    command = [sys.executable, '-c', STEP, str(ROOT / 'configs' / config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert float(result.stdout.split()[-1]) < 6
