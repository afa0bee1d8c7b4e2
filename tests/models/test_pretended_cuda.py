"""Every method, cascade and metric on a pretended CUDA device: tensors that refuse to meet those of the CPU."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from pretended_cuda import CUDA, PretendedTensor, pretended_cuda

from mmfusion.evaluation import FusionMetric
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

ROOT = Path(__file__).resolve().parents[2]
NARROW = dict(network=dict(channels=(4, 4, 6, 6), num_heads=(2, 2, 2, 1)))
CASES = {
    'occo/occo_demo.py': NARROW,
    'occo/occo_fmb_paper.py': dict(NARROW, losses=dict(contrastive=dict(prior=dict(weights='random', width=1 / 16)))),
    'mgfusion/mgfusion_demo-random-clip.py': {},
    'gffusion/gffusion_funet_demo-random-clip.py': {},
    'seafusion/seafusion_fusion_msrs.py': {},
    'lite/lite.py': {},
    'gffusion/gffusion_joint_demo-random.py': {},
    'cascades/occo_deeplabv3plus_synthetic.py': {},
    'cascades/occo_yolox_synthetic.py': {},
}
SIZE = (48, 64)


def samples(num):
    """Data samples with masks, labels and boxes."""
    out = []
    for k in range(num):
        shape = dict(ori_shape=SIZE, img_shape=SIZE, pad_shape=SIZE, scale_factor=(1.0, 1.0))
        sample = FusionDataSample(metainfo=dict(img_path=f'{k}.png', img_id=k, **shape))
        masks = torch.zeros(2, 1, *SIZE, dtype=torch.bool)
        masks[0, :, 4:20, 4:30], masks[1, :, 10:30, 20:50] = True, True
        sample.gt_saliency = PixelData(vi=masks[0], ir=masks[1])
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, *SIZE)))
        boxes = torch.tensor([[4.0, 4.0, 30.0, 30.0], [10.0, 8.0, 60.0, 40.0]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]))
        out.append(sample)
    return out


def batch():
    return dict(
        inputs=[torch.randint(0, 256, (4, *SIZE), dtype=torch.uint8) for _ in range(4)], data_samples=samples(4)
    )


@pytest.mark.parametrize('config', CASES)
def test_a_method_or_cascade_stays_on_its_device(config, monkeypatch, one_thread):
    cfg = Config.fromfile(ROOT / 'configs' / config)
    cfg.merge_from_dict(dict(model=CASES[config]))
    model = MODELS.build(cfg.model)
    with pretended_cuda() as device:
        model = model.to(device).train()
        assert all(isinstance(p, PretendedTensor) for p in model.parameters())
        losses = model(**model.data_preprocessor(batch(), True), mode='loss')
        total, _ = model.parse_losses(losses)
        assert total.device == CUDA
        total.backward()
        grads = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
        assert len(grads) > 3
        assert all(isinstance(g, PretendedTensor) for g in grads)
        with torch.no_grad():
            data = model.eval().data_preprocessor(batch(), False)
            found = model(**data, mode='predict')
            out = model(**data, mode='tensor')
        assert found[0].fused.data.device == CUDA
        assert out is not None


@pytest.mark.parametrize('protocol', ['tang', 'vifb'])
def test_all_metrics_stay_on_their_device(protocol):
    metric = FusionMetric(metric='all', protocol=protocol)
    pairs = torch.randint(0, 256, (2, 4, 40, 48), dtype=torch.uint8)
    fused = torch.rand(2, 3, 40, 48)
    values = {}
    for kind in ('cpu', 'pretended'):
        with pretended_cuda() as device:
            images = fused.to(device) if kind == 'pretended' else fused
            found = [dict(fused=dict(data=image), img_path=f'{k}.png', img_id=str(k)) for k, image in enumerate(images)]
            metric.process(dict(inputs=list(pairs)), found)
            values[kind] = metric.evaluate(2)
    assert values['pretended'] == pytest.approx(values['cpu'], rel=1e-6, nan_ok=True)


def test_devices_that_mix_are_refused():
    with pretended_cuda() as device:
        with pytest.raises(RuntimeError, match='expected all tensors on cuda:0, found one on cpu'):
            torch.rand(3).to(device) + torch.rand(3)
