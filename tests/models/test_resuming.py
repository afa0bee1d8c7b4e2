"""What a run starts from: resuming, ``load_from``, and the latest checkpoint of a work dir."""

import pytest
import torch
from mmengine.config import Config
from small_checkpoints import Model, save

from mmfusion.models.resuming import check_start, latest_checkpoint
from mmfusion.utils.checkpoint import CheckpointError


def test_load_from_says_what_fits(tmp_path, said):
    state = Model().state_dict()
    path = save(tmp_path / 'a.pth', state)
    check_start(Model(), Config(dict(load_from=str(path), resume=False)))
    assert 'all 7 tensors of the model are loaded' in said.pop()
    state['network.0.bias'] = torch.zeros(9)
    path = save(tmp_path / 'b.pth', {k: v for k, v in state.items() if 'network.1' not in k or 'running' in k})
    check_start(Model(), Config(dict(load_from=str(path), resume=False)))
    line = said.pop()
    assert "3 of the model's 7 tensors are loaded; the others keep their initial values. Missing in the file" in line
    assert 'network.0.bias [9] in the file, [3] in the model' in line
    check_start(Model(), Config(dict(load_from=None, resume=False)))
    assert not said
    with pytest.raises(
        CheckpointError, match=r'load_from=.*c\.pth.*nothing in it fits this model\. Missing in the file'
    ):
        check_start(Model(), Config(dict(load_from=str(save(tmp_path / 'c.pth', {'x': torch.zeros(1)})))))


def test_resuming_needs_this_very_model(tmp_path, said):
    cfg = Config(dict(load_from=None, resume=True, work_dir=str(tmp_path)))
    check_start(Model(), cfg)  # nothing to resume from: training begins
    path = save(tmp_path / 'epoch_1.pth', dict(state_dict=Model(5).state_dict(), meta={}))
    (tmp_path / 'last_checkpoint').write_text(str(path))
    check_start(Model(5), cfg)
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth: not a checkpoint of this model'):
        check_start(Model(3), cfg)


def test_resuming_with_another_optimizer_or_at_the_end(tmp_path, said):
    meta = dict(cfg="optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))", epoch=3, iter=12)
    path = save(tmp_path / 'epoch_3.pth', dict(state_dict=Model().state_dict(), meta=meta))

    def resume(kind, epochs=9):
        wrapper = dict(optimizer=dict(type=kind, lr=0.1))
        cfg = dict(resume=True, load_from=str(path), optim_wrapper=wrapper, train_cfg=dict(max_epochs=epochs))
        check_start(Model(), Config(cfg))
        return ' '.join(said)

    assert 'nothing is left' not in resume('mmengine.SGD')
    assert 'has 3 epochs already, and train_cfg.max_epochs is 3: nothing is left to train' in resume('SGD', 3)
    with pytest.raises(CheckpointError, match=r'epoch_3\.pth: was trained by SGD, and optim_wrapper now has Adam'):
        resume('Adam')


def test_moved_work_dir(tmp_path):
    """The file beside ``last_checkpoint`` counts before the path in it."""
    old, new = tmp_path / 'old', tmp_path / 'new'
    assert latest_checkpoint(new) is None
    for folder in (old, new):
        folder.mkdir()
        save(folder / 'epoch_1.pth', dict(state_dict=Model().state_dict(), meta={}))
    (new / 'last_checkpoint').write_text(str(old / 'epoch_1.pth'))
    assert latest_checkpoint(new) == str(new / 'epoch_1.pth')
    (new / 'epoch_1.pth').unlink()
    assert latest_checkpoint(new) == str(old / 'epoch_1.pth')
    (old / 'epoch_1.pth').unlink()
    with pytest.raises(CheckpointError, match=r'last_checkpoint: names .*epoch_1\.pth, and neither that file nor'):
        latest_checkpoint(new)
    (new / 'last_checkpoint').write_text('')
    with pytest.raises(CheckpointError, match=r'last_checkpoint: names nothing, and neither'):
        latest_checkpoint(new)
    (new / 'last_checkpoint').write_text('D:\\runs\\occo\\epoch_2.pth')
    save(new / 'epoch_2.pth', {})
    assert latest_checkpoint(new) == str(new / 'epoch_2.pth')
