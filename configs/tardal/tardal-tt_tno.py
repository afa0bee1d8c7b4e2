"""TarDAL with the weights of task-oriented training, TT: the network of tardal_tno.py."""

_base_ = './tardal_tno.py'
