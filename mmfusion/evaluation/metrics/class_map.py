"""Classes of a stock model and a dataset, brought to common ones."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mmfusion.registry import DATASETS


def class_table(class_map: Mapping[str, Sequence[str]], classes: Sequence[str], of: str) -> list[int | None]:
    """Look up classes in a class map.

    Args:
        class_map: Common class → names that it has in either vocabulary, in any case of letters.
        classes: Of the model, or of the dataset.
        of: Whose they are, for the message.

    Returns:
        For each class the position of its common class, or None.

    Raises:
        ValueError: If a common class has none of them.
    """
    names = [{name.lower() for name in (common, *others)} for common, others in class_map.items()]
    table = [next((k for k, known in enumerate(names) if name.lower() in known), None) for name in classes]
    lost = [common for k, common in enumerate(class_map) if k not in table]
    if lost:
        raise ValueError(f'class_map: {of} has no class for {", ".join(lost)}; its classes are {", ".join(classes)}')
    return table


def classes_of(predicted: str | Sequence[str]) -> Sequence[str]:
    """Give the classes listed, or those of a dataset such as ``'mmseg.CityscapesDataset'``."""
    return DATASETS.get(predicted).METAINFO['classes'] if isinstance(predicted, str) else predicted


class ThroughClassMap:
    """Let a metric compare by common classes, and by groups of images.

    Args:
        class_map: Common class → names that it has in either vocabulary.
        predicted: Classes of the model, or a dataset of its library that has them.
        groups: Name → pattern of image names; see :func:`grouped`.
        **kwargs: Those of the metric.
    """

    def __init__(
        self,
        class_map: Mapping[str, Sequence[str]],
        predicted: str | Sequence[str],
        groups: Mapping[str, str] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.class_map, self.predicted, self.groups = dict(class_map), predicted, dict(groups or {})
        self._tables = None

    def _prepare(self, *others: str) -> None:
        """Make both vocabularies' tables, once, for common classes after ``others``."""
        if self._tables is None:
            vocabularies = dict(dataset=self.dataset_meta['classes'], model=classes_of(self.predicted))
            self._tables = {of: self._table(classes, of) for of, classes in vocabularies.items()}
            self.dataset_meta = dict(classes=(*others, *self.class_map))

    def _table(self, classes: Sequence[str], of: str) -> list[int | None]:
        return class_table(self.class_map, classes, of)


def grouped(results: Sequence, stems: Sequence[str], groups: Mapping[str, str]) -> dict[str, list]:
    """Divide results by the names of their images.

    Args:
        results: One of each image.
        stems: Names of the images, or paths.
        groups: Name → pattern of stems, such as ``dict(day='*D', night='*N')``.

    Returns:
        Prefix of metrics (``''`` for all, ``'day/'``) → results; groups without an image are left out.
    """
    out = {'': list(results)}
    for name, pattern in groups.items():
        found = [r for r, stem in zip(results, stems, strict=True) if fnmatchcase(Path(stem).stem, pattern)]
        if found:
            out[f'{name}/'] = found
    return out
