"""The device that a run uses."""

import torch

from ..errors import ConfigError


def available_devices() -> list[str]:
    """Name the devices of this machine, the one that ``auto`` takes first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def select_device(name: str = "auto") -> torch.device:
    """Choose the device: cuda, then mps, then cpu if name is ``auto``.

    Raises:
        ConfigError: the device is not there; the message says which are.

    Example:
        >>> select_device("cpu")
        device(type='cpu')
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0].partition(":")[0])
    # By name: torch itself takes cuda:256 for cuda:0.
    kinds = {each.partition(":")[0] for each in available}
    if name not in {*available, *kinds, *(f"{kind}:0" for kind in kinds)}:
        raise ConfigError(
            f"device: {name!r} is not available; expected auto, {', '.join(available)}"
        )
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Name the device as its user knows it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
