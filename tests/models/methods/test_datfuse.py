from .zoo import PublishedMethod


class TestDATFuse(PublishedMethod):
    name = 'datfuse'
    config = 'datfuse/datfuse_tno.py'
    train = 'datfuse/datfuse_roadscene.py'
    weights = 'DATFuse/model_10.pth'
    narrow = {'network.channels': 32}  # of 4 hidden units of its attention all may be below zero at the start
