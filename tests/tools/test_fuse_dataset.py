"""tools/fuse_dataset.py and to_coco.py: what they write is read by mmseg's and mmdet's own classes."""

import json
import os

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmfusion.apis import FusionInferencer
from mmfusion.datasets import FMBDataset, M3FDDataset, MSRSDataset, SyntheticDataset, render_scene
from mmfusion.datasets.transforms import FuseImages, LoadImagePair, LoadSegLabels
from mmfusion.datasets.transforms.fuse import plain_image
from mmfusion.utils import read_label_map, read_visible, write_image

OPTIONS = {'model.network.channels': (4, 4, 8, 8)}


@pytest.fixture(scope='module')
def layouts(load_tool, tmp_path_factory):
    """Datasets in the layouts of MSRS, FMB and M3FD: {name: folder}."""
    root = tmp_path_factory.mktemp('layouts')
    for name in ('msrs', 'fmb', 'm3fd'):
        size = ['--num', '3', '--num-test', '2', '--size', '64', '96']
        load_tool('tools/dataset_converters/synthetic.py').main([str(root / name), '--layout', name, *size])
    return root


@pytest.fixture
def fuse(load_tool, checkpoint, narrow, layouts, tmp_path):
    """Runs the tool on a dataset; the exit code."""
    tool = load_tool('tools/fuse_dataset.py')
    model = ['--model', 'occo_fmb', '--weights', str(checkpoint), '--device', 'cpu', *narrow]

    def run(dataset, *args, source='fused', out=tmp_path / 'out'):
        what = model if source == 'fused' else ['--source', source]
        folder = layouts / dataset.removesuffix('Dataset').lower()
        given = ['--dataset', dataset, '--data-root', str(folder)] if folder.is_dir() else ['--dataset', dataset]
        return tool.main([*given, '--out', str(out), *what, *args])

    return run


@pytest.fixture
def m3fd_lists(layouts):
    return ['--lists', *(f'{part}={layouts}/m3fd/M3FD_Detection/{part}.txt' for part in ('train', 'test'))]


def files(folder):
    """Names of all files below a folder."""
    return sorted(str(f.relative_to(folder)) for f in folder.rglob('*') if f.is_file())


def times(folder):
    return {str(f.relative_to(folder)): f.stat().st_mtime_ns for f in folder.rglob('*.png')}


def pasted(out, library, base, tmp_path):
    """A stock config with the snippet pasted below its first line."""
    snippet = (out / f'dataset_{library}.py').read_text()
    assert 'mmfusion.' not in snippet
    (tmp_path / 'child.py').write_text(f"_base_ = ['{library}::{base}']\n{snippet}")
    return Config.fromfile(tmp_path / 'child.py')


def stock_dataset(library, cfg):
    """Build a dataset by the library's own registry."""
    import mmdet.datasets
    import mmseg.datasets

    registries = dict(mmseg=mmseg.registry.DATASETS, mmdet=mmdet.registry.DATASETS)
    with DefaultScope.overwrite_default_scope(library):
        return registries[library].build(cfg)


def test_images_whose_sources_changed_are_made_again(fuse, layouts, capsys):
    assert fuse('MSRSDataset', source='average') == 0
    os.utime(sorted((layouts / 'msrs').rglob('vi/*.png'))[0])
    assert fuse('MSRSDataset', source='average') == 0
    assert '1 images written, 4 skipped' in capsys.readouterr().out


