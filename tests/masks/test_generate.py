"""Mask generation: real GroundingDINO, BERT and SAM classes, tiny and random; files, resuming, refusals."""

import json
import re
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmfusion.cli import masks
from mmfusion.datasets.boxes import AnnotatedBoxes
from mmfusion.masks import grounded_sam
from mmfusion.masks.contrast import ContrastMasks
from mmfusion.masks.generate import generate_masks
from mmfusion.masks.grounded_sam import (
    DEFAULT_DETECTOR,
    DEFAULT_PROMPT,
    KNOWN_PHRASES,
    GroundingDinoBoxes,
    SamBoxMasks,
    prompt_spans,
)
from mmfusion.models.hub import read_config
from mmfusion.registry import DATASETS
from mmfusion.utils import ImageReadError, read_infrared, read_mask, read_visible

# Grounding DINO's text positions are 256 wide whatever the config says: that width stays.
TINY_DETECTOR = """
_base_ = ['mmdet::grounding_dino/grounding_dino_swin-t_pretrain_obj365_goldg_cap4m.py']
ffn = dict(feedforward_channels=16)
model = dict(
    num_queries=20,
    backbone=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4),
    neck=dict(in_channels=[16, 32, 64]),
    encoder=dict(
        num_layers=1,
        layer_cfg=dict(ffn_cfg=ffn),
        text_layer_cfg=dict(ffn_cfg=ffn),
        fusion_layer_cfg=dict(embed_dim=16),
    ),
    decoder=dict(num_layers=1, layer_cfg=dict(ffn_cfg=ffn)),
    test_cfg=dict(max_per_img=20),
)
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='FixScaleResize', scale=(96, 160), keep_ratio=True, backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'text',
                                          'custom_entities', 'tokens_positive')),
]))
"""


@pytest.fixture(scope='module', autouse=True)
def _one_thread(one_thread):
    """All tests here."""


@pytest.fixture(scope='module')
def tool():
    """The command-line tool."""
    return masks


def tiny_sam(checkpoint=None):
    """Sam of segment_anything's own parts: 64-pixel input, two blocks."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(3)
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=32, num_heads=2)
    return Sam(
        ImageEncoderViT(
            img_size=64,
            patch_size=8,
            embed_dim=32,
            depth=2,
            num_heads=2,
            out_chans=32,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=4,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=4),
        MaskDecoder(transformer_dim=32, transformer=transformer, iou_head_hidden_dim=32),
    ).eval()


@pytest.fixture
def sam_file(tmp_path, monkeypatch):
    """Weights of the tiny SAM, which stands in the registry as vit_b."""
    import segment_anything

    monkeypatch.setitem(segment_anything.sam_model_registry, 'vit_b', tiny_sam)
    file = tmp_path / 'tiny_sam.pth'
    torch.save(tiny_sam().state_dict(), file)
    return file


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """Config, weights and BERT folder of a tiny GroundingDINO."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp('detector')
    words = ['the', 'scene', 'captures', 'a', 'group', 'of', 'pedestrian', '##s', 'or', 'cars', '.', '?']
    vocab = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *words]
    (folder / 'vocab.txt').write_text('\n'.join(vocab))
    torch.manual_seed(1)
    sizes = {'hidden_size': 16, 'num_hidden_layers': 1, 'num_attention_heads': 2, 'intermediate_size': 16}
    BertModel(BertConfig(vocab_size=len(vocab), **sizes)).save_pretrained(folder / 'bert')
    BertTokenizerFast(str(folder / 'vocab.txt')).save_pretrained(folder / 'bert')
    config = folder / 'tiny.py'
    config.write_text(TINY_DETECTOR)
    source = GroundingDinoBoxes(detector=config, language_model=str(folder / 'bert'))
    source._load_weights = lambda url: None  # random ones are what is saved here
    source.load()
    source.model.init_weights()  # some parameters of mmdet's are uninitialised memory before
    # Untrained similarities are all near one value; spread them so that a threshold has something to decide.
    torch.nn.init.normal_(source.model.text_feat_map.weight, std=0.5)
    weights = folder / 'tiny.pth'
    torch.save({'state_dict': source.model.state_dict()}, weights)
    return {'detector': config, 'weights': str(weights), 'language_model': str(folder / 'bert')}


