_base_ = './occo_roadscene.py'

# Features of the VGG16 in data/weights (trained for edges) instead of VGG19's, for runs on real pairs without downloads.
# relu4_3 and relu5_3 are its last layers on the two levels where OCCO takes relu4_4 and relu5_4.
contrastive = dict(
    prior=dict(arch='vgg16', weights='{{$MMFUSION_DATA:data}}/weights/vgg16_hed_features_fp16.pt'),
    layers=dict(relu4_3=0.25, relu5_3=1.0),
)
model = dict(losses=dict(contrastive=contrastive))
