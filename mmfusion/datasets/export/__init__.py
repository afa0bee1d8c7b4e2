"""Datasets as a whole: their parts, written fused, and their boxes as COCO JSON."""
