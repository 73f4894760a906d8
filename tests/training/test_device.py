"""Tests of the choice of the device."""

from collections.abc import Callable

import pytest
import torch

from ignite_threenet.errors import ConfigError
from ignite_threenet.training.device import available_devices, describe_device, select_device

GiveDevices = Callable[..., None]


@pytest.fixture
def give_devices(monkeypatch: pytest.MonkeyPatch) -> GiveDevices:
    def give(*, cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return give


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [
        (2, True, "cuda"),
        (1, False, "cuda"),
        (0, True, "mps"),
        (0, False, "cpu"),
    ],
)
def test_auto_takes_cuda_then_mps_then_cpu(
    give_devices: GiveDevices, cuda: int, mps: bool, expected: str
) -> None:
    give_devices(cuda=cuda, mps=mps)

    assert select_device("auto") == torch.device(expected)


def test_without_a_name_the_device_is_chosen_as_by_auto(give_devices: GiveDevices) -> None:
    give_devices(mps=True)

    assert select_device() == torch.device("mps")


def test_the_available_devices_are_in_the_order_of_auto(give_devices: GiveDevices) -> None:
    give_devices(cuda=2, mps=True)

    assert available_devices() == ["cuda:0", "cuda:1", "mps", "cpu"]


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1", "mps", "mps:0", "cpu", "cpu:0"])
def test_a_device_that_is_there_is_taken_by_its_name(give_devices: GiveDevices, name: str) -> None:
    give_devices(cuda=2, mps=True)

    assert select_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "", "Cuda", " cpu", "cuda:", "cuda:-1", "cuda:one"])
def test_a_name_of_no_device_is_refused(give_devices: GiveDevices, name: str) -> None:
    give_devices()

    with pytest.raises(ConfigError) as raised:
        select_device(name)

    assert str(raised.value) == f"device: {name!r} is not available; expected auto, cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "xpu", "meta"])
def test_a_device_that_is_not_there_is_refused(give_devices: GiveDevices, name: str) -> None:
    give_devices()

    with pytest.raises(ConfigError) as raised:
        select_device(name)

    assert str(raised.value) == f"device: {name!r} is not available; expected auto, cpu"


# torch itself takes the last for cuda:0, since it counts devices in 8 bits.
@pytest.mark.parametrize("name", ["cuda:2", "cpu:1", "mps:1", "cuda:256"])
def test_an_index_out_of_range_is_refused(give_devices: GiveDevices, name: str) -> None:
    give_devices(cuda=2, mps=True)

    with pytest.raises(ConfigError) as raised:
        select_device(name)

    assert str(raised.value) == (
        f"device: {name!r} is not available; expected auto, cuda:0, cuda:1, mps, cpu"
    )


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_a_device_without_a_model_name_is_described_by_its_own(name: str) -> None:
    assert describe_device(torch.device(name)) == name


def test_a_cuda_device_is_described_with_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {torch.device("cuda:1"): "A Card"}
    monkeypatch.setattr(torch.cuda, "get_device_name", models.__getitem__)

    assert describe_device(torch.device("cuda:1")) == "cuda:1 (A Card)"
