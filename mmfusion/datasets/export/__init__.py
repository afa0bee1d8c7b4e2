"""Datasets as a whole, written fused, and their boxes as COCO."""
