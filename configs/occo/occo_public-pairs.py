"""A narrow OCCO on small patches of public pairs, with the masks of `mmfusion masks --backend contrast`; for a processor.

Less than the paper: an eighth of the parameters, 6000 steps of four patches of 96×96 (the paper: 256×256, batches of
12), features of the VGG16 in data/weights, and masks of contrast in the place of Grounding DINO's and SAM's. Statistics
of so few pixels are noise, so that batch norms keep theirs in the last third.
"""

_base_ = [
    '../_base_/models/occo_fifn.py',
    '../_base_/datasets/public_pairs.py',
    '../_base_/schedules/cosine_6k.py',
]

# relu4_3 and relu5_3 are VGG16's last layers on the two levels where OCCO takes relu4_4 and relu5_4.
contrastive = dict(
    prior=dict(arch='vgg16', weights='{{$MMFUSION_DATA:data}}/weights/vgg16_hed_features_fp16.pt'),
    layers=dict(relu4_3=0.25, relu5_3=1.0),
)
model = dict(network=dict(channels=(12, 24, 40, 56)), losses=dict(contrastive=contrastive))

train_dataloader = _base_.train_dataloader
train_dataloader.batch_size = 4
for pairs in train_dataloader.dataset.datasets:
    pairs.with_masks = True
    pairs.pipeline.insert(1, dict(type='mmfusion.LoadSaliencyMasks'))
del pairs

default_hooks = dict(norm_eval=dict(type='mmfusion.NormEvalHook', begin=4000, by_epoch=False))
