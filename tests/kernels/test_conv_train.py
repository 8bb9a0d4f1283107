"""ShortConv over whole rows: values and gradients against float64, on a GPU or in Triton's interpreter."""

from __future__ import annotations

CHECK = """
import tml_kernels.conv_train as conv
conv.SPAN = 64  # several spans
for batch, n, channels, kernel in ((2, 37, 70, 4), (3, 5, 64, 3), (1, 1, 8, 4)):
    x = torch.randn(batch, n, channels, device=device)
    weight = torch.randn(channels, kernel, device=device)
    grad = torch.randn(batch, n, channels, device=device)
    def reference(x, weight):
        padded = torch.nn.functional.pad(x, (0, 0, kernel - 1, 0))
        return x + sum(padded[:, j : j + n] * weight[:, j] for j in range(kernel))
    def both(f, *tensors):
        tensors = [t.detach().clone().requires_grad_() for t in tensors]
        out = f(*tensors)
        out.backward(grad.to(out.dtype))
        return [out.detach(), *(t.grad for t in tensors)]
    exact = both(reference, x.double(), weight.double())
    for one, want in zip(both(conv.RowConv.apply, x, weight), exact):
        assert relative_error(one, want) < 2e-6, (batch, n, relative_error(one, want))
    exact = both(reference, x.to(half).double(), weight.double())
    for one, want in zip(both(conv.RowConv.apply, x.to(half), weight), exact):
        assert relative_error(one, want) < 8e-3, (batch, n, relative_error(one, want))
"""


def test_triton_values_and_gradients(check_kernel) -> None:
    check_kernel(CHECK)
