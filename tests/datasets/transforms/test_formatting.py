"""PackFusionInputs packs what the results hold, and refuses what would go wrong later."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmfusion.datasets.transforms import PackFusionInputs
from mmfusion.datasets.transforms.formatting import META_KEYS
from mmfusion.registry import TRANSFORMS

BOXES = np.array([[0, 0, 3, 3], [1, 1, 5, 4], [2, 0, 6, 2]], np.float32)
LABELS = np.array([2, 0, 1])


@pytest.fixture
def img():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)


def pack(img, **results):
    return PackFusionInputs()(dict(img=img, img_path='a.png', **results))


def test_image_and_meta(img):
    meta = {key: key for key in META_KEYS if key != 'img_path'}
    packed = pack(img, no_meta=1, **meta)
    assert packed['inputs'].dtype == torch.uint8
    assert packed['inputs'].is_contiguous()
    np.testing.assert_array_equal(packed['inputs'].numpy().transpose(1, 2, 0), img)
    assert packed['data_samples'].metainfo == dict(meta, img_path='a.png')
    assert not packed['data_samples'].keys()


def test_meta_keys_of_ones_own(img):
    sample = PackFusionInputs(meta_keys=['night'])(dict(img=img, night=True, img_path='a.png'))['data_samples']
    assert sample.metainfo == dict(night=True)


def test_a_view_is_packed_rightly(img):
    np.testing.assert_array_equal(pack(img[::-1, 1:])['inputs'].numpy(), img[::-1, 1:].transpose(2, 0, 1))


@pytest.mark.parametrize('shape', [(6, 8), (6, 8, 3), (6, 8, 5)])
def test_refuses_all_but_four_channels(shape):
    with pytest.raises(ValueError, match=r'a\.png: .*wrap it in mmfusion\.VisibleOnly \(photometric\)'):
        pack(np.zeros(shape, np.uint8))


def test_refuses_floats(img):
    with pytest.raises(ValueError, match=r'a\.png: the pipeline gave an image of type float32; expected uint8'):
        pack(img.astype(np.float32))


@pytest.mark.parametrize('key', ['gt_seg_map', 'gt_edge_map', 'gt_mask_vi', 'gt_mask_ir'])
def test_refuses_a_map_of_another_size(img, key):
    maps = {k: np.zeros((6, 8), np.uint8) for k in ('gt_seg_map', 'gt_edge_map', 'gt_mask_vi', 'gt_mask_ir')}
    assert 'gt_saliency' in pack(img, **maps)['data_samples']
    maps[key] = np.zeros((8, 6), np.uint8)
    with pytest.raises(ValueError, match=rf'a\.png: {key} is \(8, 6\) but the image after the transforms \(6, 8\)'):
        pack(img, **maps)


def test_labels_at_the_size_of_the_file(img):
    late = PackFusionInputs(labels_at_ori_shape=True)
    results = dict(img=img, img_path='a.png', ori_shape=(12, 16), gt_seg_map=np.ones((12, 16), np.uint8))
    with pytest.raises(ValueError, match=r'gt_seg_map is \(12, 16\).*set labels_at_ori_shape=True'):
        PackFusionInputs()(dict(results))
    assert late(dict(results))['data_samples'].gt_sem_seg.data.shape == (1, 12, 16)
    with pytest.raises(ValueError, match=r'gt_seg_map is \(6, 8\) but the file of the image \(12, 16\)'):
        late(dict(results, gt_seg_map=np.ones((6, 8), np.uint8)))
    with pytest.raises(ValueError, match='gt_mask_vi is'):  # losses read the masks, so they follow the image
        late(dict(results, gt_mask_vi=np.ones((12, 16), np.uint8)))


def test_labels_and_edges(img):
    seg = np.arange(48, dtype=np.uint8).reshape(6, 8)
    seg[0, 0] = 255
    sample = pack(img, gt_seg_map=seg, gt_edge_map=seg // 40)['data_samples']
    assert sample.gt_sem_seg.data.dtype == torch.int64
    np.testing.assert_array_equal(sample.gt_sem_seg.data.numpy(), seg[None])
    np.testing.assert_array_equal(sample.gt_edge_map.data.numpy(), seg[None] // 40)


def test_padding_of_masks_is_no_object(img):
    mask = np.zeros((6, 8), np.uint8)
    mask[1, 2], mask[:, 6:] = 1, 255
    saliency = pack(img, gt_mask_vi=mask, gt_mask_ir=1 - mask.clip(0, 1))['data_samples'].gt_saliency
    assert saliency.vi.dtype == torch.bool
    assert saliency.vi.nonzero().tolist() == [[0, 1, 2]]
    assert saliency.ir.sum() == 48 - 13
    assert saliency.shape == (6, 8)


def test_masks_padded_by_a_stock_rotation(img):
    masks = {k: np.ones((6, 8), np.uint8) for k in ('gt_mask_vi', 'gt_mask_ir')}
    results = dict(img=np.full_like(img, 50), img_path='a.png', seg_fields=list(masks), **masks)
    turned = TRANSFORMS.build(dict(type='mmseg.RandomRotate', prob=1.0, degree=(44.0, 45.0)))(results)
    assert set(np.unique(turned['gt_mask_vi'])) == {1, 255}
    vi = PackFusionInputs()(dict(turned))['data_samples'].gt_saliency.vi[0].numpy()
    assert not vi[0, 0]
    assert not vi[turned['img'][..., 3] == 0].any()  # nothing in the black corners
    assert vi[3, 4]


@pytest.mark.parametrize('kind', [lambda b: HorizontalBoxes(b), lambda b: b], ids=['hbox', 'array'])
def test_boxes_and_ignored_boxes(img, kind):
    sample = pack(img, gt_bboxes=kind(BOXES), gt_bboxes_labels=LABELS, gt_ignore_flags=np.array([False, True, False]))[
        'data_samples'
    ]
    np.testing.assert_array_equal(sample.gt_instances.bboxes.numpy(), BOXES[[0, 2]])
    assert isinstance(sample.gt_instances.bboxes, torch.Tensor)
    assert sample.gt_instances.labels.tolist() == [2, 1]
    np.testing.assert_array_equal(sample.ignored_instances.bboxes.numpy(), BOXES[[1]])
    assert sample.ignored_instances.labels.tolist() == [0]


def test_boxes_as_mmdet_packs_them(img):
    results = dict(
        img=img,
        gt_bboxes=HorizontalBoxes(BOXES),
        gt_bboxes_labels=LABELS,
        gt_ignore_flags=np.array([True, False, True]),
    )
    stock = TRANSFORMS.build(dict(type='mmdet.PackDetInputs'))(dict(results))['data_samples']
    ours = pack(**results)['data_samples']
    for name in ('gt_instances', 'ignored_instances'):
        assert torch.equal(getattr(ours, name).bboxes, getattr(stock, name).bboxes.tensor)
        assert torch.equal(getattr(ours, name).labels, getattr(stock, name).labels)


@pytest.mark.parametrize(
    'kind', [lambda b: HorizontalBoxes(b), lambda b: b, lambda b: []], ids=['hbox', 'array', 'list']
)
def test_no_boxes(img, kind):
    sample = pack(img, gt_bboxes=kind(BOXES[:0]), gt_bboxes_labels=LABELS[:0])['data_samples']
    assert sample.gt_instances.bboxes.shape == sample.ignored_instances.bboxes.shape == (0, 4)
    assert sample.gt_instances.labels.shape == (0,)


@pytest.mark.parametrize('key', ['gt_masks', 'gt_keypoints', 'gt_depth_map', 'proposals'])
def test_nothing_is_dropped_silently(img, key):
    with pytest.raises(ValueError, match=rf'a\.png: PackFusionInputs does not pack {key}'):
        pack(img, **{key: np.zeros(3)})
