"""Evaluation of folders: tables, an HTML report, and figure panels."""

from .folders import Results, evaluate_files, evaluate_folders, load, load_image, pair_folders, save
from .html import best_and_worst, choose_pictures, write_html
from .panels import magnify, make_panel, parse_box
from .tables import format_value, notes, rank, split_day_night, summarize, table_of

__all__ = [
    'Results',
    'best_and_worst',
    'choose_pictures',
    'evaluate_files',
    'evaluate_folders',
    'format_value',
    'load',
    'load_image',
    'magnify',
    'make_panel',
    'notes',
    'pair_folders',
    'parse_box',
    'rank',
    'save',
    'split_day_night',
    'summarize',
    'table_of',
    'write_html',
]
