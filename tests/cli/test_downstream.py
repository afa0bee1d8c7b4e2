"""mmfusion downstream: the table, going on, failures, refusals, and two real cells."""

import json
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmfusion import cli
from mmfusion.cli import downstream
from mmfusion.comparison import cells, running
from mmfusion.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_base_ = {base!r}
size = (32, 48)
model = dict(fuser=dict(network=dict(channels=(4, 4, 8, 8))))
loader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(num=4, size=size))
train_dataloader = loader
val_dataloader = loader
test_dataloader = loader
train_cfg = dict(max_epochs=1)
custom_hooks = []
del loader
"""
MIOU = {('visible', 0): 50.0, ('visible', 1): 52.0, ('infrared', 0): 40.0, ('infrared', 1): 40.0}
MIOU |= {('OCCO', 0): 60.0, ('OCCO', 1): 64.0}
# The parts of a cascade's config that the tool looks at.
OUTLINE = """
model = dict(type='mmfusion.FusionSegmentor', fuser=dict(type='mmfusion.ImageFuser'), segmentor=dict(type='Some'))
test_evaluator = dict(type='mmseg.IoUMetric')
train_cfg = dict(max_epochs=1)
"""
THREE = ('--variants', 'visible', 'infrared', 'OCCO=joint', '--seeds', '0', '1')


@pytest.fixture
def config(tmp_path):
    file = tmp_path / 'outline.py'
    file.write_text(OUTLINE)
    return file


@pytest.fixture
def compare(config, tmp_path):
    """Runs the tool with more arguments; the exit code."""
    return lambda *args, name=config: downstream.main([str(name), '--out', str(tmp_path / 'out'), *map(str, args)])


class Trainings:
    """In the place of processes: cells with the mIoU of a table; ``fate`` gets (variant, seed) and may raise."""

    def __init__(self):
        self.calls, self.fate = [], lambda cell: None

    def __call__(self, command, arguments, log, claim):
        folder = Path(arguments[0]).parent
        cell = folder.parent.name, int(folder.name.removeprefix('seed_'))
        self.calls.append((*cell, *(Path(a).name for a in arguments[1:])))
        (folder / 'train').mkdir(exist_ok=True)
        (folder / 'train' / 'epoch_1.pth').touch()
        (folder / 'train' / 'last_checkpoint').write_text('epoch_1.pth')
        self.fate(cell)
        values = {'mIoU': MIOU[cell], 'IoU/road': MIOU[cell] + 10, 'IoU/car': None}
        (folder / cells.METRICS_FILE).write_text(json.dumps(values))


@pytest.fixture
def trainings(monkeypatch):
    runs = Trainings()
    monkeypatch.setattr(running, 'run_tool', runs)
    return runs


def test_table_files_and_verdict(compare, trainings, tmp_path, capsys):
    assert compare(*THREE) == 0
    out = capsys.readouterr().out
    assert '① 62.00 ± 2.83' in out
    assert '② 51.00 ± 1.41' in out
    assert 'OCCO (62.00 ± 2.83)' in out
    assert 'beats both single modalities by more than the spread' in out
    data = json.loads((tmp_path / 'out/results.json').read_text())
    assert data['columns'] == ['IoU/road', 'IoU/car', 'mIoU']
    assert data['variants']['OCCO']['mean'] == {'IoU/road': 72, 'IoU/car': None, 'mIoU': 62}
    cell = Config.fromfile(tmp_path / 'out/cells/infrared/seed_1/config.py')
    assert (cell.model.fuser.network.source, cell.randomness.seed, cell.train_cfg.max_epochs) == ('infrared', 1, 1)
    assert compare(*THREE, '--metrics', 'mIoU') == 0
    out = capsys.readouterr().out
    assert '6 of 6 cells are finished and skipped' in out
    assert 'road' not in out
    assert len(trainings.calls) == 6


def test_seeds_and_variants_are_added(compare, trainings, capsys):
    assert compare('--variants', 'visible') == 0
    assert 'one seed, no spread' in capsys.readouterr().out
    assert compare(*THREE) == 0
    assert [call[:2] for call in trainings.calls[1:3]] == [('infrared', 0), ('OCCO', 0)]
    assert len(trainings.calls) == 6


def test_goes_on_where_it_was_stopped(compare, trainings, capsys):
    def stopped(cell):
        if cell == ('infrared', 0):
            raise KeyboardInterrupt

    trainings.fate = stopped
    assert compare(*THREE) == 130
    trainings.fate = lambda cell: None
    assert compare(*THREE) == 0
    assert trainings.calls[:3] == [
        ('visible', 0),
        ('infrared', 0),
        ('infrared', 0, '--resume', 'epoch_1.pth'),
    ]
    assert trainings.calls[3] == ('OCCO', 0)
    assert 'infrared, seed 0: training, resumed from epoch_1.pth' in capsys.readouterr().out


def test_a_failed_cell_leaves_the_others(compare, trainings, tmp_path, capsys):
    def fails(cell):
        if cell == ('visible', 1):
            raise cells.CellError('train.py ended with code 1')

    trainings.fate = fails
    assert compare(*THREE) == 1
    out, err = capsys.readouterr()
    assert 'error: visible, seed 1: train.py ended with code 1' in err
    assert '1 of 6 cells have no result: visible, seed 1' in err
    assert 'visible: without seed 1, of which there is no result' in out
    assert '62.00 ± 2.83' in out
    trainings.fate = lambda cell: None
    assert compare(*THREE) == 0
    assert len(trainings.calls) == 7


def test_without_any_result_there_is_no_table(compare, trainings, tmp_path, capsys):
    def fails(cell):
        raise cells.CellError('no')

    trainings.fate = fails
    assert compare('--variants', 'visible') == 1
    assert 'written' not in capsys.readouterr().out
    assert not (tmp_path / 'out/table.md').exists()


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--variants', 'thermal'), "unknown variant 'thermal'"),
        (('--variants', 'A=frozen:none.pth'), 'no such checkpoint: none.pth'),
        (('--variants', 'A=frozen'), 'a frozen fuser needs weights'),
        (('--variants', 'A=visible', 'A=infrared'), 'two have one name among A, A'),
        (('--variants', 'visible', '--seeds', '1', '1'), 'the same seed twice'),
        (('--variants', 'visible', '--weights', 'best'), 'saves no best checkpoint'),
        (
            ('--variants', 'visible', '--cfg-options', 'train_dataloader.batch_size=0'),
            'train_dataloader.batch_size is 0; expected a whole number of at least 1',
        ),
        (('--variants', 'visible', '--cfg-options', 'randomness.seed=-1'), 'randomness.seed is -1; expected a whole'),
        (('--variants', 'visible', '--metrics', 'mAP'), "no metric 'mAP' among the results"),
    ],
)
def test_wrong_arguments(compare, trainings, args, message, capsys):
    assert compare(*args) == 1
    assert message in capsys.readouterr().err
    assert not trainings.calls or 'mAP' in args


def test_wrong_configs(compare, trainings, config, capsys):
    assert compare('--variants', 'visible', name='none.py') == 1
    assert 'none.py: no such config' in capsys.readouterr().err
    assert compare('--variants', 'visible', name=ROOT / 'configs/occo/occo_synthetic.py') == 1
    assert 'none of a cascade' in capsys.readouterr().err
    assert compare('--variants', 'visible') == 0
    assert compare('--variants', 'visible', '--cfg-options', 'train_cfg.max_epochs=2') == 1
    assert 'config.train_cfg.max_epochs was 1, is now 2' in capsys.readouterr().err


@pytest.mark.slow
def test_two_real_cells(compare, tmp_path, monkeypatch):
    """Trained and tested by the tools themselves, in this process; a test of the checkpoint gives the same numbers."""
    config = tmp_path / 'tiny.py'
    config.write_text(CONFIG.format(base=str(ROOT / 'configs/cascades/occo_deeplabv3plus_synthetic.py')))
    torch.manual_seed(3)
    fuser = MODELS.build(Config.fromfile(config).model.fuser).state_dict()
    torch.save(fuser, tmp_path / 'fuser.pth')
    monkeypatch.setattr(
        running,
        'run_tool',
        lambda command, arguments, log, claim: cli.main([*command[2:], *map(str, arguments)]),
    )
    assert compare('--variants', 'infrared', f'F=frozen:{tmp_path / "fuser.pth"}', name=config) == 0
    root = tmp_path / 'out/cells'
    trained = torch.load(root / 'F/seed_0/train/epoch_1.pth', weights_only=True)['state_dict']
    assert fuser
    assert all(torch.equal(trained[f'fuser.{name}'], value) for name, value in fuser.items())
    for name in ('infrared', 'F'):
        folder = root / name / 'seed_0'
        got = json.loads((folder / 'result.json').read_text())
        assert got['checkpoint'] == 'epoch_1.pth'
        classes = [value for key, value in got['metrics'].items() if key.startswith('IoU/')]
        assert len(classes) == 6
        defined = [value for value in classes if value is not None]
        assert got['metrics']['mIoU'] == pytest.approx(math.fsum(defined) / len(defined), abs=0.006)
    (folder / cells.METRICS_FILE).unlink()
    checkpoint = folder / 'train/epoch_1.pth'
    cli.main(['test', str(folder / 'config.py'), str(checkpoint), '--work-dir', str(tmp_path / 'test')])
    assert json.loads((folder / cells.METRICS_FILE).read_text()) == pytest.approx(got['metrics'], nan_ok=True)


def test_zero_shot(compare, tmp_path, capsys, monkeypatch):
    """A task model with its own weights, on a source and on images of another method, which are fused once."""
    config, weights = tmp_path / 'tiny.py', tmp_path / 'task.pth'
    text = CONFIG.format(base=str(ROOT / 'configs/cascades/occo_unet_synthetic.py'))
    config.write_text(text + f'model.update(task_checkpoint={str(weights)!r})\n')
    cfg = Config.fromfile(config)
    torch.manual_seed(3)
    torch.save(MODELS.build(cfg.model.segmentor).state_dict(), weights)
    args = ('--zero-shot', '--variants', 'infrared', '--metrics', 'mIoU')
    assert compare(*args, name=config) == 0
    got = json.loads((tmp_path / 'out/cells/infrared/seed_0/result.json').read_text())
    assert got['checkpoint'] is None
    assert 0 <= got['metrics']['mIoU'] <= 100
    assert 'infrared: testing' in capsys.readouterr().out
    assert compare(*args, name=config) == 0
    assert '1 of 1 cells are finished and skipped' in capsys.readouterr().out
    assert not list((tmp_path / 'out').rglob('*.pth'))
    cell = Config.fromfile(tmp_path / 'out/cells/infrared/seed_0/config.py')
    assert not cell.default_hooks  # panels and the like would cost more than the test
    assert [hook.type for hook in cell.custom_hooks] == ['mmfusion.TestResultHook']
    for wrong, message in (
        (('--zero-shot', '--variants', 'joint'), 'leave out joint variants'),
        (('--zero-shot', '--variants', 'visible', '--seeds', '1'), 'trains nothing'),
        (('--zero-shot', '--variants', 'visible', '--cfg-options', 'model.task_checkpoint='), 'no weights'),
    ):
        assert compare(*wrong, name=config) == 1
        assert message in capsys.readouterr().err


def test_images_of_another_method_are_fused_first(compare, trainings, pairs, config, tmp_path, monkeypatch):
    """Each dataloader reads its own, of one folder a method; what is there is not fused again."""
    dataset = dict(type='mmfusion.FusionDataset', data_root=str(pairs), pipeline=[dict(type='mmfusion.LoadImagePair')])
    text = f'train_dataloader = dict(dataset={dataset!r})\ntest_dataloader = train_dataloader\n'
    config.write_text(OUTLINE + text)
    MIOU[('A', 0)] = 1.0
    assert compare('--variants', 'A=method:mmdrfuse:random') == 0
    folder = tmp_path / 'out/cells/A'
    assert sorted(f.name for f in (folder / 'fused/test').iterdir()) == ['a.png', 'b.png', 'c.png', 'fuse.json']
    cell = Config.fromfile(folder / 'seed_0/config.py')
    assert cell.train_dataloader.dataset.data_prefix == dict(ir_path='ir', vi_path=str(folder / 'fused/train'))
    assert cell.model.fuser.network.source == 'visible'
