"""55 scenes of TNO for testing, as many as MGFusion has (section 4.1), as tools/dataset_converters/tno.py lays them out."""

_base_ = './tno.py'

data_root = '{{$MMFUSION_DATA:data}}/TNO_scenes'

val_dataloader = dict(dataset=dict(data_root=data_root, ann_file='{{ fileDirname }}/splits/tno_55.txt'))
test_dataloader = val_dataloader
