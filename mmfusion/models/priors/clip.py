"""CLIP image features by open_clip."""

import difflib
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import reason_of
from mmfusion.utils.log import log_warning

from .features import FeaturePrior, PriorFeatures, TextPrior, resize
from .frozen import load_exactly, seeded
from .weights import RANDOM, find_weights

# Image tower, and mean and deviation of its normalisation.
_Tower = tuple[nn.Module, tuple[Sequence[float], Sequence[float]]]
# The image tower alone is used; CLIP's class wants a text tower, and this is the smallest.
_NO_TEXT = dict(context_length=1, vocab_size=1, width=8, heads=1, layers=1)
_NO_VISION = dict(layers=1, width=8, head_width=8, patch_size=32, image_size=32)
_SUFFIXES = ('.pt', '.pth', '.bin', '.ckpt', '.safetensors')
# What OpenAI's archives keep beside the weights.
_OPENAI_KEYS = ('input_resolution', 'context_length', 'vocab_size')


@MODELS.register_module()
class CLIPPrior(FeaturePrior):
    """Patch tokens and embedding of a frozen CLIP image encoder.

    Images of any size are brought to ``size`` whatever their proportions ('squash', never a centre crop: the map of tokens
    lies on the whole image), bicubic with antialiasing, and normalised as the weights want it.

    Args:
        model: One of open_clip's model names (``open_clip.list_models()``), a name with ``hf-hub:`` or ``local-dir:``
            before it, or a model config of open_clip's form (``embed_dim``, ``vision_cfg`` and, if it is so,
            ``quick_gelu``).
        pretrained: One of open_clip's tags for this model (downloaded), the file of a state dict or of OpenAI's own
            archive, or ``'random'`` (the same random numbers in every run and on every rank, said in the log). None for
            ``hf-hub:`` and ``local-dir:``, which have their weights with them.
        layers: Blocks whose patch tokens to give, counted from 1; the class token is left out. Of a ResNet: its stem
            and four stages, 1 … 5.
        embedding: Whether to give the embedding of the image (as ``encode_image``, not normalised).
        size: Size (height, width) that the encoder sees. Default: the model's own, 224 for ViT-B-16. For another, the
            positional embedding is interpolated as the weights are loaded.
        grad: Whether features can be differentiated with respect to the images.
        mean, std: Normalisation of R, G, B in [0, 1]. Default: those of the tag, or CLIP's.
        cache_dir: Where open_clip keeps its downloads.

    Raises:
        ValueError: If the model, tag or layer is unknown (near ones are named), the weights were trained with quick-GELU and
            the model is without, or the other way round, or nothing is asked for.
        FileNotFoundError: If ``pretrained`` looks like a path and is no file.
        RuntimeError: If the download failed, or the file does not fit.
    """

    def __init__(
        self,
        model: str | dict = 'ViT-B-16-quickgelu',
        pretrained: str | Path | None = 'openai',
        layers: Sequence[int] = (),
        embedding: bool = False,
        size: int | tuple[int, int] | None = None,
        grad: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(grad)
        if not layers and not embedding:
            raise ValueError('CLIPPrior: nothing is asked for. Give layers=(…), embedding=True, or both.')
        self.arch, self.weights = model if isinstance(model, str) else 'custom', pretrained
        self.layers, self.embedding = tuple(sorted(set(layers))), embedding
        size = (size, size) if isinstance(size, int) else size and tuple(size)
        if isinstance(model, str) and model.startswith(('hf-hub:', 'local-dir:')):
            tower, stats = _from_folder(model, pretrained, size, cache_dir)
        else:
            tower, stats = _from_config(model, pretrained, size, cache_dir)
        self.visual = tower
        depth = _depth(tower)
        wrong = [layer for layer in self.layers if not 1 <= layer <= depth]
        if wrong:
            raise ValueError(f'{self.label}: layers {wrong} are none of its blocks 1 … {depth}')
        self.size = _pair(tower.image_size)
        for name, value in (('mean', mean or stats[0]), ('std', std or stats[1])):
            self.register_buffer(name, torch.tensor(value).view(1, 3, 1, 1), persistent=False)
        self.freeze()

    def extract(self, images: Tensor) -> PriorFeatures:
        """Compute features of N×3×H×W images in [0, 1] by one run."""
        x = (resize(images, self.size) - self.mean) / self.std
        if not self.layers:
            out = self.visual(x)
            return PriorFeatures((), out[0] if isinstance(out, tuple) else out)
        out = self.visual.forward_intermediates(
            x,
            indices=[layer - 1 for layer in self.layers],
            stop_early=not self.embedding,
            intermediates_only=not self.embedding,
        )
        return PriorFeatures(tuple(out['image_intermediates']), out['image_features'] if self.embedding else None)

    def settings(self) -> dict[str, Any]:
        """Give all but the weights that the features depend on."""
        return dict(
            arch=self.arch,
            layers=self.layers,
            embedding=self.embedding,
            size=self.size,
            mean=self.mean.flatten().tolist(),
            std=self.std.flatten().tolist(),
            activation=_activation(self.visual),
        )


@MODELS.register_module()
class CLIPTextPrior(TextPrior):
    """Embed one text per sample by a frozen CLIP text encoder.

    Args:
        model, pretrained, cache_dir: As in :class:`CLIPPrior`; a config needs ``text_cfg`` too.
    """

    def __init__(
        self, model: str | dict = 'ViT-B-16-quickgelu', pretrained: str = 'openai', cache_dir: str | None = None
    ) -> None:
        super().__init__()
        import open_clip

        self.weights = pretrained
        self.arch, config = _config(model)
        quick = bool(config.get('quick_gelu', False))
        path, tag = _find_weights(self.arch, pretrained, quick, cache_dir)
        text = config['text_cfg']
        clip = seeded(lambda: open_clip.CustomTextCLIP(config['embed_dim'], _NO_VISION, text, quick_gelu=quick))
        if path is not None:
            state, archive = _read(path)
            if tag is None:
                _check_file(path, state, archive, self.arch, quick)
            state = open_clip.model.convert_to_custom_text_state_dict(state)
            state = {k.removeprefix('text.'): v.float() for k, v in state.items() if k.startswith('text.')}
            load_exactly(clip.text, state, path, f"CLIP {self.arch}'s text encoder")
        self.text = clip.text
        self.tokenizer = open_clip.SimpleTokenizer(context_length=text.get('context_length', 77))
        self.freeze()

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """Embed texts; N×E, not normalised."""
        return self.text(self.tokenizer(list(texts)).to(next(self.text.parameters()).device))


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _depth(tower: nn.Module) -> int:
    """Number of blocks whose output ``forward_intermediates`` can give."""
    if hasattr(tower, 'transformer'):
        return len(tower.transformer.resblocks)
    if hasattr(tower, 'trunk'):  # of timm
        return len(getattr(tower.trunk, 'blocks', ())) or len(tower.trunk.feature_info)
    return 5


def _activation(tower: nn.Module) -> str:
    names = {type(m).__name__ for m in tower.modules()}
    return 'QuickGELU' if 'QuickGELU' in names else 'GELU'


def _from_folder(
    name: str, pretrained: str | Path | None, size: tuple[int, int] | None, cache_dir: str | None
) -> _Tower:
    """Image tower and normalisation of a hub's or a folder's model."""
    import open_clip

    if pretrained not in (None, RANDOM):
        raise ValueError(
            f'{name} has its weights with it: set pretrained=None (or {RANDOM!r}), not {pretrained!r}. For other weights, '
            "give the model's config as a dict."
        )
    load = pretrained is None
    try:
        model = seeded(
            lambda: open_clip.create_model(
                name, load_weights=load, require_pretrained=load, force_image_size=size, cache_dir=cache_dir
            )
        )
    except (OSError, RuntimeError, ValueError) as e:
        raise RuntimeError(
            f'{name}: open_clip could not build it ({e}). Expected a folder or repository with open_clip_config.json and '
            'weights in open_clip form.'
        ) from e
    if not load:
        _find(RANDOM, name)  # says so
    stats = model.visual.preprocess_cfg
    return model.visual.float(), (stats['mean'], stats['std'])


def _from_config(
    model: str | dict, pretrained: str | Path | None, size: tuple[int, int] | None, cache_dir: str | None
) -> _Tower:
    """Image tower and normalisation of a named model or a config."""
    import open_clip
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    name, config = _config(model)
    quick = bool(config.get('quick_gelu', False))
    path, tag = _find_weights(name, pretrained, quick, cache_dir)
    vision = dict(config['vision_cfg'])
    if size and 'timm_model_name' not in vision:
        vision['image_size'] = size
    model = seeded(lambda: open_clip.CLIP(config['embed_dim'], vision, _NO_TEXT, quick_gelu=quick))
    if path is not None:
        _load(model, path, name, quick, tag is None)
    if size and 'timm_model_name' in vision:
        model.visual.set_input_size(size)
    tag = tag or {}
    return model.visual, (tag.get('mean', OPENAI_DATASET_MEAN), tag.get('std', OPENAI_DATASET_STD))


def _config(model: str | dict) -> tuple[str, dict]:
    """Name and config of a model; refuse unknown or incomplete ones."""
    import open_clip

    if not isinstance(model, str):
        missing = [key for key in ('embed_dim', 'vision_cfg') if key not in model]
        if missing:
            raise ValueError(
                f"CLIPPrior: model lacks {', '.join(missing)}; expected open_clip's form of a model config"
            )
        return 'custom', dict(model)
    config = open_clip.get_model_config(model.replace('/', '-'))
    if config is None:
        near = difflib.get_close_matches(model, open_clip.list_models(), n=5, cutoff=0.5)
        raise ValueError(
            f'{model!r} is no model of open_clip. '
            + (f'Near ones: {", ".join(near)}. ' if near else '')
            + 'All: open_clip.list_models().'
        )
    return model.replace('/', '-'), config


def _find_weights(
    name: str, pretrained: str | Path | None, quick: bool, cache_dir: str | None
) -> tuple[str | None, dict | None]:
    """Where the weights are, and open_clip's entry of a tag."""
    from open_clip.pretrained import get_pretrained_cfg

    if pretrained == RANDOM:
        return _find(pretrained, name), None
    tag = get_pretrained_cfg(name, str(pretrained))
    if tag:
        _check_activation(name, quick, bool(tag.get('quick_gelu', False)), f'the tag {pretrained!r}')
        return _download(name, pretrained, tag, cache_dir), tag
    path = Path(str(pretrained))
    if pretrained is None or not (path.is_file() or path.suffix in _SUFFIXES or len(path.parts) > 1):
        raise ValueError(_unknown_tag(name, str(pretrained)))
    return _find(pretrained, name), None


def _find(pretrained: str | Path, name: str) -> str | None:
    file = find_weights(pretrained, f'CLIP {name}', '`pretrained` (in the configs: MMFUSION_CLIP)')
    return file and str(file)


def _unknown_tag(name: str, tag: str) -> str:
    """Say what open_clip has in place of an unknown tag."""
    from open_clip.pretrained import list_pretrained, list_pretrained_tags_by_model

    tags = list_pretrained_tags_by_model(name)
    near = difflib.get_close_matches(tag, tags, n=5, cutoff=0.4)
    others = [m for m, t in list_pretrained() if t == tag]
    parts = [f'open_clip has no weights {tag!r} for the model {name!r}, and there is no such file.']
    if near:
        parts.append(f'Near tags: {", ".join(near)}.')
    parts.append(f'Its tags: {", ".join(tags)}.' if tags else 'It has no tags.')
    if others:
        alike = difflib.get_close_matches(name, others, n=5, cutoff=0)
        parts.append(f'Models with {tag!r}: {", ".join(alike)}.')
    return ' '.join([*parts, f'Give a tag, a file, or {RANDOM!r}.'])


def _check_activation(name: str, quick: bool, wanted: bool, source: str) -> None:
    """Refuse weights trained with the other GELU, silently wrong otherwise."""
    import open_clip

    if quick == wanted:
        return
    suffix = '-quickgelu'
    other = name + suffix if wanted else name.removesuffix(suffix)
    cure = (
        f'Use model={other!r}.' if other in open_clip.list_models() else f'Set quick_gelu={wanted} in the model config.'
    )
    yes, no = ('with', 'without') if wanted else ('without', 'with')
    raise ValueError(
        f'CLIP {name}: the weights of {source} were trained {yes} quick-GELU, and this model is {no} it: its features would '
        f'be wrong without any error. {cure}'
    )


def _download(name: str, pretrained: str | Path | None, tag: dict, cache_dir: str | None) -> str:
    """File of a tag's weights, downloaded unless it is there."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from open_clip.pretrained import download_pretrained

    try:
        return download_pretrained(tag, cache_dir=cache_dir)
    except (OSError, RuntimeError) as e:
        url, hub = tag.get('url'), tag.get('hf_hub', '').rstrip('/')
        places = []
        if hub:
            places.append(f'https://huggingface.co/{hub} (cache: {cache_dir or HF_HUB_CACHE})')
        if url:
            places.append(f'{url} (cache: {Path(cache_dir or Path.home() / ".cache/clip") / Path(url).name})')
        raise RuntimeError(
            f'CLIP {name}: could not download the weights {pretrained!r} from {" or ".join(places)}: {e}. Fetch the file by '
            f'other means and give its path by `pretrained` (in the configs: the environment variable MMFUSION_CLIP); '
            f'{RANDOM!r} runs without. Without network, HF_HUB_OFFLINE=1 saves the attempts.'
        ) from e


def _load(model: nn.Module, path: str, name: str, quick: bool, local: bool) -> None:
    """Load a file into a model; check whose a local one is."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import resize_pos_embed

    state, archive = _read(path)
    if local:
        _check_file(path, state, archive, name, quick)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items() if k not in _OPENAI_KEYS}
    state = convert_state_dict(model, state)
    resize_pos_embed(state, model)
    tower = {k.removeprefix('visual.'): v for k, v in state.items() if k.startswith('visual.')}
    if not tower:
        some = ', '.join(list(state)[:3])
        raise RuntimeError(
            f'{path}: no CLIP in open_clip or OpenAI form: expected names visual.…, found {some} …. Weights in the form of '
            'transformers have to be converted.'
        )
    load_exactly(model.visual, tower, path, f'CLIP {name}')


