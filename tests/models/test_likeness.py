"""Whose weights a file holds."""

import pytest
import torch
from small_checkpoints import authors_file, fuser, save

from mmfusion.models.checkpoint import load_weights
from mmfusion.models.likeness import resembling
from mmfusion.models.methods.occo.official import to_official
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint


def test_weights_of_another_method(tmp_path):
    """Said by their names: in the authors' form, and in ours, alone or within a fuser."""
    model = fuser('U2Fusion')
    path = authors_file(tmp_path / 'a.pth')
    with pytest.raises(
        CheckpointError, match=r"It looks like the authors' weights of Toned \(Toned\)\. Expected are .* u2fusion \(U2F"
    ):
        load_weights(model, path)
    with pytest.raises(CheckpointError, match=r'It looks like weights of u2fusion \(U2Fusion\)'):
        load_weights(fuser('Toned'), save(tmp_path / 'b.pth', model.state_dict()))
    fifn = MODELS.get('FIFN')().state_dict()
    assert resembling(fifn) == 'weights of occo (FIFN)'
    assert resembling(to_official(fifn)) == "the authors' weights of occo (FIFN)"
    assert resembling({'backbone.conv1.weight': torch.zeros(3)}) is None


@pytest.mark.data
def test_authors_files_are_recognised(data_dir):
    files = {'SDNet': 'sdnet', 'PMGI': 'pmgi', 'STDFusionNet': 'stdfusionnet', 'LRRNet': 'lrrnet', 'YDTR': 'ydtr'}
    for folder, method in files.items():
        state, _ = read_checkpoint(data_dir / 'zoo' / folder)
        assert f"the authors' weights of {method} " in resembling(state)
