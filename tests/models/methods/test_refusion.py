from .zoo import PublishedMethod


class TestReFusion(PublishedMethod):
    name = 'refusion'
    config = 'refusion/refusion_tno.py'
    weights = 'ReFusion/ReFusion_IVIF.pth'
