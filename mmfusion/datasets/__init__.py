"""Datasets of infrared-visible image pairs."""

from . import transforms
from .dronevehicle import DroneVehicleDataset
from .export.coco import to_coco
from .flir import FLIRAlignedDataset
from .fmb import FMBDataset
from .fusion_dataset import FusionDataset
from .image_dataset import ImageDataset
from .kaist import KAISTDataset
from .layout_dataset import LayoutDataset
from .llvip import LLVIPDataset
from .m3fd import M3FDDataset, M3FDSegDataset
from .mfnet import MFNetDataset
from .msrs import MSRSComponentsDataset, MSRSDataset, MSRSDetectionDataset
from .occo import OCCODataset
from .roadscene import RoadSceneDataset
from .samplers import PatchSampler
from .synthetic import RenderSyntheticPair, SyntheticDataset, SyntheticScene, render_scene
from .tno import TNODataset

__all__ = [
    'DroneVehicleDataset',
    'FLIRAlignedDataset',
    'FMBDataset',
    'FusionDataset',
    'ImageDataset',
    'KAISTDataset',
    'LLVIPDataset',
    'LayoutDataset',
    'M3FDDataset',
    'M3FDSegDataset',
    'MFNetDataset',
    'MSRSComponentsDataset',
    'MSRSDataset',
    'MSRSDetectionDataset',
    'OCCODataset',
    'PatchSampler',
    'RenderSyntheticPair',
    'RoadSceneDataset',
    'SyntheticDataset',
    'SyntheticScene',
    'TNODataset',
    'render_scene',
    'to_coco',
    'transforms',
]