def test_segmentation(fuse, layouts, tmp_path, checkpoint, capsys):
    out = tmp_path / 'out'
    assert fuse('MSRSDataset') == 0
    assert '5 images written, 0 skipped' in capsys.readouterr().out
    cfg = pasted(out, 'mmseg', 'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py', tmp_path)
    assert cfg.val_evaluator.type == 'IoUMetric'
    inferencer = FusionInferencer('occo_fmb', checkpoint, 'cpu', OPTIONS, show_progress=False)
    transform = FuseImages('occo_fmb', str(checkpoint), cfg_options=OPTIONS)
    for part, number in (('train', 3), ('test', 2)):
        source = MSRSDataset(
            data_root=str(layouts / 'msrs'), split=part, with_labels=True, pipeline=[LoadImagePair(), transform]
        )
        stock = stock_dataset('mmseg', cfg[f'{part}_dataloader'].dataset)
        assert type(stock).__module__.startswith('mmseg.')
        assert len(stock) == len(source) == number
        assert stock.metainfo['classes'] == source.metainfo['classes']
        assert stock.metainfo['palette'] == source.metainfo['palette']
        for k in range(number):
            there, info, sample = stock.get_data_info(k), source.get_data_info(k), source[k]
            image = read_visible(there['img_path'])
            np.testing.assert_array_equal(image, sample['img'])
            np.testing.assert_array_equal(image, inferencer(info['img_path'], info['ir_path']))
            with open(there['seg_map_path'], 'rb') as a, open(info['seg_map_path'], 'rb') as b:
                assert a.read() == b.read()
        # The stock pipeline's own loaders and packer take them.
        assert stock[0]['data_samples'].gt_sem_seg.data.max() < 9
    record = json.loads((out / 'fuse.json').read_text())['settings']
    assert (record['config'], record['task'], list(record['parts'])) == ('occo_fmb', 'seg', ['train', 'test'])


def test_reduce_zero_label(fuse, layouts, tmp_path):
    assert fuse('FMBDataset', '--splits', 'test', source='visible') == 0
    snippet = (tmp_path / 'out' / 'dataset_mmseg.py').read_text()
    assert 'num_classes=14' in snippet
    assert 'Label 0 of the files is ignored; the classes are 1 and up' in snippet
    cfg = pasted(tmp_path / 'out', 'mmseg', 'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py', tmp_path)
    stock = stock_dataset('mmseg', cfg.test_dataloader.dataset)
    ours = FMBDataset(data_root=str(layouts / 'fmb'), split='test', with_labels=True, pipeline=[LoadSegLabels()])
    for k in range(len(ours)):
        labels = stock[k]['data_samples'].gt_sem_seg.data[0].numpy()
        np.testing.assert_array_equal(labels, ours[k]['gt_seg_map'])
        assert labels.max() == 255
    assert 'train_dataloader' not in snippet


