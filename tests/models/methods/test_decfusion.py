from .zoo import PublishedMethod


class TestDECFusion(PublishedMethod):
    name = 'decfusion'
    config = 'decfusion/decfusion_msrs.py'
    train = 'decfusion/decfusion_msrs.py'
    weights = 'DECFusion/epoch_400.pth'
    narrow = {'network.channels': 8}
