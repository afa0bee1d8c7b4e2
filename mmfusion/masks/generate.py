"""Masks of salient objects for a folder of pairs, as OCCO's.

``OUT/mask_vi/mask_NAME.png`` and ``OUT/mask_ir/mask_NAME.png`` (8-bit, one channel, 0 and 255, the image's size), and
``OUT/masks.json``, which says how they were made; folders of other names hold a record each. See
:mod:`mmfusion.masks.grounded_sam` (Grounding DINO and SAM), :mod:`mmfusion.datasets.boxes` (boxes from files) and
:mod:`mmfusion.masks.contrast` (no weights).
"""

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from mmfusion.datasets.transforms.loading import stack_pair
from mmfusion.utils import (
    ImageReadError,
    check_reading,
    only_writer,
    pair_images,
    read_mask,
    read_pair,
    track,
    write_image,
)
from mmfusion.utils.log import log_warning
from mmfusion.utils.pairing import with_prefix
from mmfusion.utils.run_record import changed_sources, check_record, read_record, signature, write_record

SIDECAR = 'masks.json'
_CURE = 'Choose other folders, or say --overwrite to make all masks of these images again.'


@dataclass
class MaskSummary:
    """What a run left behind.

    Attributes:
        pairs (int): Pairs of images.
        made (int): Pairs of which at least one mask was made now.
        complete (int): Pairs whose two masks were there already.
        empty_vi, empty_ir (int): Masks without a single pixel, old ones counted too.
        empty_both (int): Pairs of which both masks are empty. OCCO's training leaves them out.
        coverage_vi, coverage_ir (float): Mean share of the image that is masked.
    """

    pairs: int = 0
    made: int = 0
    complete: int = 0
    empty_vi: int = 0
    empty_ir: int = 0
    empty_both: int = 0
    coverage_vi: float = 0.0
    coverage_ir: float = 0.0

    def __str__(self):
        return (
            f'{self.pairs} pairs: {self.made} made, {self.complete} were complete already. Empty masks: '
            f'{self.empty_vi} visible, {self.empty_ir} infrared, both of {self.empty_both} pairs. Masked on average: '
            f'{self.coverage_vi:.1%} of the visible, {self.coverage_ir:.1%} of the infrared images.'
        )

    def add(self, coverages):
        """Count one pair by the masked ``coverages`` of both images."""
        vi, ir = coverages
        self.empty_vi += vi == 0
        self.empty_ir += ir == 0
        self.empty_both += vi == ir == 0
        # Running mean over the pairs seen so far.
        seen = self.made + self.complete
        self.coverage_vi += (vi - self.coverage_vi) / seen
        self.coverage_ir += (ir - self.coverage_ir) / seen


def generate_masks(
    vi_dir,
    ir_dir,
    backend,
    out=None,
    mask_dirs=None,
    overwrite=False,
    progress=True,
    vi_pattern=None,
    ir_pattern=None,
    **reading,
):
    """Make the masks that are not there yet.

    Args:
        vi_dir, ir_dir (str | Path): Folders of images, paired by name without suffix; ``ir_dir=None``: of files whose four
            channels are R, G, B and thermal.
        backend: A :class:`~mmfusion.masks.grounded_sam.SamBoxMasks` or
            :class:`~mmfusion.masks.contrast.ContrastMasks`, or anything with ``settings`` (a dict that JSON can
            hold), ``note`` (a warning or None), ``load(stems)`` and ``backend(stem, img, modality) -> mask``
            of H×W×3 uint8 (B, G, R; infrared in three equal channels).
        out (str | Path, optional): Folder of ``mask_vi``, ``mask_ir`` and their record ``masks.json``.
        mask_dirs (tuple[str | Path, str | Path], optional): Folders of the visible and the infrared masks, instead of
            ``out``. Each holds its ``masks.json``, so that several kinds of masks lie beside each other.
        overwrite (bool): Delete the masks of these images and begin again, whatever made them.
        progress (bool): Show a bar.
        vi_pattern, ir_pattern (str, optional): See :func:`mmfusion.utils.pair_images`.
        **reading: How images become 8 bits; see :func:`mmfusion.utils.check_reading`.

    Raises:
        ValueError: If images do not pair, both or neither of ``out`` and ``mask_dirs`` are given, masks made with other
            settings or by something unknown stand there, or the backend raises it.
        ImageReadError: If an image is missing or damaged; what was made before it stays.
    """
    pairs = pair_images(vi_dir, ir_dir, vi_pattern, ir_pattern)
    mask_dirs, records = _folders(out, mask_dirs)
    with ExitStack() as stack:
        for record in records:
            stack.enter_context(only_writer(record.parent))
        return _generate(pairs, backend, mask_dirs, records, overwrite, progress, reading)


