_base_ = './mgfusion_tno.py'

# Section 4.4.2 has 55 pairs and does not say which: the 55 scenes of the archive that have a thermal image, as
# tools/dataset_converters/tno.py lays them out.
tno = dict(
    data_root='{{$MMFUSION_DATA:data}}/TNO_scenes', ann_file='{{ fileDirname }}/../_base_/datasets/splits/tno_55.txt'
)
val_dataloader = dict(dataset=tno)
test_dataloader = val_dataloader
