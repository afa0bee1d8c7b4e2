"""Fixtures of the tests of the command-line tools, which run in this process: each import of the stack costs seconds."""

import numpy as np
import pytest
import torch

from mmfusion.apis import init_model, load_model_config
from mmfusion.utils import write_image

NARROW = 'model.network.channels=(4,4,8,8)'


@pytest.fixture(scope='module', autouse=True)
def _one_thread(one_thread):
    """All tests here."""


@pytest.fixture(scope='session')
def narrow():
    """Overrides that make FIFN narrow, for the command line."""
    return ['--cfg-options', NARROW]


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """Checkpoint of a narrow OCCO with random weights, in mmengine's form."""
    torch.manual_seed(7)
    model = init_model(load_model_config('occo_fmb', {'model.network.channels': (4, 4, 8, 8)}), 'random', 'cpu')
    file = tmp_path_factory.mktemp('checkpoint') / 'narrow.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=1, iter=2, experiment_name='a_run')), file)
    return file


@pytest.fixture
def pairs(tmp_path):
    """Folders ``vi`` and ``ir`` with pairs a, b, c, of which b has another size."""
    rng = np.random.default_rng(0)
    for name, size in (('a', (16, 24)), ('b', (19, 17)), ('c', (16, 24))):
        write_image(tmp_path / 'vi' / f'{name}.png', rng.integers(0, 256, (*size, 3), np.uint8))
        write_image(tmp_path / 'ir' / f'{name}.bmp', rng.integers(0, 256, size, np.uint8))
    return tmp_path
