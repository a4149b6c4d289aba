"""Adam, for all parameters at once.

torch's own optimizers import its compiler when first used: seconds of CPU time and hundreds of modules in every worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class Adam:
    """Adam with weight decay added to the gradient (Kingma, Ba 2015, arXiv 1412.6980).

    Parameters
    ----------
    parameters : iterable of Parameter
        On one device.
    rate : float
        Learning rate; may be changed between steps.
    betas : tuple of two floats
        Decay of the running means of the gradient and of its square.
    decay : float
        Factor of the weights that is added to their gradient.
    """

    def __init__(
        self, parameters: Iterable[torch.nn.Parameter], rate: float, betas: tuple[float, float] = (0.9, 0.999), decay: float = 0.0
    ) -> None:
        self.rate, self._betas, self._decay, self._steps = rate, betas, decay, 0
        self._parameters = list(parameters)
        self._first = [torch.zeros_like(each, requires_grad=False) for each in self._parameters]
        self._second = [torch.zeros_like(each, requires_grad=False) for each in self._parameters]

    @torch.no_grad()
    def descend(self, loss: torch.Tensor) -> None:
        """Take one step down the gradient of a loss that depends on all parameters."""
        with torch.enable_grad():
            gradients = list(torch.autograd.grad(loss, self._parameters))
        self._steps += 1
        fast, slow = self._betas
        if self._decay:
            gradients = list(torch._foreach_add(gradients, list(self._parameters), alpha=self._decay))
        torch._foreach_lerp_(self._first, gradients, 1 - fast)
        torch._foreach_mul_(self._second, slow)
        torch._foreach_addcmul_(self._second, gradients, gradients, 1 - slow)
        size = torch._foreach_sqrt(self._second)
        torch._foreach_div_(size, (1 - slow**self._steps) ** 0.5)
        torch._foreach_add_(size, 1e-8)
        torch._foreach_addcdiv_(list(self._parameters), self._first, size, -self.rate / (1 - fast**self._steps))

    def state_dict(self) -> dict[str, Any]:
        """Return steps taken and running means."""
        return {"steps": self._steps, "first": list(self._first), "second": list(self._second)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over steps and running means."""
        self._steps = int(state_dict["steps"])
        for moment, saved in ((self._first, state_dict["first"]), (self._second, state_dict["second"])):
            for each, value in zip(moment, saved, strict=True):
                each.copy_(value)
