from .zoo import PublishedMethod


class TestYDTR(PublishedMethod):
    name = 'ydtr'
    config = 'ydtr/ydtr_tno.py'
    train = 'ydtr/ydtr_roadscene.py'
    weights = 'YDTR/model_10.pth'
    narrow = {'network.channels': 32}
