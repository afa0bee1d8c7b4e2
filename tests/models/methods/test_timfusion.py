import torch

from .zoo import PublishedMethod, build


class TestTIMFusion(PublishedMethod):
    name = 'timfusion'
    config = 'timfusion/timfusion_tno.py'
    train = 'timfusion/timfusion_roadscene.py'
    build_options = {'network.channels': 8, 'test_cfg.output': ()}
    narrow = {'network.channels': 4}
    # Slopes of negative values, which the next cell's ReLU cuts.
    unlearned = (r'first\.stem\.3\.weight', r'refinement\.branch\...\.0\.4\.weight')


class TestLight(PublishedMethod):
    name = 'timfusion_light'
    config = 'timfusion/timfusion-light_m3fd.py'
    build_options = {'network.channels': 8, 'test_cfg.output': ()}


def test_scales_need_multiples_of_4():
    fuser, _ = build(TestTIMFusion.config, **{'network.channels': 4})
    with torch.no_grad():
        assert fuser.eval()(dict(vi=torch.rand(1, 3, 5, 9), ir=torch.rand(1, 1, 5, 9))).shape == (1, 3, 5, 9)