@pytest.mark.parametrize('source', ['visible', 'infrared', 'average'])
def test_detection(fuse, layouts, m3fd_lists, tmp_path, source):
    for part in ('train', 'test'):  # an image without objects in each
        names = (layouts / f'm3fd/M3FD_Detection/{part}.txt').read_text().split()
        (layouts / f'm3fd/M3FD_Detection/Annotation/{names[1]}.xml').write_text('<annotation></annotation>')
    out = tmp_path / 'out'
    assert fuse('M3FDDataset', *m3fd_lists, source=source) == 0
    cfg = pasted(out, 'mmdet', 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py', tmp_path)
    assert cfg.test_evaluator.ann_file == str(out / 'annotations/test.json')
    for part in ('train', 'test'):
        source_set = M3FDDataset(
            data_root=str(layouts / 'm3fd'), ann_file=m3fd_lists[1 if part == 'train' else 2].split('=')[1],
            with_boxes=True, pipeline=[LoadImagePair()],
        )  # fmt: skip
        stock = stock_dataset('mmdet', cfg[f'{part}_dataloader'].dataset)
        assert type(stock).__module__.startswith('mmdet.')
        assert len(stock) == len(source_set) == (3 if part == 'train' else 2)
        assert stock.metainfo['classes'] == source_set.metainfo['classes']
        for k in range(len(stock)):
            there, sample = stock.get_data_info(k), source_set[k]
            assert there['instances'] == sample['instances']
            np.testing.assert_array_equal(read_visible(there['img_path']), plain_image(sample['img'], source))
        assert [len(stock.get_data_info(k)['instances']) for k in range(2)][1] == 0
    assert max(len(stock.get_data_info(k)['instances']) for k in range(len(stock))) > 0
    if source == 'visible':
        np.testing.assert_array_equal(stock[0]['inputs'].shape[0], 3)


@pytest.mark.parametrize('task', ['seg', 'det'])
def test_synthetic_scenes(fuse, tmp_path, task):
    size = ['num=2', 'seed=3', 'size=(64,96)']
    assert (
        fuse('SyntheticDataset', '--splits', 'test', '--task', task, '--dataset-options', *size, source='infrared') == 0
    )
    out, scene = tmp_path / 'out', render_scene(3, 0, (64, 96))
    if task == 'seg':
        np.testing.assert_array_equal(read_label_map(out / f'ann_dir/test/{scene.name}.png'), scene.seg_map)
        image = read_visible(out / f'img_dir/test/{scene.name}.png')
    else:
        coco = json.loads((out / 'annotations/test.json').read_text())
        boxes = [a['bbox'] for a in coco['annotations'] if a['image_id'] == 1]
        np.testing.assert_array_equal(np.reshape(boxes, (-1, 4))[:, :2], scene.bboxes[:, :2])
        assert [c['name'] for c in coco['categories']] == ['person', 'car']
        image = read_visible(out / f'images/test/{scene.name}.png')
    np.testing.assert_array_equal(image[..., 0], scene.ir)


def test_datasets_of_a_config(load_tool, layouts, tmp_path, capsys):
    (tmp_path / 'config.py').write_text(
        f'root = {str(layouts / "msrs")!r}\n'
        "load = dict(type='mmfusion.LoadImagePair')\n"
        "inner = dict(type='mmfusion.MSRSDataset', data_root=root, split='train', with_masks=True, pipeline=[load])\n"
        "train_dataloader = dict(dataset=dict(type='RepeatDataset', times=9, dataset=inner))\n"
        "val_dataloader = dict(dataset=dict(type='mmfusion.SyntheticDataset', num=1, size=(32, 32)))\n"
        'test_dataloader = dict(dataset=dict(inner, split="test"))\n'
    )
    tool = load_tool('tools/fuse_dataset.py')
    arguments = ['--dataset-config', str(tmp_path / 'config.py'), '--source', 'average', '--out']
    assert tool.main([*arguments, str(tmp_path / 'a')]) == 0
    assert len(list((tmp_path / 'a/img_dir').rglob('*.png'))) == 5
    assert tool.main([*arguments, str(tmp_path / 'b'), '--splits', 'val']) == 0
    assert [f for f in files(tmp_path / 'b') if f.endswith('.png')] == [
        'ann_dir/val/00000D.png', 'img_dir/val/00000D.png',
    ]  # fmt: skip
    assert tool.main([*arguments, str(tmp_path / 'c'), '--splits', 'dev']) == 1
    assert 'no dev_dataloader; parts are train, val, test' in capsys.readouterr().err


def test_goes_on_where_it_was_stopped(fuse, tmp_path, monkeypatch, capsys):
    whole, calls = FusionInferencer.fuse_stacked, []

    def stopped(self, pair, name):
        calls.append(name)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return whole(self, pair, name)

    out = tmp_path / 'out'
    monkeypatch.setattr(FusionInferencer, 'fuse_stacked', stopped)
    assert fuse('MSRSDataset') == 130
    monkeypatch.undo()
    first = {k: v for k, v in times(out).items() if k.startswith('img_dir')}
    assert len(first) == 2
    assert not (out / 'dataset_mmseg.py').exists()
    (out / 'img_dir/train/.x.png.y.tmp').write_bytes(b'half an image')
    assert fuse('MSRSDataset') == 0
    assert '3 images written, 2 skipped' in capsys.readouterr().out
    second = times(out)
    assert {**second, **first} == second
    monkeypatch.setattr(FusionInferencer, '__init__', None)  # nothing to do: no model is built
    assert fuse('MSRSDataset') == 0
    monkeypatch.undo()
    assert times(out) == second
    # Other settings are not mixed in, nor another task.
    assert fuse('MSRSDataset', '--tile', '32', '32') == 1
    assert 'made with other settings: tile was None, is now [32, 32]' in capsys.readouterr().err
    assert fuse('MSRSDataset', source='visible') == 1
    assert "source was 'fused', is now 'visible'" in capsys.readouterr().err
    assert times(out) == second
    assert fuse('MSRSDataset', '--overwrite', source='visible') == 0
    assert all(time > second[name] for name, time in times(out).items() if name.startswith('img_dir'))
    write_image(out / 'img_dir/train/other.png', np.zeros((4, 4), np.uint8))
    assert fuse('MSRSDataset', source='visible') == 1
    assert '1 images there do not belong to the dataset (any more)' in capsys.readouterr().err


def copied(layouts, tmp_path, name):
    import shutil

    return shutil.copytree(layouts / name, tmp_path / name)


def test_images_without_annotation_are_listed(load_tool, layouts, tmp_path, capsys):
    tool, out = load_tool('tools/fuse_dataset.py'), str(tmp_path / 'out')
    root = copied(layouts, tmp_path, 'msrs')
    labels = sorted((root / 'train/Segmentation_labels').iterdir())
    for file in labels[:2]:
        file.unlink()
    arguments = ['--out', out, '--source', 'visible', '--data-root']
    assert tool.main(['--dataset', 'MSRSDataset', *arguments, str(root)]) == 1
    stems = ', '.join(file.stem for file in labels[:2])
    assert f'Segmentation_labels: 2 of 3 images have no label map: {stems}. Add them' in capsys.readouterr().err
    # A list of the others is the advice, and works.
    (tmp_path / 'rest.txt').write_text(labels[2].stem)
    assert tool.main(['--dataset', 'MSRSDataset', *arguments, str(root), '--lists', f'train={tmp_path}/rest.txt']) == 0
    root = copied(layouts, tmp_path, 'm3fd')
    boxes = sorted((root / 'M3FD_Detection/Annotation').iterdir())
    boxes[-1].unlink()
    assert tool.main(['--dataset', 'M3FDDataset', *arguments, str(root), '--splits', 'detection']) == 1
    assert f'1 of 5 images have no box annotation: {boxes[-1].stem}' in capsys.readouterr().err


def test_labels_that_do_not_fit(load_tool, layouts, tmp_path, capsys):
    root = copied(layouts, tmp_path, 'msrs')
    label = sorted((root / 'test/Segmentation_labels').iterdir())[0]
    Image.fromarray(np.full((64, 96), 9, np.uint8)).save(label)
    tool = load_tool('tools/fuse_dataset.py')
    arguments = ['--dataset', 'MSRSDataset', '--data-root', str(root), '--source', 'visible', '--splits', 'test']
    assert tool.main([*arguments, '--out', str(tmp_path / 'out')]) == 1
    assert f'{label.name}: label 9 is outside the classes' in capsys.readouterr().err


def test_the_source_is_never_written_to(fuse, layouts, tmp_path, capsys):
    before = files(layouts / 'msrs')
    assert fuse('MSRSDataset', out=layouts / 'fmb' / '..' / 'msrs') == 1
    assert 'is the folder of the source images; choose another one' in capsys.readouterr().err
    assert files(layouts / 'msrs') == before


@pytest.mark.parametrize(
    ('dataset', 'arguments', 'source', 'message'),
    [
        ('MSRSDataset', ['--splits', 'val'], 'visible', "has no split 'val'; it has train, test. Parts of your own"),
        ('M3FDDataset', ['--splits', 'fusion'], 'visible', 'M3FDDataset has no annotations: say which by --task'),
        (
            'NoDataset',
            [],
            'visible',
            'NoDataset: no dataset of image pairs; mmfusion has DroneVehicleDataset, FLIRAlignedDataset, FMBDataset, ',
        ),
        ('MSRSDataset', ['--weights', 'random'], 'visible', '--source visible needs no model'),
        ('MSRSDataset', ['--lists', 'my-part=x.txt'], 'visible', "part 'my-part': the name of a part consists of"),
        ('MSRSDataset', ['--task', 'det'], 'visible', 'MSRSDataset has no box annotations'),
        ('SyntheticDataset', ['--splits', 'a', 'b'], 'visible', 'SyntheticDataset has no splits'),
    ],
)
def test_refusals(fuse, dataset, arguments, source, message, capsys):
    assert fuse(dataset, *arguments, source=source) == 1
    assert message in capsys.readouterr().err


def test_needs_a_model(load_tool, tmp_path, capsys):
    arguments = ['--dataset', 'MSRSDataset', '--data-root', '.', '--out', str(tmp_path)]
    assert load_tool('tools/fuse_dataset.py').main(arguments) == 1
    assert '--model and --weights say what fuses the images' in capsys.readouterr().err
    assert load_tool('tools/fuse_dataset.py').main([*arguments, '--model', 'occo_fmb']) == 1
    assert 'occo_fmb: give its weights (--weights FILE): none are published' in capsys.readouterr().err


def test_to_coco(load_tool, layouts, m3fd_lists, tmp_path, capsys):
    tool = load_tool('tools/dataset_converters/to_coco.py')
    root = str(layouts / 'm3fd')
    arguments = [
        '--dataset',
        'M3FDDataset',
        '--data-root',
        root,
        *m3fd_lists,
        '--out',
        str(tmp_path),
        '--modality',
        'ir',
    ]
    assert tool.main(arguments) == 0
    assert 'test.json: 2 images' in capsys.readouterr().out
    stock = stock_dataset(
        'mmdet',
        dict(
            type='CocoDataset', data_root=root, ann_file=str(tmp_path / 'train.json'), data_prefix=dict(img=''),
            metainfo=dict(classes=M3FDDataset.METAINFO['classes']), pipeline=[],
        ),
    )  # fmt: skip
    ours = M3FDDataset(data_root=root, ann_file='M3FD_Detection/train.txt', with_boxes=True)
    for k in range(3):
        info = stock.get_data_info(k)
        assert Image.open(info['img_path']).size == (96, 64)
        assert info['img_path'] == ours.get_data_info(k)['ir_path']
        assert info['instances'] == ours.get_data_info(k)['instances']
    for option, form in (('--lists', 'PART=FILE'), ('--dataset-options', 'KEY=VALUE')):
        with pytest.raises(SystemExit):
            tool.main([*arguments, option, 'train'])
        assert f"{option}: 'train'; expected {form}" in capsys.readouterr().err
    synthetic = ['--dataset', 'SyntheticDataset', '--dataset-options', 'num=2', 'size=(64,96)', '--out', str(tmp_path)]
    assert tool.main([*synthetic, '--splits', 'val']) == 0
    count = len(json.loads((tmp_path / 'val.json').read_text())['annotations'])
    assert count == sum(len(render_scene(0, k, (64, 96)).bboxes) for k in range(2))
    assert tool.main([*synthetic, '--task', 'seg']) == 1
    assert 'COCO JSON is for boxes' in capsys.readouterr().err
    assert SyntheticDataset(num=1, task='det').metainfo['classes'] == ('person', 'car')


def test_four_channel_files_and_a_dataset_of_ones_own(load_tool, tmp_path):
    tool, rng = load_tool('tools/fuse_dataset.py'), np.random.default_rng(0)
    pair, labels = rng.integers(0, 256, (20, 30, 4), np.uint8), rng.integers(0, 4, (20, 30), np.uint8)
    for root, files in dict(mfnet=dict(images=pair), own=dict(vi=pair[..., :3], ir=pair[..., 3])).items():
        for folder, image in dict(files, labels=labels).items():
            write_image(tmp_path / root / folder / 'a.png', image)
    (tmp_path / 'mfnet/val.txt').write_text('a\n')
    (tmp_path / 'own.py').write_text(
        "train_dataloader = dict(dataset=dict(type='mmfusion.FusionDataset', metainfo=dict(classes=list('wxyz')),\n"
        f"    data_root={str(tmp_path / 'own')!r}, pipeline=[dict(type='mmfusion.LoadImagePair', depth16='stretch')],\n"
        "    data_prefix=dict(vi_path='vi', ir_path='ir', seg_map_path='labels')))\n"
    )
    mfnet = ['--dataset', 'MFNetDataset', '--data-root', str(tmp_path / 'mfnet'), '--splits', 'val']
    for source, part in ((mfnet, 'val'), (['--dataset-config', str(tmp_path / 'own.py')], 'train')):
        out = tmp_path / f'out_{part}'
        assert tool.main([*source, '--out', str(out), '--source', 'average']) == 0
        np.testing.assert_array_equal(read_visible(out / f'img_dir/{part}/a.png'), plain_image(pair, 'average'))
        np.testing.assert_array_equal(read_label_map(out / f'ann_dir/{part}/a.png'), labels)
    record = json.loads((tmp_path / 'out_train/fuse.json').read_text())['settings']
    assert record['parts']['train']['load']['depth16'] == 'stretch'
    assert "classes=('w', 'x', 'y', 'z')" in (tmp_path / 'out_train/dataset_mmseg.py').read_text()
