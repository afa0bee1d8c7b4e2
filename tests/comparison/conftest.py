"""A cascade config and the checkpoint of a fuser."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def base():
    return Config.fromfile(ROOT / 'configs/cascades/occo_deeplabv3plus_synthetic.py')


@pytest.fixture
def weights(tmp_path):
    file = tmp_path / 'fuser=1.pth'
    torch.save({}, file)
    return file