@pytest.fixture(scope='module')
def loaded(detector):
    """That detector, loaded once."""
    source = GroundingDinoBoxes(**detector)
    source.load()
    return source


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of 40×56 noise with a bright square, in two folders."""
    rng = np.random.default_rng(0)
    for i, name in enumerate('abc'):
        for modality, shape in (('vi', (40, 56, 3)), ('ir', (40, 56))):
            img = rng.integers(0, 100, shape, dtype=np.uint8)
            img[10 + 4 * i : 30 + 3 * i, 12:40] = 220
            (tmp_path / modality).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / modality / f'{name}.png'), img)
    return tmp_path


def run(tool, folder, *args):
    """The tool on the pairs; masks as {(modality, name): array}."""
    code = tool.main(['--vi', str(folder / 'vi'), '--ir', str(folder / 'ir'), '--out', str(folder / 'out'), *args])
    return code, read_masks(folder / 'out')


def read_masks(out):
    """All masks below ``out``, as they are in the files."""
    files = sorted(out.glob('mask_*/mask_*.png'))
    return {(f.parent.name[5:], f.stem[5:]): cv2.imread(str(f), cv2.IMREAD_UNCHANGED) for f in files}


class CountingBackend:
    """Masks the left half; remembers what it was asked; fails on one name."""

    note = None

    def __init__(self, fail=None, **settings):
        self.settings = {'backend': 'counting', 'spans': [(1, 2)], **settings}
        self.fail = fail
        self.asked = []

    def load(self, stems):
        self.loaded = list(stems)

    def __call__(self, stem, img, modality):
        if stem == self.fail:
            raise KeyboardInterrupt
        self.asked.append((stem, modality))
        mask = np.zeros(img.shape[:2], np.uint8)
        if modality == 'vi':
            mask[:, : img.shape[1] // 2] = 255
        return mask


class TestPrompt:
    """Which characters of a prompt name objects."""

    def test_occo(self):
        """The paper's sentence: its two nouns for persons and cars, counted by hand."""
        assert prompt_spans(DEFAULT_PROMPT) == [[[30, 41]], [[45, 49]]]
        for prompt, phrases in KNOWN_PHRASES.items():
            assert [prompt[s:e] for [[s, e]] in prompt_spans(prompt)] == list(phrases)

    def test_choices(self):
        """Lists, phrases (each occurrence, whole words only), spans, the whole sentence."""
        assert prompt_spans('person . traffic light .') == [[[0, 6]], [[9, 22]]]
        assert prompt_spans('Car, scar, car', phrases=['car']) == [[[0, 3]], [[11, 14]]]
        assert prompt_spans('a red car', spans=[(2, 9)]) == [[[2, 9]]]
        assert prompt_spans('a red car on a road', whole=True) == -1

    @pytest.mark.parametrize(
        ('prompt', 'kwargs', 'message'),
        [
            ('a man walks by', {}, 'Which words of the prompt .* --phrases'),
            ('a car', {'phrases': ['bus']}, "'bus' does not occur"),
            ('a car', {'spans': [(2, 9)]}, 'span 2:9 does not lie in the prompt of 5'),
            ('a car', {'spans': [(2, 5)], 'whole': True}, 'not several'),
            (' .', {}, 'prompt is empty'),
        ],
    )
    def test_errors(self, prompt, kwargs, message):
        """Each says what is wrong."""
        with pytest.raises(ValueError, match=message):
            prompt_spans(prompt, **kwargs)


