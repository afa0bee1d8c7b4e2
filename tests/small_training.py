"""Trainings in small: folders of all datasets, each pair the same synthetic one, and configs that read them in no time."""

import csv
import os
from pathlib import Path

import numpy as np

from mmfusion.datasets.synthetic import render_scene
from mmfusion.utils import write_bytes, write_image

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ROOT / 'configs/_base_/datasets/splits'
SIZE = (48, 64)


def shrink(node, crop=42):
    """Make crops, images and batches of a dataloader's config small, in place."""
    for key, value in node.items():
        if key in ('crop_size', 'size'):
            node[key] = (crop, crop)
        elif key in ('scale', 'img_scale'):
            node[key] = (64, 64) if node.get('keep_ratio', True) else (crop, crop)
        elif key == 'border':
            node[key] = (-32, -32)
        elif key == 'batch_size':
            node[key] = min(value, 4)
        for child in value if isinstance(value, list | tuple) else (value,):
            if isinstance(child, dict):
                shrink(child, crop)


def shrink_datasets(node, part):
    """Four pairs of each dataset to train with, one to test with; lists of names make way for whole folders."""
    for child in [node.get('dataset'), *node.get('datasets', ())]:
        if child:
            shrink_datasets(child, part)
    if 'data_root' in node or 'data_prefix' in node:
        node.indices = 4 if part == 'train' else 1
        if 'MFNet' not in node.get('type', '') and node.get('ann_file'):
            node.pop('ann_file')


def end_stages(cfg):
    """Give each stage of a training one epoch; of stages that train the same in the same way the first is kept."""
    hooks = [*cfg.get('custom_hooks', ()), *(cfg.get('default_hooks') or {}).values()]
    (hook,) = [hook for hook in hooks if hook and hook.get('stages')] or [None]
    if hook is None:
        return 1
    forms = [(stage.train, stage.get('phase'), stage.get('losses')) for stage in hook.stages]
    hook.stages = [stage for k, stage in enumerate(hook.stages) if forms.index(forms[k]) == k]
    for epoch, stage in enumerate(hook.stages[:-1], 1):
        stage.end = epoch
    hook.stages[-1].pop('end', None)
    return len(hook.stages)


def write_data(root):
    """``data``: the folders of all datasets, of the names that commands and lists have, all of them one pair."""
    scene = render_scene(0, 1, SIZE)
    rgbt = np.dstack([scene.vi, scene.ir])
    labels = (scene.seg_map % 7).astype(np.uint8)
    mask = np.zeros(SIZE, np.uint8)
    mask[8:30, 10:44] = 255
    source = {}
    for kind, image in dict(vi=scene.vi, ir=scene.ir, rgbt=rgbt, labels=labels, mask=mask).items():
        source[kind] = root / f'{kind}.png'
        write_image(source[kind], image)
    source['masks'] = root / 'masks.npy'
    np.save(source['masks'], np.repeat(mask[..., None] // 255, 4, -1).astype(np.uint8))
    source['yolo'], source['voc'] = root / 'boxes.txt', root / 'boxes.xml'
    write_bytes(source['yolo'], b'0 0.5 0.5 0.4 0.4\n2 0.3 0.4 0.3 0.3\n')
    boxes = ''.join(
        f'<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>9</ymin><xmax>{x + 20}</xmax><ymax>40</ymax></bndbox>'
        '</object>'
        for name, x in (('People', 5), ('Car', 30))
    )
    write_bytes(source['voc'], f'<annotation>{boxes}</annotation>'.encode())

    def lay(names, folders, prefix=''):
        for folder, kind in folders.items():
            (root / 'data' / folder).mkdir(parents=True, exist_ok=True)
            for name in names:
                file = f'{"mask_" * (kind == "mask")}{name}{source[kind].suffix}'
                os.symlink(source[kind], root / 'data' / folder / file)

    def listed(name):
        return (SPLITS / name).read_text().split()

    some = [f'{k:05d}' for k in range(1, 7)]
    for split, names in (('train', some), ('test', ['00507', '00508'])):
        masks = dict.fromkeys((f'FMB/{split}/mask_{m}{p}' for m in ('vi', 'ir') for p in ('', '_prompt2')), 'mask')
        lay(names, {f'FMB/{split}/Visible': 'vi', f'FMB/{split}/Infrared': 'ir', **masks})
    night = ['00327D', '00842N', '00927N', '00427D', '01106N', '00404D']
    for split, names in (('train', some), ('test', night)):
        folders = {f'MSRS/{split}/vi': 'vi', f'MSRS/{split}/ir': 'ir', f'MSRS/{split}/Segmentation_labels': 'labels'}
        lay(names, {**folders, f'MSRS/{split}/mask_vi': 'mask', f'MSRS/{split}/mask_ir': 'mask'})
    lay(some, {'MSRS/detection/vi': 'vi', 'MSRS/detection/ir': 'ir', 'MSRS/detection/labels': 'yolo'})
    m3fd = 'M3FD/M3FD_Detection'
    lay(
        [*some, '00198'],
        {f'{m3fd}/Vis': 'vi', f'{m3fd}/Ir': 'ir', f'{m3fd}/Annotation': 'voc', f'{m3fd}/Label': 'labels'},
    )
    lay(['01911', '01912', '01913', '01914'], {'M3FD/M3FD_Fusion/Vis': 'vi', 'M3FD/M3FD_Fusion/Ir': 'ir'})
    lay({*listed('tno_21.txt'), '17', '42'}, {'TNO/vi': 'vi', 'TNO/ir': 'ir'})
    masks = dict.fromkeys(('RoadScene/mask_vi', 'RoadScene/mask_ir'), 'mask')
    lay(listed('roadscene_val.txt'), {'RoadScene/crop_LR_visible': 'vi', 'RoadScene/cropinfrared': 'ir', **masks})
    lay(some, {'COCO/train2014': 'vi', 'FLIR/all': 'ir', 'FLIR/VIS': 'vi', 'FLIR/IR': 'ir'})
    lay(some, {'KAIST/visible': 'vi', 'KAIST/lwir': 'ir', 'LLVIP_patches/VIS': 'vi', 'LLVIP_patches/IR': 'ir'})
    lay(some, {'IV_Patches/VIS': 'vi', 'IV_Patches/IR': 'ir', 'MSRS/train/reference': 'vi'})
    lay(some, {'FMB/train/sage_teacher': 'ir', 'FMB/train/sam_vi': 'masks', 'FMB/train/sam_ir': 'masks'})
    gifnet = dict(visible='vi', infrared='ir', visible_focus_near='vi', visible_focus_far='ir')
    lay(some, {f'GIFNet/{folder}/train': kind for folder, kind in gifnet.items()})
    for split in ('train', 'test'):
        lay(some, {f'LLVIP/visible/{split}': 'vi', f'LLVIP/infrared/{split}': 'ir'})
    names = ['00093D', *some]
    lay(names, {'MFNet/images': 'rgbt', 'MFNet/labels': 'labels'})
    for split in ('train', 'val', 'test'):
        write_bytes(root / f'data/MFNet/{split}.txt', '\n'.join(names).encode())
    with open(SPLITS / 'tno_scenes.csv') as file:
        for row in csv.DictReader(file):
            above = int(row['first_row'])  # rows that only the infrared image has
            tall = root / f'above_{above}.png'
            write_image(tall, np.pad(scene.ir, ((above, 0), (0, 0))))
            for kind, image in (('visible', source['vi']), ('infrared', tall)):
                target = root / 'TNO_Image_Fusion_Dataset' / row[kind]
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.is_symlink():
                    target.symlink_to(image)
