"""Boxes from a text prompt (Grounding DINO), and SAM's masks.

The optional packages (``segment_anything``, ``transformers``) are imported when something is loaded, not before.
"""

import importlib
import re
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch

from mmfusion.models.priors.weights import SAM_URLS, read_weights
from mmfusion.registry import is_a
from mmfusion.utils.configs import read_config

from .defaults import DEFAULT_DETECTOR, DEFAULT_PROMPT

# OCCO's prompts, and the phrases of each that name objects.
KNOWN_PHRASES = {
    DEFAULT_PROMPT: ('pedestrians', 'cars'),
    'Precisely segmenting salient objects such as vehicles, pedestrians.': ('vehicles', 'pedestrians'),
}


def require(module):
    """Import an optional package.

    Raises:
        ValueError: If it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise ValueError(
            f"{module} cannot be imported ({e}). Masks from Grounding DINO and SAM need: pip install 'mmfusion[masks]'"
        ) from e


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def prompt_spans(prompt, phrases=None, spans=None, whole=False):
    """Find the characters of a prompt that name objects, without nltk.

    Args:
        prompt (str): A sentence, or phrases that are separated by ``' . '``.
        phrases (list[str], optional): Words of the prompt; each occurrence is an entity.
        spans (list[tuple[int, int]], optional): Character ranges, end excluded, instead of phrases.
        whole (bool): Score a box by its best token, whichever it is (what IDEA's own demo does).

    Returns:
        list | int: mmdet's ``tokens_positive``: ``[[[start, end]], …]``, one entry an entity, or -1 for ``whole``.

    Raises:
        ValueError: If there is more than one choice, a phrase is not in the prompt, a span lies outside of it, or nothing is
            said of a sentence that is not one of OCCO's.
    """
    if not prompt.strip(' .'):
        raise ValueError('The prompt is empty. Give a sentence with --prompt.')
    if sum((bool(phrases), bool(spans), whole)) > 1:
        raise ValueError('Give one of --phrases, --spans and --whole-sentence, not several.')
    if whole:
        return -1
    if spans:
        for start, end in spans:
            if not 0 <= start < end <= len(prompt):
                raise ValueError(
                    f'span {start}:{end} does not lie in the prompt of {len(prompt)} characters: {prompt!r}'
                )
        return [[[start, end]] for start, end in spans]
    if not phrases:
        phrases = KNOWN_PHRASES.get(prompt) or _listed_phrases(prompt)
    found = []
    for phrase in dict.fromkeys(phrases):
        matches = list(re.finditer(rf'(?<!\w){re.escape(phrase)}(?!\w)', prompt, re.IGNORECASE))
        if not matches:
            raise ValueError(f'phrase {phrase!r} does not occur in the prompt {prompt!r}')
        found += [[[m.start(), m.end()]] for m in matches]
    return found


def _listed_phrases(prompt):
    phrases = [p.strip() for p in prompt.split('.') if p.strip()]
    if len(phrases) == 1 and len(phrases[0].split()) > 2:
        raise ValueError(
            f'Which words of the prompt {prompt!r} name objects? Say so with --phrases (such as --phrases pedestrians '
            "cars) or --spans, or take all of it with --whole-sentence. A list such as 'person . car .' needs neither."
        )
    return phrases


def published_detectors():
    """List the Grounding DINO models that mmdet publishes.

    Returns:
        dict[str, tuple[Path, str]]: name → config file, URL of the weights.
    """
    import mmdet
    import mmengine

    root = Path(mmdet.__file__).parent / '.mim'
    found = {}
    for family in ('grounding_dino', 'mm_grounding_dino'):
        index = root / 'configs' / family / 'metafile.yml'
        if index.is_file():
            for model in mmengine.load(index)['Models']:
                found.setdefault(model['Name'], (root / model['Config'], model['Weights']))
    return found


class GroundingDinoBoxes:
    """Find boxes for a text prompt by mmdet's stock Grounding DINO.

    Args:
        prompt (str): The sentence.
        phrases, spans, whole: See :func:`prompt_spans`.
        box_threshold (float): Least score of a box. The score is the mean of the sigmoid similarities to a phrase's
            tokens; with ``whole`` the largest over the sentence's tokens.
        nms_iou (float): Of two boxes that overlap more, the lower-scored is dropped, whatever phrase it answers to: the
            union of the masks hardly changes, and SAM has less to do. 1 keeps all.
        detector (str): Name of a published model, ``'mmdet::…'``, or a config file.
        weights (str, optional): Name of a published model, URL or file; default those published for ``detector``.
        language_model (str, optional): BERT's name on the hub, or a local folder; default the config's.
        device (str): Where to run.

    Raises:
        ValueError: If the prompt or a threshold is of no use; see also :meth:`load`.
    """

    def __init__(
        self,
        prompt=DEFAULT_PROMPT,
        phrases=None,
        spans=None,
        whole=False,
        box_threshold=0.3,
        nms_iou=0.8,
        detector=DEFAULT_DETECTOR,
        weights=None,
        language_model=None,
        device='cpu',
    ):
        for name, value in (('box threshold', box_threshold), ('NMS IoU', nms_iou)):
            if not 0 <= value <= 1:
                raise ValueError(f'the {name} must lie in [0, 1], got {value}')
        self.prompt = prompt
        self.tokens_positive = prompt_spans(prompt, phrases, spans, whole)
        self.box_threshold, self.nms_iou = box_threshold, nms_iou
        self.detector, self.weights, self.language_model = str(detector), weights, language_model
        self.device = device
        self.model = self.pipeline = None

    @property
    def settings(self):
        """Give what the boxes depend on; of files the name counts."""
        return {
            'backend': 'grounding_dino',
            'prompt': self.prompt,
            'tokens_positive': self.tokens_positive,
            'box_threshold': self.box_threshold,
            'nms_iou': self.nms_iou,
            'detector': Path(self.detector.split('::')[-1]).stem,
            'detector_weights': Path(str(self.weights)).name if self.weights else 'as published for the detector',
            'language_model': Path(self.language_model).name if self.language_model else "the config's",
        }

    def load(self, stems=()):
        """Build the detector and load its weights.

        Raises:
            ValueError: If a package, config, language model or weights are missing or do not fit.
        """
        require('transformers')
        from mmcv.transforms import Compose
        from mmdet.utils import register_all_modules
        from mmengine.registry import DefaultScope

        register_all_modules(init_default_scope=False)
        cfg, url = self._config()
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.model = self._build(cfg)
            pipeline = list(cfg.test_dataloader.dataset.pipeline)
            pipeline[0] = {'type': 'LoadImageFromNDArray'}
            self.pipeline = Compose(pipeline)
        self._load_weights(url)
        self.model.to(self.device).eval()
        self._check_tokens()

    def _config(self):
        """The config, and where its weights are published."""
        from mmdet.models import GroundingDINO
        from mmdet.registry import MODELS
        from mmengine.hub import get_config

        published = published_detectors()
        file = Path(self.detector)
        if self.detector in published:
            cfg = read_config(published[self.detector][0])
        elif '::' in self.detector:
            try:
                cfg = get_config(self.detector)
            except FileNotFoundError as e:
                raise ValueError(f'--detector {self.detector}: {_first_line(e)}') from e
        elif file.is_file():
            cfg = read_config(file)
        else:
            raise ValueError(
                f'--detector {self.detector}: neither a config file, nor "mmdet::FOLDER/FILE.py", nor a published '
                f'model. Published are: {", ".join(published) or "none (mmdet is installed without .mim)"}'
            )
        if not is_a(cfg.get('model', {}), MODELS, GroundingDINO):
            raise ValueError(f'{self.detector}: its model is {cfg.get("model", {}).get("type")}, not GroundingDINO')
        name = self.weights if self.weights in published else Path(self.detector.split('::')[-1]).stem
        return cfg, published.get(name, (None, None))[1]

    def _build(self, cfg):
        from mmdet.registry import MODELS

        model = cfg.model
        model.backbone.init_cfg = None  # the checkpoint holds the backbone
        if self.language_model:
            model.language_model.name = self.language_model
        name = model.language_model.name
        try:
            return MODELS.build(model)
        except OSError as e:
            raise ValueError(
                f'the language model {name!r} of Grounding DINO cannot be loaded ({_first_line(e)}). Save '
                f'https://huggingface.co/{name} to a folder (config.json, vocab.txt, tokenizer files, weights) and '
                'give that with --language-model.'
            ) from e

    def _load_weights(self, url):
        from mmengine.runner.checkpoint import load_state_dict

        published_here = self.weights is None or self.weights in published_detectors()
        source = url if published_here else self.weights
        if source is None:
            raise ValueError(
                f'{self.detector}: mmdet publishes no weights of this name. Give a file or URL with --detector-weights.'
            )
        state = read_weights(
            source, self.detector, '--detector-weights', {self.detector: url} if url else {}, random=False
        )
        # Queries for denoising serve training only, and Grounding DINO reads no pooled text feature.
        needed = {
            name: value.shape
            for name, value in self.model.named_parameters()
            if not name.startswith('dn_query_generator.') and '.pooler.' not in name
        }
        bad = [name for name, shape in needed.items() if name not in state or state[name].shape != shape]
        if bad:
            raise ValueError(
                f'{source}: not weights of {self.detector}: {len(bad)} of {len(needed)} parameters are missing or of '
                f'another shape, such as {", ".join(bad[:3])}. Give those that belong to it with '
                '--detector-weights.'
            )
        # The rest is what other versions of BERT keep beside their weights (position ids), and training's.
        known = self.model.state_dict().keys()
        load_state_dict(self.model, {k: v for k, v in state.items() if k in known})

    def _check_tokens(self):
        if self.tokens_positive == -1:
            return
        tokens = self.model.get_tokens_positive_and_prompts(self.prompt, tokens_positive=self.tokens_positive)[0]
        for label, [[start, end]] in zip(tokens, self.tokens_positive, strict=True):
            if not tokens[label]:
                raise ValueError(
                    f'{self.prompt[start:end]!r} (characters {start}:{end} of the prompt) is no token of the language '
                    'model. Choose other --phrases or --spans.'
                )

    @torch.no_grad()
    def __call__(self, stem, img, modality):
        """Detect.

        Args:
            stem, modality (str): Not used.
            img (np.ndarray): H×W×3 uint8 (B, G, R).

        Returns:
            np.ndarray: N×4 float32, x1, y1, x2, y2 in pixels of ``img``, best first.
        """
        from torchvision.ops import nms

        text = {'text': self.prompt, 'custom_entities': False, 'tokens_positive': self.tokens_positive}
        data = self.pipeline(dict(img=img, img_id=0, **text))
        batch = {'inputs': [data['inputs']], 'data_samples': [data['data_samples']]}
        found = self.model.test_step(batch)[0].pred_instances
        boxes, scores = found.bboxes.float(), found.scores.float()
        keep = (scores > self.box_threshold) & ((boxes[:, 2:] - boxes[:, :2]).min(dim=1).values >= 1)
        boxes, scores = boxes[keep], scores[keep]
        return boxes[nms(boxes, scores, self.nms_iou)].cpu().numpy()


class SamBoxMasks:
    """Mask the union of the objects that SAM finds in boxes.

    Args:
        boxes: :class:`GroundingDinoBoxes` or :class:`~mmfusion.datasets.boxes.AnnotatedBoxes`.
        sam_type (str): ``'vit_h'`` (the largest), ``'vit_l'`` or ``'vit_b'``.
        checkpoint (str): Its weights: a file or URL.
        device (str): Where to run.
        max_boxes (int): Boxes in one pass of the decoder; more are done in several. The image encoder runs once.

    Raises:
        ValueError: If ``sam_type`` is unknown; see also :meth:`load`.
    """

    note = None

    def __init__(self, boxes, sam_type='vit_h', checkpoint=None, device='cpu', max_boxes=64):
        if sam_type not in SAM_URLS:
            raise ValueError(f'--sam-type {sam_type}: expected one of {", ".join(SAM_URLS)}')
        self.boxes, self.sam_type, self.checkpoint = boxes, sam_type, checkpoint
        self.device, self.max_boxes = device, max_boxes
        self.predictor = None

    @property
    def settings(self):
        """Give what the masks depend on, for ``masks.json``."""
        name = Path(str(self.checkpoint)).name if self.checkpoint else None
        return dict(self.boxes.settings, sam_type=self.sam_type, sam_checkpoint=name)

    def load(self, stems):
        """Load SAM and whatever the boxes need.

        Raises:
            ValueError: If the package or the weights are missing, or the weights are another model's.
        """
        segment_anything = require('segment_anything')
        url = SAM_URLS[self.sam_type]
        if not self.checkpoint:
            raise ValueError(
                f'no weights of SAM {self.sam_type}: fetch {url} and give the file with --sam-checkpoint (the URL '
                'itself will do as well).'
            )
        model = segment_anything.sam_model_registry[self.sam_type]()
        state = read_weights(
            self.checkpoint, f'SAM {self.sam_type}', '--sam-checkpoint', {self.sam_type: url}, random=False
        )
        try:
            model.load_state_dict(state)
        except RuntimeError as e:
            raise ValueError(
                f'{self.checkpoint}: not weights of SAM {self.sam_type}. Give another --sam-type, or fetch {url} and '
                f'give it with --sam-checkpoint. ({shorten(str(e), 200, placeholder=" …")})'
            ) from e
        self.predictor = segment_anything.SamPredictor(model.to(self.device).eval())
        self.boxes.load(stems)

    def __call__(self, stem, img, modality):
        """Make a mask, H×W uint8, of H×W×3 (B, G, R); 0 without box."""
        boxes = self.boxes(stem, img, modality)
        mask = np.zeros(img.shape[:2], np.uint8)
        if not len(boxes):
            return mask
        predictor = self.predictor
        predictor.set_image(img, image_format='BGR')
        prompts = torch.as_tensor(boxes, dtype=torch.float, device=predictor.device)
        prompts = predictor.transform.apply_boxes_torch(prompts, img.shape[:2])
        for chunk in prompts.split(self.max_boxes):
            # N×1×H×W; one mask a box, as SAM advises where the prompt is not ambiguous.
            masks, _, _ = predictor.predict_torch(None, None, boxes=chunk, multimask_output=False)
            mask[masks.flatten(0, 1).any(dim=0).cpu().numpy()] = 255
        predictor.reset_image()
        return mask
