"""A pretended CUDA device: tensors that say ``cuda:0``, compute on the CPU, and refuse to meet tensors of the CPU."""

from contextlib import contextmanager

import torch
from mmengine.structures import InstanceData
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device('cuda:0')


class PretendedTensor(torch.Tensor):
    """Wraps a CPU tensor; to C++ it is on the meta device, whose autograd needs no driver."""

    @staticmethod
    def __new__(cls, elem):
        options = dict(dtype=elem.dtype, device='meta', strides=elem.stride(), storage_offset=elem.storage_offset())
        return torch.Tensor._make_wrapper_subclass(cls, elem.size(), **options)

    def __init__(self, elem):
        self.elem = elem

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = is_meta = property(lambda self: False)

    def __repr__(self):
        return f'PretendedTensor({self.elem})'

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return compute(func, args, dict(kwargs or {}))


def compute(func, args, kwargs):
    """Run an operation on the CPU where one of its tensors, or its device, is pretended."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    pretended = [x for x in tensors if isinstance(x, PretendedTensor)]
    if not pretended and str(kwargs.get('device')) not in ('meta', 'cuda:0', 'cuda'):
        return func(*args, **kwargs)
    for x in tensors:
        assert not (x.is_meta and not isinstance(x, PretendedTensor)), f'{func}: a tensor without data'
        # Numbers may meet tensors of a GPU, and indices may stay on the CPU, as in torch itself.
        if not isinstance(x, PretendedTensor) and x.dim() and 'index' not in func.__name__:
            raise RuntimeError(f'{func}: expected all tensors on cuda:0, found one on {x.device}')
    if 'device' in kwargs:
        kwargs['device'] = torch.device('cpu')
    out = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    if (
        func._schema.name.endswith('_')
        and not func._schema.name.endswith('__')
        and args
        and isinstance(args[0], PretendedTensor)
    ):
        return args[0]  # in place: the same object
    return tree_map(wrap, out)


class _Operations(TorchDispatchMode):
    """Also catches tensors that C++ makes on the device of a pretended one, such as a number's."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return compute(func, args, dict(kwargs or {}))


def unwrap(x):
    return x.elem if isinstance(x, PretendedTensor) else x


def wrap(x):
    return PretendedTensor(x) if isinstance(x, torch.Tensor) and not isinstance(x, PretendedTensor) else x


class _Move(torch.autograd.Function):
    """Move between the CPU and the pretended device, with gradient."""

    @staticmethod
    def forward(ctx, x, there):
        ctx.back = isinstance(x, PretendedTensor)
        return wrap(x.detach().clone()) if there else unwrap(x).detach().clone()

    @staticmethod
    def backward(ctx, grad):
        return (wrap(grad) if ctx.back else unwrap(grad)), None


def is_cuda(device):
    return device is not None and not isinstance(device, torch.dtype) and str(device).startswith('cuda')


class _Functions(TorchFunctionMode):
    """Makes tensors on ``cuda:0`` pretended ones, and moves them by ``to``, ``cuda``, ``cpu``, ``numpy``."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(func, '__name__', '')
        tensor = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if tensor is not None and name in ('to', 'cuda', 'cpu', 'numpy', 'tolist', '__array__', 'pin_memory'):
            return self._moved(func, name, tensor, args[1:], kwargs)
        if is_cuda(kwargs.get('device')):
            kwargs['device'] = 'cpu'
            with torch._C.DisableTorchFunction():
                return tree_map(wrap, func(*tree_map(unwrap, args), **kwargs))
        if isinstance(tensor, PretendedTensor) and name in ('__getitem__', '__setitem__'):
            # C++ would make an index tensor without data of a list.
            place = args[1] if isinstance(args[1], tuple) else (args[1],)
            place = tuple(torch.tensor(i) if isinstance(i, list) else i for i in place)
            args = (tensor, place, *args[2:])
        if isinstance(tensor, PretendedTensor) and name == 'new_tensor':
            return wrap(torch.tensor(args[1], dtype=kwargs.get('dtype', tensor.dtype)))
        return func(*args, **kwargs)

    @staticmethod
    def _moved(func, name, tensor, args, kwargs):
        if name in ('numpy', 'tolist', '__array__'):
            if isinstance(tensor, PretendedTensor) and name != 'tolist':
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
            return getattr(unwrap(tensor.detach() if name == 'tolist' else tensor), name)(*args, **kwargs)
        if name == 'pin_memory':
            return tensor
        devices = [a for a in (*args, kwargs.get('device')) if isinstance(a, str | torch.device)]
        other = [a.device for a in args if isinstance(a, torch.Tensor)]
        target = 'cuda' if name == 'cuda' else 'cpu' if name == 'cpu' else (devices + other or [tensor.device])[0]
        if is_cuda(target) != isinstance(tensor, PretendedTensor):
            tensor = _Move.apply(tensor, is_cuda(target))
        dtypes = [a for a in (*args, kwargs.get('dtype')) if isinstance(a, torch.dtype)]
        dtypes += [a.dtype for a in args if isinstance(a, torch.Tensor)]
        return tensor.type(dtypes[0]) if dtypes and tensor.dtype != dtypes[0] else tensor


@contextmanager
def pretended_cuda():
    """Give tensors on ``cuda:0`` within the context.

    InstanceData knows CUDA's masks by torch's own classes; here it gets their values.
    """
    plain = InstanceData.__getitem__
    InstanceData.__getitem__ = lambda self, item: plain(self, unwrap(item))
    try:
        with _Operations(), _Functions():
            yield CUDA
    finally:
        InstanceData.__getitem__ = plain