def _generate(pairs, backend, mask_dirs, records, overwrite, progress, reading):
    """Make masks in folders into which nobody else writes."""
    targets = {stem: tuple(d / f'{with_prefix("mask_", stem)}.png' for d in mask_dirs) for stem, _, _ in pairs}
    reading = check_reading(**reading)
    settings = backend.settings | {key: value for key, value in reading.items() if value != 'full'}
    for record in records:
        folders = [k for k, folder in enumerate(mask_dirs) if record.parent in (folder, folder.parent)]
        existing = [files[k] for files in targets.values() for k in folders if files[k].exists()]
        if overwrite:
            for file in existing:
                file.unlink()
        elif existing:
            check_record(record, settings, existing, _CURE)
    if backend.note:
        log_warning(backend.note)
    sources = {stem: signature(files) for stem, *files in pairs}
    changed = {
        stem for record in records for stem in changed_sources(read_record(record, _CURE), sources, record.parent)
    }
    for file in (file for stem in changed for file in targets[stem]):
        file.unlink(missing_ok=True)  # before the record changes: a mask that is there is always of the files it says
    kept = {stem: _read_complete(files) for stem, files in targets.items()}
    todo = [stem for stem, masks in kept.items() if None in masks]
    if todo:
        backend.load(todo)
        for record in records:
            write_record(record, settings, summary=None, sources=sources)
    if len(todo) < len(pairs):
        print_log(f'{len(pairs) - len(todo)} of {len(pairs)} pairs have both masks and are skipped.', 'current')
    summary = MaskSummary(pairs=len(pairs))
    for stem, vi, ir in track(pairs, 'masks', 'pair', show=progress):
        if None in kept[stem]:
            coverages = _make(backend, stem, (vi, ir), targets[stem], kept[stem], reading)
            summary.made += 1
        else:
            coverages = kept[stem]
            summary.complete += 1
        summary.add(coverages)
    for record in records:
        write_record(record, settings, summary=asdict(summary), sources=sources)
    return summary


def _folders(out, mask_dirs):
    """The folders of the masks, and the files of their records."""
    if (out is None) == (mask_dirs is None):
        raise ValueError('Say where the masks go, by one of the two: --out, or --mask-vi-dir and --mask-ir-dir.')
    if mask_dirs is None:
        return (Path(out, 'mask_vi'), Path(out, 'mask_ir')), [Path(out, SIDECAR)]
    vi, ir = (Path(d) for d in mask_dirs)
    if vi.resolve() == ir.resolve():
        raise ValueError(f'{vi}: both modalities cannot have their masks in one folder; their names are equal.')
    if vi.parent == ir.parent and (vi.name, ir.name) == ('mask_vi', 'mask_ir'):  # what --out makes
        return (vi, ir), [vi.parent / SIDECAR]
    return (vi, ir), [folder / SIDECAR for folder in (vi, ir)]


def _read_complete(files):
    """The masked share of each file; None of a damaged one."""
    shares = []
    for file in files:
        try:
            shares.append(float(read_mask(file).mean()) if file.is_file() else None)
        except ImageReadError as e:
            log_warning(f'{e} This mask is made again.')
            shares.append(None)
    return shares


def _make(backend, stem, sources, files, kept, reading):
    """Make what is missing of one pair; both images' masked share."""
    vi, ir = read_pair(*sources, **reading)
    stack_pair(vi, ir, *sources)  # for its messages, which name both
    images = {'vi': vi, 'ir': np.repeat(ir[..., None], 3, axis=2)}
    shares = list(kept)
    for i, (modality, img) in enumerate(images.items()):
        if shares[i] is None:
            mask = backend(stem, img, modality)
            write_image(files[i], mask)
            shares[i] = float((mask > 0).mean())
    return shares
