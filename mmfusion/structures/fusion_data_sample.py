"""The data sample that travels with an image pair."""

from mmengine.structures import BaseDataElement, InstanceData, PixelData


def _field(name: str, dtype: type[BaseDataElement], doc: str) -> property:
    """A typed property kept under ``_name``, as mmseg and mmdet do."""
    private = f'_{name}'

    def get(self: BaseDataElement) -> PixelData | InstanceData:
        return getattr(self, private)

    def set_(self: BaseDataElement, value: PixelData | InstanceData) -> None:
        self.set_field(value, private, dtype=dtype)

    def delete(self: BaseDataElement) -> None:
        delattr(self, private)

    return property(get, set_, delete, doc)


class FusionDataSample(BaseDataElement):
    """Annotations and results of one infrared-visible pair.

    The property names are mmsegmentation's and mmdetection's, so that their stock heads, losses and evaluators read
    and write this class as they do their own.

    - ``fused`` (PixelData): ``data`` is 3×H×W float in [0, 1], R, G, B.
    - ``ir`` (PixelData): 1×H×W float in [0, 1], where the network registered the infrared image.
    - ``gt_saliency`` (PixelData): ``vi`` and ``ir``, each 1×H×W bool, the objects that each modality shows.
    - ``gt_sem_seg``, ``pred_sem_seg``, ``seg_logits`` (PixelData): as in mmseg's ``SegDataSample``.
    - ``gt_instances``, ``ignored_instances``, ``pred_instances`` (InstanceData): as in mmdet's ``DetDataSample``.

    Examples:
        >>> import torch
        >>> from mmengine.structures import PixelData
        >>> sample = FusionDataSample(metainfo=dict(img_path='00001.png'))
        >>> sample.fused = PixelData(data=torch.zeros(3, 4, 6))
        >>> sample.fused.shape
        (4, 6)
    """

    fused = _field('fused', PixelData, 'Fused image, 3×H×W float in [0, 1], R, G, B.')
    gt_saliency = _field('gt_saliency', PixelData, 'Salient objects of each modality: `vi`, `ir`, 1×H×W bool.')
    gt_sem_seg = _field('gt_sem_seg', PixelData, 'Segmentation labels, 1×H×W int64.')
    pred_sem_seg = _field('pred_sem_seg', PixelData, 'Predicted labels, 1×H×W int64.')
    seg_logits = _field('seg_logits', PixelData, 'Predicted logits, C×H×W.')
    gt_instances = _field('gt_instances', InstanceData, 'Boxes (N×4, xyxy pixels) and labels (N).')
    ignored_instances = _field('ignored_instances', InstanceData, 'Boxes that neither loss nor metric counts.')
    pred_instances = _field('pred_instances', InstanceData, 'Detected boxes, scores and labels.')
    proposals = _field('proposals', InstanceData, 'Region proposals of two-stage detectors.')
    gt_panoptic_seg = _field('gt_panoptic_seg', PixelData, 'As in mmdet; unused by fusion.')
    pred_panoptic_seg = _field('pred_panoptic_seg', PixelData, 'As in mmdet; unused by fusion.')