def _read(path: str) -> tuple[dict[str, Tensor], bool]:
    """A file's state dict, and whether it is a TorchScript archive."""
    archive = False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as z:
            archive = any(item.endswith('/constants.pkl') for item in z.namelist())
    try:
        if archive:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', FutureWarning)  # OpenAI's own files are TorchScript
                state = torch.jit.load(path, map_location='cpu').state_dict()
        else:
            from open_clip.factory import load_state_dict

            state = load_state_dict(path)
        return {k.removeprefix('module.'): v for k, v in state.items()}, archive
    except Exception as e:  # whatever unpickling, safetensors and TorchScript raise for a file that is none of theirs
        raise RuntimeError(f'{path}: cannot be read as weights of CLIP: {reason_of(e)}') from e


def _check_file(path: str, state: Mapping[str, Tensor], archive: bool, name: str, quick: bool) -> None:
    """Refuse a local file for the other activation, or warn.

    State dicts do not hold the activation. OpenAI's files, all with quick-GELU, show by one of: a TorchScript archive;
    sizes kept beside the weights; half precision but for norms and embeddings; the file's name. open_clip's own files may
    have their config beside them.
    """
    import open_clip

    beside = Path(path).with_name('open_clip_config.json')
    if beside.is_file():
        config = json.loads(beside.read_text(encoding='utf-8'))
        wanted = bool(config.get('model_cfg', config).get('quick_gelu', False))
        _check_activation(name, quick, wanted, f'{path} (says {beside.name} beside it)')
        return
    types = {v.dtype for v in state.values() if v.is_floating_point()}
    signs = {
        'a TorchScript archive': archive,
        f'holds {_OPENAI_KEYS[0]}': _OPENAI_KEYS[0] in state,
        'half precision but for norms and embeddings': types == {torch.float16, torch.float32},
        'its name': 'openai' in Path(path).name.lower(),
    }
    seen = [sign for sign, there in signs.items() if there]
    if seen:
        _check_activation(name, quick, True, f"{path}, which is OpenAI's ({', '.join(seen)}),")
    elif not quick and f'{name}-quickgelu' in open_clip.list_models():
        log_warning(
            f"{path}: a state dict does not tell its activation. {name} takes plain GELU; if the weights are OpenAI's, or "
            f"others trained with quick-GELU, all features are wrong: use model='{name}-quickgelu' then."
        )
