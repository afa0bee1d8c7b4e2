"""Fusing pairs of files into a folder, going on after interruptions."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from mmengine.dataset import DefaultSampler
from mmengine.dist import barrier, is_main_process

from mmfusion.utils import give_back_freed_memory, only_writer, remove_unfinished, write_image
from mmfusion.utils.pairing import images_below
from mmfusion.utils.run_record import CURE, RECORD, changed_sources, check_record, read_record, signature, write_record

from .inferencer import FusionInferencer


def fuse_folder(
    pairs: Sequence[tuple[str, Path, Path | None]],
    out: str | Path,
    settings: Mapping,
    build: Callable[[], FusionInferencer],
    suffix: str = '.png',
    batch_size: int = 1,
    overwrite: bool = False,
) -> tuple[int, int]:
    """Fuse those pairs whose images are not in a folder yet.

    A record beside the images says how they were made; images of other settings are never mixed, and those whose sources
    changed since are fused again. In several processes
    (torchrun, Slurm) each fuses its share, as mmengine's sampler deals it.

    Args:
        pairs: Name, visible and infrared file of each; a name may have folders before it.
        out: The folder.
        settings: What makes two runs give the same images; see :func:`~mmfusion.utils.run_record.model_settings`.
        build: Makes the inferencer; called where there is something to fuse.
        suffix: Format of the images.
        batch_size: Pairs at a time.
        overwrite: Fuse again what is there.

    Returns:
        Images fused, by all processes, and images that were there.

    Raises:
        ValueError: If images of other settings are there, another process writes there, or a pair cannot be fused.
    """
    with only_writer(out) if is_main_process() else nullcontext():
        return _fuse_folder(pairs, Path(out), settings, build, suffix, batch_size, overwrite)


def _fuse_folder(
    pairs: Sequence[tuple[str, Path, Path | None]],
    out: Path,
    settings: Mapping,
    build: Callable[[], FusionInferencer],
    suffix: str,
    batch_size: int,
    overwrite: bool,
) -> tuple[int, int]:
    """Fuse, in a folder into which nobody else writes."""
    targets = [out / f'{stem}{suffix}' for stem, *_ in pairs]
    sources = {stem: signature(files) for stem, *files in pairs}
    before = None if overwrite else read_record(out / RECORD, CURE)
    changed = changed_sources(before, sources, out)
    existing = {
        t for t, (stem, *_) in zip(targets, pairs, strict=True) if not overwrite and stem not in changed and t.is_file()
    }
    images = images_below(out)
    kept = sorted(set(images) - set(targets)) if overwrite else images
    if kept:
        check_record(out / RECORD, settings, kept, CURE)
    todo = [(target, *files) for target, (_, *files) in zip(targets, pairs, strict=True) if target not in existing]
    if is_main_process():
        remove_unfinished(out)
    if not todo:
        return 0, len(existing)
    barrier()  # every process has seen the same images
    share = [todo[i] for i in DefaultSampler(todo, shuffle=False, round_up=False)]
    inferencer = build()  # by every process, so that all or none fail
    if is_main_process():
        for target, *_ in todo:
            target.unlink(missing_ok=True)  # before the record changes: what is there must always be what it says
        write_record(out / RECORD, settings, sources={**((before or {}).get('sources') or {}), **sources})
    barrier()
    shape = None
    for i, image in inferencer.fuse_pairs([(vi, ir) for _, vi, ir in share], batch_size):
        write_image(share[i][0], image)
        if image.shape != shape:
            give_back_freed_memory()
        shape = image.shape
    return len(todo), len(existing)
