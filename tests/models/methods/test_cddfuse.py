from .zoo import PublishedMethod


class TestCDDFuse(PublishedMethod):
    name = 'cddfuse'
    config = 'cddfuse/cddfuse_tno.py'
    train = 'cddfuse/cddfuse_msrs.py'
    narrow = {'network.channels': 8, 'network.num_blocks': (1, 1), 'network.num_heads': 2, 'network.num_couplings': 1}
