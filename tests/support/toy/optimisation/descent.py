"""Gradient descent through the smoothing: which image has this smoothed copy?"""

from __future__ import annotations

import time
from typing import Any

import torch

from shared.jobs.context import JobContext

_RATE = 0.4


def descend(context: JobContext) -> dict[str, Any]:
    """Take steps down the squared difference, from where the last attempt was."""
    target = torch.tensor(context.arguments["pixels"])[None, None]
    begun = context.restore() or {"pixels": torch.zeros_like(target)[0, 0].tolist(), "attempts": [], "losses": []}
    image = torch.tensor(begun["pixels"])[None, None].requires_grad_()
    attempts: list[int] = begun["attempts"]
    losses: list[float] = begun["losses"]
    for step in range(len(attempts), context.arguments["steps"]):
        context.progress(step, context.arguments["steps"])
        loss = (torch.nn.functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False) - target).square().sum()
        (slope,) = torch.autograd.grad(loss, image)
        with torch.no_grad():
            image -= _RATE * slope
        attempts.append(context.attempt)
        losses.append(loss.item())
        time.sleep(context.arguments["step_s"])
        context.checkpoint({"pixels": image[0, 0].tolist(), "attempts": attempts, "losses": losses})
    return {"pixels": image[0, 0].tolist(), "attempts": attempts, "losses": losses}
