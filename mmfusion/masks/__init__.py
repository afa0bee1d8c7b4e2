"""Masks of salient objects and label maps: made from Grounding DINO and SAM, boxes, contrast, or DINOv2 features."""