class TestGroundingDinoSam:
    """Text → boxes → masks, through mmdet's and segment_anything's classes."""

    @pytest.fixture(autouse=True)
    def _threshold(self, loaded, pairs):
        """A threshold that passes seven of the twenty boxes of the first image, well between two scores."""
        scores = []
        hook = loaded.model.register_forward_hook(lambda m, i, out: scores.append(out[0].pred_instances.scores))
        loaded('a', read_visible(pairs / 'vi' / 'a.png'), 'vi')
        hook.remove()
        scores = scores[0].sort(descending=True).values
        assert len(scores) == 20
        assert scores[6] - scores[7] > 1e-5
        self.threshold = float(scores[6] + scores[7]) / 2

    def source(self, loaded, **kwargs):
        """The same weights with other settings."""
        source = GroundingDinoBoxes(**{'box_threshold': self.threshold, 'nms_iou': 1.0, **kwargs})
        source.model, source.pipeline = loaded.model, loaded.pipeline
        return source

    def test_boxes_are_mmdets(self, loaded, pairs):
        """Equal to mmdet's own inferencer for the same spans, above the threshold."""
        from mmdet.apis import DetInferencer

        source = self.source(loaded)
        file = pairs / 'vi' / 'a.png'
        boxes = source('a', read_visible(file), 'vi')
        cfg = loaded._config()[0]
        cfg.model.language_model.name = loaded.language_model
        inferencer = DetInferencer(cfg, scope='mmdet', device='cpu', palette='random')
        inferencer.model = source.model
        spans = prompt_spans(DEFAULT_PROMPT)
        kwargs = {'texts': DEFAULT_PROMPT, 'tokens_positive': spans, 'no_save_vis': True}
        found = inferencer(str(file), return_datasamples=True, **kwargs)['predictions'][0].pred_instances
        expected = found.bboxes[found.scores > self.threshold].numpy()
        assert len(boxes) == 7
        assert len(found) == 20
        np.testing.assert_allclose(np.sort(boxes, 0), np.sort(expected, 0), atol=1e-4)

    def test_scores_select(self, loaded, pairs):
        """A higher threshold keeps a part; NMS drops overlaps only."""
        img = read_visible(pairs / 'vi' / 'a.png')
        every = self.source(loaded, box_threshold=0.0)('a', img, 'vi')
        some = self.source(loaded)('a', img, 'vi')
        assert len(every) == 20
        np.testing.assert_array_equal(some, every[:7])
        apart = self.source(loaded, box_threshold=0.0, nms_iou=0.3)('a', img, 'vi')
        x1, y1, x2, y2 = (torch.from_numpy(apart)[:, i] for i in range(4))
        width = (torch.minimum(x2[:, None], x2) - torch.maximum(x1[:, None], x1)).clamp(min=0)
        height = (torch.minimum(y2[:, None], y2) - torch.maximum(y1[:, None], y1)).clamp(min=0)
        area = (x2 - x1) * (y2 - y1)
        iou = width * height / (area[:, None] + area - width * height)
        assert (iou - torch.eye(len(apart))).max() <= 0.3
        assert len(apart) < len(every)

    def test_end_to_end(self, tool, detector, loaded, pairs, sam_file, monkeypatch):
        """The tool's masks are the union of SAM's own predictions by hand; twice the same; nltk is never asked."""
        import mmdet.models.detectors.grounding_dino as module
        from segment_anything import SamPredictor

        monkeypatch.setattr(module, 'run_ner', lambda caption: pytest.fail('nltk was asked for noun phrases'))
        args = ['--backend', 'grounding_dino', '--detector', str(detector['detector'])]
        args += ['--detector-weights', detector['weights'], '--language-model', detector['language_model']]
        args += ['--sam-type', 'vit_b', '--sam-checkpoint', str(sam_file), '--device', 'cpu']
        args += ['--box-threshold', str(self.threshold)]
        code, masks = run(tool, pairs, *args)
        assert code == 0
        assert set(masks) == {(m, n) for m in ('vi', 'ir') for n in 'abc'}
        assert any(0 < m.mean() < 255 for m in masks.values())
        source, predictor = self.source(loaded, nms_iou=0.8), SamPredictor(tiny_sam())
        for (modality, name), mask in masks.items():
            file = pairs / modality / f'{name}.png'
            img = read_visible(file) if modality == 'vi' else cv2.merge([read_infrared(file)] * 3)
            expected = np.zeros((40, 56), bool)
            boxes = torch.as_tensor(source(name, img, modality))
            if len(boxes):
                predictor.set_image(np.ascontiguousarray(img[..., ::-1]))
                boxes = predictor.transform.apply_boxes_torch(boxes, (40, 56))
                expected = predictor.predict_torch(None, None, boxes, multimask_output=False)[0][:, 0].any(0).numpy()
            np.testing.assert_array_equal(mask, expected * np.uint8(255))
        assert run(tool, pairs, *args, '--overwrite')[0] == 0
        for key, mask in read_masks(pairs / 'out').items():
            np.testing.assert_array_equal(mask, masks[key])
        record = json.loads((pairs / 'out' / 'masks.json').read_text())['settings']
        assert record['prompt'] == DEFAULT_PROMPT
        assert record['tokens_positive'] == [[[30, 41]], [[45, 49]]]
        assert (record['detector_weights'], record['sam_checkpoint']) == ('tiny.pth', 'tiny_sam.pth')
        assert str(pairs) not in json.dumps(record)

    def test_command_of_the_papers(self, tool, detector, pairs, sam_file, monkeypatch):
        """Masks of the second prompt, by the command line that docs/papers.md has for OCCO's Table 9."""
        page = (Path(__file__).parents[2] / 'docs/papers.md').read_text(encoding='utf-8')
        (line,) = re.findall(r'`mmfusion masks ([^`]+)`', page)
        args = [str(sam_file) if word.endswith('.pth') else word for word in shlex.split(line)]
        args += ['--detector', str(detector['detector']), '--detector-weights', detector['weights']]
        args += ['--language-model', detector['language_model'], '--sam-type', 'vit_b', '--device', 'cpu']
        train = pairs / 'data/FMB/train'
        shutil.copytree(pairs / 'vi', train / 'Visible')
        shutil.copytree(pairs / 'ir', train / 'Infrared')
        monkeypatch.chdir(pairs)
        assert tool.main(args) == 0
        for m in ('vi', 'ir'):
            assert {f.name for f in (train / f'mask_{m}_prompt2').glob('*.png')} == {f'mask_{n}.png' for n in 'abc'}

    def test_whole_sentence(self, loaded, pairs):
        """Scored by the best token: every box that a phrase finds is found by the sentence too."""
        img = read_visible(pairs / 'vi' / 'a.png')
        whole = self.source(loaded, whole=True)('a', img, 'vi')
        phrases = self.source(loaded)('a', img, 'vi')
        assert {tuple(b) for b in phrases.round(2).tolist()} <= {tuple(b) for b in whole.round(2).tolist()}

    def test_errors(self, detector, tmp_path, monkeypatch):
        """Missing or foreign weights, an unknown detector or language model, a phrase without a token."""
        foreign = tmp_path / 'foreign.pth'
        torch.save({'state_dict': {'conv.weight': torch.zeros(1)}}, foreign)
        damaged = tmp_path / 'damaged.pth'
        damaged.write_bytes(Path(detector['weights']).read_bytes()[:1000])
        cases = [
            ({'weights': str(tmp_path / 'none.pth')}, r"none.pth' is no file. Expected by --detector-weights"),
            ({'weights': str(foreign)}, 'foreign.pth: not weights of .*parameters are missing'),
            ({'weights': str(damaged)}, 'damaged.pth: '),
            ({'weights': None}, 'publishes no weights of this name.*--detector-weights'),
            ({'detector': 'no_such_model'}, f'Published are: .*{DEFAULT_DETECTOR}'),
            ({'detector': 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'}, 'its model is YOLOX, not GroundingDINO'),
            ({'language_model': str(tmp_path / 'no_bert')}, r'no_bert.*--language-model'),
            ({'prompt': 'a   b', 'spans': [(1, 4)]}, r'characters 1:4 of the prompt\) is no token'),
        ]
        monkeypatch.setenv('HF_HUB_OFFLINE', '1')
        for change, message in cases:
            with pytest.raises((ValueError, FileNotFoundError), match=message):
                GroundingDinoBoxes(**{**detector, **change}).load()

    def test_published(self):
        """The default detector is one that mmdet publishes."""
        config, url = grounded_sam.published_detectors()[DEFAULT_DETECTOR]
        assert config.is_file()
        assert url.startswith('https://')
        assert url.endswith('.pth')
        for name in (DEFAULT_DETECTOR, f'mmdet::grounding_dino/{DEFAULT_DETECTOR}.py'):
            assert GroundingDinoBoxes(detector=name)._config()[1] == url

    def test_a_users_detector_counts_as_the_class_it_inherits(self, tmp_path):
        from mmdet.models import GroundingDINO
        from mmdet.registry import MODELS

        @MODELS.register_module(force=True)
        class OwnDetectorOfATest(GroundingDINO):
            pass

        (tmp_path / 'own.py').write_text("model = dict(type='OwnDetectorOfATest')\n")
        config, url = GroundingDinoBoxes(detector=tmp_path / 'own.py')._config()
        assert (config.model.type, url) == ('OwnDetectorOfATest', None)


class TestSam:
    """SAM in given boxes."""

    def backend(self, pairs, sam_file, boxes, **kwargs):
        """Loaded, with VOC boxes for a, b, c."""
        for name in 'abc':
            write_voc(pairs / 'boxes' / f'{name}.xml', boxes)
        backend = SamBoxMasks(AnnotatedBoxes(pairs / 'boxes'), 'vit_b', sam_file, **kwargs)
        backend.load(['a', 'b', 'c'])
        return backend

    def test_one_pass(self, pairs, sam_file):
        """The encoder runs once an image, the decoder once for all its boxes; neither where there is no box."""
        boxes = [('car', (5, 5, 20, 30)), ('car', (25, 8, 50, 35)), ('person', (2, 2, 54, 38))]
        backend = self.backend(pairs, sam_file, boxes)
        calls = []
        model = backend.predictor.model
        model.image_encoder.register_forward_hook(lambda *a: calls.append('encoder'))
        model.mask_decoder.register_forward_hook(lambda m, i, out: calls.append(len(out[0])))
        img = read_visible(pairs / 'vi' / 'a.png')
        batched = backend('a', img, 'vi')
        assert calls == ['encoder', 3]
        backend.max_boxes = 2
        np.testing.assert_array_equal(backend('a', img, 'vi'), batched)
        assert calls == ['encoder', 3, 'encoder', 2, 1]
        backend.boxes.found['vi']['a'] = (None, None, [])
        assert not backend('a', img, 'vi').any()
        assert len(calls) == 5

    def test_union_of_single_boxes(self, pairs, sam_file):
        """Against SamPredictor.predict, one box at a time."""
        from segment_anything import SamPredictor

        corners = [(5, 5, 20, 30), (25, 8, 50, 35)]
        backend = self.backend(pairs, sam_file, [('car', c) for c in corners])
        img = read_visible(pairs / 'vi' / 'b.png')
        predictor = SamPredictor(tiny_sam())
        predictor.set_image(np.ascontiguousarray(img[..., ::-1]))
        single = [predictor.predict(box=np.array(c), multimask_output=False)[0][0] for c in corners]
        expected = single[0] | single[1]
        assert 0 < expected.mean() < 1
        # Batched and single matrix products differ in the last bits: a pixel on the threshold may flip.
        assert ((backend('b', img, 'vi') > 0) != expected).mean() < 1e-3

    def test_errors(self, pairs, sam_file, monkeypatch):
        """No weights, a missing file, another size of SAM, no package: each with what to do."""
        for name in 'abc':
            write_voc(pairs / 'boxes' / f'{name}.xml', [])
        boxes = AnnotatedBoxes(pairs / 'boxes')
        with pytest.raises(ValueError, match=r'vit_h: fetch https.*sam_vit_h_4b8939.pth.*--sam-checkpoint'):
            SamBoxMasks(boxes).load(['a'])
        with pytest.raises(
            FileNotFoundError, match=r"gone.pth' is no file. Expected by --sam-checkpoint.*sam_vit_b_01ec64.pth"
        ):
            SamBoxMasks(boxes, 'vit_b', pairs / 'gone.pth').load(['a'])
        torch.save({'image_encoder.pos_embed': torch.zeros(1)}, sam_file)
        with pytest.raises(ValueError, match=r'tiny_sam.pth: not weights of SAM vit_b.*--sam-type'):
            SamBoxMasks(boxes, 'vit_b', sam_file).load(['a'])
        with pytest.raises(ValueError, match=r'vit_x: expected one of vit_h'):
            SamBoxMasks(boxes, 'vit_x')
        monkeypatch.setitem(sys.modules, 'segment_anything', None)
        with pytest.raises(ValueError, match=r"segment_anything .*pip install 'mmfusion\[masks\]'"):
            SamBoxMasks(boxes, 'vit_b', sam_file).load(['a'])
        monkeypatch.setitem(sys.modules, 'transformers', None)
        with pytest.raises(ValueError, match=r"transformers .*pip install 'mmfusion\[masks\]'"):
            GroundingDinoBoxes().load()


def write_voc(file, boxes, size=(56, 40)):
    """A VOC file of (class, corners)."""
    file.parent.mkdir(exist_ok=True)
    names = ('xmin', 'ymin', 'xmax', 'ymax')
    objects = ''.join(
        f'<object><name>{n}</name><bndbox>{"".join(f"<{k}>{v}</{k}>" for k, v in zip(names, c, strict=True))}</bndbox>'
        '</object>'
        for n, c in boxes
    )
    width, height = size
    file.write_text(f'<annotation><size><width>{width}</width><height>{height}</height></size>{objects}</annotation>')


def test_tool_with_boxes(tool, pairs, sam_file, capsys):
    """VOC and YOLO boxes through the tool: the same masks, inside and out of Python."""
    for name in 'abc':
        write_voc(pairs / 'voc' / f'{name}.xml', [('Car', (14, 10, 42, 30))])
        (pairs / 'yolo').mkdir(exist_ok=True)
        (pairs / 'yolo' / f'{name}.txt').write_text('0 0.5 0.5 0.5 0.5')
    sam = ['--sam-type', 'vit_b', '--sam-checkpoint', str(sam_file), '--device', 'cpu', '--backend', 'boxes']
    code, voc = run(tool, pairs, *sam, '--boxes', str(pairs / 'voc'))
    assert code == 0
    assert run(tool, pairs, *sam, '--boxes', str(pairs / 'yolo'))[0] == 1
    assert "boxes_ir was 'voc', is now 'yolo'" in capsys.readouterr().err
    code, yolo = run(tool, pairs, *sam, '--boxes', str(pairs / 'yolo'), '--overwrite')
    assert code == 0
    backend = SamBoxMasks(AnnotatedBoxes(pairs / 'voc'), 'vit_b', sam_file)
    backend.load('abc')
    for name in 'abc':
        np.testing.assert_array_equal(voc['vi', name], yolo['vi', name])
        img = read_visible(pairs / 'vi' / f'{name}.png')
        np.testing.assert_array_equal(voc['vi', name], backend(name, img, 'vi'))
    assert run(tool, pairs, '--backend', 'boxes')[0] == 1
    assert 'needs --boxes' in capsys.readouterr().err


class TestContrast:
    """The backend without weights."""

    def scene(self, shape=(240, 320), row=0.6, bright=True):
        """A disc on a lightly noisy ground, and where it is."""
        rng = np.random.default_rng(0)
        height, width = shape
        y, x = np.mgrid[:height, :width]
        disc = (y - row * height) ** 2 + (x - 0.4 * width) ** 2 < (0.1 * height) ** 2
        img = rng.normal(100, 3, shape) + disc * (80 if bright else -80)
        return cv2.merge([np.clip(img, 0, 255).astype(np.uint8)] * 3), disc

    @pytest.mark.parametrize('modality', ['vi', 'ir'])
    @pytest.mark.parametrize('shape', [(240, 320), (481, 641), (768, 1024)])
    def test_disc(self, modality, shape):
        """Found whole, and little else, at any resolution; the same twice."""
        img, disc = self.scene(shape)
        mask = ContrastMasks()('x', img, modality)
        assert mask.shape == shape
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 255}
        assert (mask[disc] > 0).mean() > 0.95
        wide = cv2.dilate(disc.astype(np.uint8), np.ones((3, 3)), iterations=int(0.1 * shape[0])) > 0
        assert (mask[~wide] > 0).mean() < 0.01
        np.testing.assert_array_equal(ContrastMasks()('x', img, modality), mask)

    def test_cold(self):
        """A dark disc is an object of the visible image only: the infrared one looks for warmth."""
        img, disc = self.scene(bright=False)
        assert (ContrastMasks()('x', img, 'vi')[disc] > 0).mean() > 0.95
        assert (ContrastMasks()('x', img, 'ir')[disc] > 0).mean() < 0.05

    def test_filters(self):
        """Place, size and threshold exclude it; one near the top is found with ground=0, top=0."""
        img, disc = self.scene()
        for kwargs in (
            {'ground': 0.9},
            {'top': 0.6},
            {'max_area': 0.01},
            {'min_area': 0.3, 'max_area': 1.0},
            {'threshold': 1e3},
        ):
            assert not (ContrastMasks(**kwargs)('x', img, 'ir')[disc] > 0).any(), kwargs
        img, disc = self.scene(row=0.25)
        assert not ContrastMasks()('x', img, 'ir')[disc].any()
        assert (ContrastMasks(ground=0.0, top=0.0)('x', img, 'ir')[disc] > 0).mean() > 0.95

    @pytest.mark.parametrize('shape', [(1, 1), (1, 50), (3, 2), (7, 900)])
    def test_tiny_and_flat(self, shape):
        """Any size gives a mask of that size; a constant image gives an empty one."""
        for modality in ('vi', 'ir'):
            mask = ContrastMasks()('x', np.full((*shape, 3), 90, np.uint8), modality)
            assert mask.shape == shape
            assert not mask.any()

    def test_errors(self, tool, pairs, capsys):
        """Options that make no sense."""
        with pytest.raises(ValueError, match=r'max_area is a fraction .* got 20'):
            ContrastMasks(max_area=20)
        assert run(tool, pairs, '--backend', 'contrast', '--threshold', '-1')[0] == 1
        assert 'threshold must be positive' in capsys.readouterr().err

    @pytest.mark.data
    def test_real_pairs(self, data_dir, tmp_path):
        """Of five MSRS pairs some, but not much, is masked, in less than 0.2 s an image."""
        summary = generate_masks(
            data_dir / 'samples/MSRS/vi', data_dir / 'samples/MSRS/ir', ContrastMasks(), tmp_path, progress=False
        )
        assert summary.pairs == summary.made == 5
        assert 0.01 < summary.coverage_vi < 0.35
        assert 0.01 < summary.coverage_ir < 0.35


class TestFiles:
    """Layout, resuming, and refusing to mix."""

    def make(self, pairs, backend, **kwargs):
        """Into pairs/out."""
        return generate_masks(pairs / 'vi', pairs / 'ir', backend, pairs / 'out', progress=False, **kwargs)

    def test_layout(self, pairs):
        """OCCO's names; 8-bit, one channel, 0 and 255; counts; the data set reads them."""
        from mmfusion.datasets import FusionDataset

        summary = self.make(pairs, CountingBackend())
        for file in pairs.glob('out/mask_*/*'):
            mask = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            assert mask.shape == (40, 56)
            assert set(np.unique(mask)) == ({0, 255} if file.parent.name == 'mask_vi' else {0})
        assert sorted(f.name for f in (pairs / 'out' / 'mask_ir').iterdir()) == [f'mask_{n}.png' for n in 'abc']
        assert (summary.pairs, summary.made, summary.complete) == (3, 3, 0)
        assert (summary.empty_vi, summary.empty_ir, summary.empty_both) == (0, 3, 0)
        assert summary.coverage_vi == pytest.approx(0.5)
        assert '3 pairs: 3 made, 0 were complete already' in str(summary)
        prefix = {'vi_path': 'vi', 'ir_path': 'ir', 'mask_vi_path': 'out/mask_vi', 'mask_ir_path': 'out/mask_ir'}
        assert FusionDataset(data_root=str(pairs), data_prefix=prefix)[0]['mask_ir_path'].endswith('mask_a.png')

    def test_resume(self, pairs):
        """Killed in the third pair: two are whole, nothing is half-written, and only the rest is made after."""
        with pytest.raises(KeyboardInterrupt):
            self.make(pairs, CountingBackend(fail='c'))
        files = sorted(f.name for f in (pairs / 'out').rglob('*') if f.is_file())
        assert files == ['mask_a.png', 'mask_a.png', 'mask_b.png', 'mask_b.png', 'masks.json']
        (pairs / 'out/mask_ir/mask_b.png').unlink()
        damaged = pairs / 'out/mask_vi/mask_a.png'
        damaged.write_bytes(damaged.read_bytes()[:-30])
        backend = CountingBackend()
        summary = self.make(pairs, backend)
        assert backend.asked == [('a', 'vi'), ('b', 'ir'), ('c', 'vi'), ('c', 'ir')]
        assert (summary.made, summary.complete, summary.empty_ir) == (3, 0, 3)
        again = CountingBackend()
        assert self.make(pairs, again).complete == 3
        assert again.asked == []
        assert not hasattr(again, 'loaded'), 'models are loaded though there is nothing to do'
        assert read_mask(damaged).mean() == pytest.approx(0.5)

    def test_masks_of_images_that_changed_are_made_again(self, pairs):
        """Others of the same name were taken for the same, also after an interruption."""
        self.make(pairs, CountingBackend())
        cv2.imwrite(str(pairs / 'ir' / 'b.png'), np.full((40, 56), 9, np.uint8))
        with pytest.raises(KeyboardInterrupt):
            self.make(pairs, CountingBackend(fail='b'))
        backend = CountingBackend()
        assert (self.make(pairs, backend).made, self.make(pairs, backend).made) == (1, 0)
        assert backend.asked == [('b', 'vi'), ('b', 'ir')]

    def test_refuses_to_mix(self, pairs):
        """Other settings, or masks of unknown origin: what differs is named, and nothing is touched."""
        self.make(pairs, CountingBackend(threshold=0.3))
        before = (pairs / 'out/masks.json').read_bytes()
        with pytest.raises(ValueError, match=r'masks.json: 6 files .*threshold was 0.3, is now 0.4.*--overwrite'):
            self.make(pairs, CountingBackend(threshold=0.4))
        assert (pairs / 'out/masks.json').read_bytes() == before
        assert self.make(pairs, CountingBackend(threshold=0.4), overwrite=True).made == 3
        (pairs / 'out/masks.json').write_text('{')
        with pytest.raises(ValueError, match=r'masks.json: cannot be read'):
            self.make(pairs, CountingBackend())
        (pairs / 'out/masks.json').unlink()
        with pytest.raises(ValueError, match=r'6 files are there .*but no masks.json'):
            self.make(pairs, CountingBackend())

    def test_interrupted_overwrite(self, pairs):
        """No mask of the old settings survives under the new record."""
        self.make(pairs, CountingBackend(threshold=1))
        with pytest.raises(KeyboardInterrupt):
            self.make(pairs, CountingBackend(fail='b', threshold=2), overwrite=True)
        backend = CountingBackend(threshold=2)
        self.make(pairs, backend)
        assert {stem for stem, _ in backend.asked} == {'b', 'c'}

    def test_folders(self, tool, pairs, capsys, monkeypatch):
        """Masks beside a data set; each folder has its record; what made them is logged."""
        logged = []
        monkeypatch.setattr('mmfusion.utils.log.print_log', lambda text, *args: logged.append(text))
        train = pairs / 'train'
        args = ['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir'), '--backend', 'contrast']
        assert tool.main([*args, '--mask-vi-dir', str(train / 'a'), '--mask-ir-dir', str(train / 'b')]) == 0
        assert '3 pairs: 3 made' in capsys.readouterr().out
        assert 'crude stand-in' in logged[0]
        assert {f.name for f in train.iterdir()} == {'a', 'b'}
        assert len(list(train.glob('[ab]/mask_?.png'))) == 6
        assert len(list(train.glob('[ab]/masks.json'))) == 2
        for wrong, message in (
            (['--mask-vi-dir', str(train / 'a')], 'together'),
            (['--mask-vi-dir', str(train), '--mask-ir-dir', str(train)], 'in one folder; their names are equal'),
            (
                ['--mask-vi-dir', str(train / 'a'), '--mask-ir-dir', str(pairs / 'b'), '--out', str(pairs)],
                'one of the two',
            ),
            (['--mask-vi-dir', str(pairs / 'vi'), '--mask-ir-dir', str(pairs / 'b')], 'vi: would overwrite its source'),
            (['--out', str(train / 'a' / 'mask_a.png')], 'mask_a.png: a file; expected a folder'),
            (['--out', str(train / 'o'), '--threshold', 'nan'], 'threshold must be positive, got nan'),
            (['--out', str(train / 'o'), '--min-area', '0.5'], 'min_area must not be above max_area, got 0.5 and 0.2'),
            (
                ['--out', str(train / 'o'), '--backend', 'boxes', '--boxes', 'nope'],
                '--boxes nope: no such folder or file.',
            ),
            ([], 'Say where the masks go'),
        ):
            assert tool.main([*args, *wrong]) == 1
            assert message in capsys.readouterr().err

    @pytest.mark.parametrize('order', [(1, 2), (2, 1)])
    def test_masks_of_two_prompts(self, pairs, order):
        """Two kinds of masks beside each other, made in either order, resumed, and read by their configs."""
        train, root = pairs / 'FMB/train', Path(__file__).parents[2]
        for ours, theirs in (('vi', 'Visible'), ('ir', 'Infrared')):
            shutil.copytree(pairs / ours, train / theirs)
        config = read_config(root / 'configs/occo/ablations/occo_prompt2.py')
        second = [config.train_dataloader.dataset.data_prefix[f'mask_{m}_path'] for m in ('vi', 'ir')]
        places = {1: dict(out=train), 2: dict(mask_dirs=[pairs / 'FMB' / folder for folder in second])}

        def make(prompt, **settings):
            backend = CountingBackend(prompt=prompt, **settings)
            return generate_masks(train / 'Visible', train / 'Infrared', backend, progress=False, **places[prompt])

        assert [make(prompt).made for prompt in order] == [3, 3]
        assert [make(prompt).complete for prompt in order] == [3, 3]
        for prompt, name in ((1, 'occo_fmb.py'), (2, 'ablations/occo_prompt2.py')):
            with pytest.raises(ValueError, match=r'masks\.json: .* made with other settings: threshold'):
                make(prompt, threshold=1)
            dataset = read_config(root / f'configs/occo/{name}').train_dataloader.dataset
            dataset.update(data_root=str(pairs / 'FMB'), pipeline=[])
            info = DATASETS.build(dataset)[0]
            for m in ('vi', 'ir'):
                folder = Path(info[f'mask_{m}_path']).parent
                record = next(f for f in (folder / 'masks.json', folder.parent / 'masks.json') if f.is_file())
                assert json.loads(record.read_text())['settings']['prompt'] == prompt

    def test_documented_folders_of_the_second_prompt(self):
        """docs/masks.md writes to the folders that occo_prompt2.py reads."""
        root = Path(__file__).parents[2]
        prefix = read_config(root / 'configs/occo/ablations/occo_prompt2.py').train_dataloader.dataset.data_prefix
        text = (root / 'docs/masks.md').read_text()
        for m in ('vi', 'ir'):
            assert f'--mask-{m}-dir data/FMB/{prefix[f"mask_{m}_path"]}' in text

    def test_bad_images(self, pairs):
        """Unpaired, of two sizes, damaged: named, and what was made before stays."""
        (pairs / 'vi' / 'd.png').write_bytes((pairs / 'vi' / 'a.png').read_bytes())
        with pytest.raises(ValueError, match=r'no counterpart in .*: d'):
            self.make(pairs, CountingBackend())
        (pairs / 'vi' / 'd.png').unlink()
        cv2.imwrite(str(pairs / 'ir' / 'b.png'), np.zeros((40, 50), np.uint8))
        with pytest.raises(ValueError, match=r'vi/b.png is 56×40 but .*ir/b.png is 50×40'):
            self.make(pairs, CountingBackend())
        (pairs / 'ir' / 'b.png').write_bytes(b'nothing')
        with pytest.raises(ImageReadError, match=r'ir/b.png: cannot be read'):
            self.make(pairs, CountingBackend())
        assert sorted(read_masks(pairs / 'out')) == [('ir', 'a'), ('vi', 'a')]
        with pytest.raises(FileNotFoundError, match=r'nowhere: no such folder'):
            generate_masks(pairs / 'nowhere', pairs / 'ir', CountingBackend(), pairs / 'out')

    def test_spans_on_the_command_line(self, tool):
        """START:END."""
        assert tool.parse_span('30:41') == (30, 41)
        with pytest.raises(Exception, match="'30-41' is not START:END"):
            tool.parse_span('30-41')
