"""A segmentation head for other classes, through the tool."""

import pytest
import torch
from mmseg.models import FCNHead
from torch import nn

OLD, NEW, WIDTH = 7, 4, 5
MAP = ['5=1', '2,6=3']


@pytest.fixture
def tool(load_tool):
    """The converter."""
    return load_tool('tools/model_converters/map_seg_head.py')


def make(classes):
    return FCNHead(
        in_channels=WIDTH,
        channels=WIDTH,
        num_convs=0,
        kernel_size=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=classes,
        loss_decode=dict(type='mmseg.CrossEntropyLoss'),
    )


def run(tool, tmp_path, state, *options, items=MAP):
    torch.save(dict(state_dict=state), tmp_path / 'src.pth')
    argv = [str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth'), '--num-classes', str(NEW), '--map', *items, *options]
    return tool.main(argv)


def trained(start=''):
    return {
        f'{start}decode_head.conv_seg.weight': torch.randn(OLD, WIDTH, 1, 1),
        f'{start}decode_head.conv_seg.bias': torch.randn(OLD),
    }


def logits(state, x, start='decode_head.'):
    head = make(len(state[f'{start}conv_seg.bias']))
    head.load_state_dict({k.removeprefix(start): v for k, v in state.items()})
    return head.eval()([x])


def result(tmp_path):
    return torch.load(tmp_path / 'dst.pth', weights_only=True)['state_dict']


@pytest.mark.parametrize('start', ['', 'segmentor.'])
def test_logits_of_a_new_class_are_the_mean_of_its_old_ones(tool, tmp_path, capsys, start):
    state, x = trained(start), torch.randn(2, WIDTH, 3, 4)
    assert run(tool, tmp_path, state, '--rest', '0') == 0
    assert '4 classes, of which [2] have no old one' in capsys.readouterr().out
    old, new = logits({k.removeprefix(start): v for k, v in state.items()}, x), logits(result(tmp_path), x)
    torch.testing.assert_close(new[:, 1], old[:, 5])
    torch.testing.assert_close(new[:, 3], (old[:, 2] + old[:, 6]) / 2)
    torch.testing.assert_close(new[:, 0], (old[:, 0] + old[:, 1] + old[:, 3] + old[:, 4]) / 4)
    torch.testing.assert_close(new[:, 2], (new[:, 0] + new[:, 1] + new[:, 3]) / 3)
    assert (new.argmax(1) != 2).all()


def test_a_batch_norm_in_front_is_folded_in(tool, tmp_path):
    """As DINOv2's own heads have it."""
    state, norm, x = trained(), nn.BatchNorm2d(WIDTH).eval(), torch.randn(2, WIDTH, 3, 4)
    for value in norm.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    expected = logits(state, norm(x))
    state.update({f'decode_head.bn.{k}': v for k, v in norm.state_dict().items()})
    assert run(tool, tmp_path, state, '--rest', '0') == 0
    torch.testing.assert_close(logits(result(tmp_path), x)[:, 1], expected[:, 5])


def test_the_file_says_how_it_was_made(tool, tmp_path):
    run(tool, tmp_path, trained())
    meta = torch.load(tmp_path / 'dst.pth', weights_only=True)['meta']
    assert (meta['converted_from'], meta['class_map']) == ('src.pth', {1: [5], 3: [2, 6]})


@pytest.mark.parametrize(
    ('items', 'message'),
    [
        (['5-1'], '--map 5-1: expected OLD=NEW'),
        (
            ['7=1', '2=4'],
            r'old classes [7] and new classes [4] that do not exist; the head has 0 … 6, the new one 0 … 3',
        ),
        (['5=1', '5=2'], 'names the old classes [5] twice'),
    ],
)
def test_maps_that_make_no_sense(tool, tmp_path, capsys, items, message):
    assert run(tool, tmp_path, trained(), items=items) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'dst.pth').exists()


def test_heads_that_are_not_linear(tool, tmp_path, capsys):
    state = {**trained(), 'decode_head.convs.0.conv.weight': torch.zeros(1)}
    assert run(tool, tmp_path, state) == 1
    assert 'not linear: conv_seg is 7×5×1×1, and besides it there are decode_head.convs.0' in capsys.readouterr().err
    assert run(tool, tmp_path, {'backbone.weight': torch.zeros(1)}) == 1
    assert 'expected one decode_head.conv_seg.weight, found none among backbone.weight' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('names', 'channels'),
    [
        ([f'bbox_head.multi_level_conv_cls.{k}' for k in range(3)], (5, 1, 1)),  # YOLOX
        (['decode_head.conv_seg'], (5, 1, 1)),
        (['roi_head.bbox_head.fc_cls'], (5,)),
    ],
)
def test_whole_models(tool, tmp_path, names, channels):
    """Rows of classes are mapped, everything else stays."""
    state = {'backbone.weight': torch.randn(OLD, 3), 'bbox_head.multi_level_conv_reg.0.weight': torch.randn(4, 5, 1, 1)}
    for name in names:
        state |= {f'{name}.weight': torch.randn(OLD, *channels), f'{name}.bias': torch.randn(OLD)}
    assert run(tool, tmp_path, state, '--whole') == 0
    new = result(tmp_path)
    assert new.keys() == state.keys()
    for key, old in state.items():
        if key.startswith(tuple(names)):
            assert new[key].shape == (NEW, *old.shape[1:])
            torch.testing.assert_close(new[key][1], old[5])
            torch.testing.assert_close(new[key][3], (old[2] + old[6]) / 2)
        else:
            assert torch.equal(new[key], old)


def test_whole_models_that_cannot_be_mapped(tool, tmp_path, capsys):
    state = {**trained(), 'auxiliary_head.conv_seg.weight': torch.randn(3, 5, 1, 1)}
    assert run(tool, tmp_path, state, '--whole') == 1
    assert 'decode_head.conv_seg.bias of 7, auxiliary_head.conv_seg.weight of 3' in capsys.readouterr().err
    assert run(tool, tmp_path, {'backbone.weight': torch.zeros(1)}, '--whole') == 1
    assert 'found none of these' in capsys.readouterr().err


def test_existing_files_stay(tool, tmp_path, capsys):
    (tmp_path / 'dst.pth').write_bytes(b'old')
    assert run(tool, tmp_path, trained()) == 1
    assert 'say --overwrite' in capsys.readouterr().err
    assert (tmp_path / 'dst.pth').read_bytes() == b'old'
    assert run(tool, tmp_path, trained(), '--overwrite') == 0
