"""TarDAL with the weights of cooperative training, CT: the network of tardal_tno.py."""

_base_ = './tardal_tno.py'
