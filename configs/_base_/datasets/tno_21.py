"""21 pairs of TNO for testing, as many as OCCO has (section 4.1.1); splits/README.md says how they were chosen."""

_base_ = './tno.py'

val_dataloader = dict(dataset=dict(ann_file='{{ fileDirname }}/splits/tno_21.txt'))
test_dataloader = val_dataloader
