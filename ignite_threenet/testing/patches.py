"""Which functions of torch, Ignite, Python and this package a plugin has put others in place of."""

import sys
from collections.abc import Iterator, Mapping
from inspect import isroutine
from typing import Any

_PACKAGES = ("torch", "ignite", "ignite_threenet", "numpy")
_MODULES = ("builtins", "io", "json", "logging", "math", "os", "pathlib", "random", "shutil")
_MORE_MODULES = ("signal", "socket", "sys", "tempfile", "threading", "time", "warnings")

# Of torch, what plugins meet; the rest of its two thousand modules fills itself as it is used.
_INNER_OF_TORCH = ("nn", "optim", "autograd", "random", "utils.data", "linalg", "fft", "hub")

# What torch replaces by itself, with the default dtype.
_OF_TORCH_ITSELF = ("torch.Storage",)

Functions = Mapping[str, Any]
"""Functions by their names."""


def find_functions() -> Functions:
    """Note the functions of the modules that are imported by now, and the methods of classes."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        if not _is_watched(name) or module is None:
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(value, type) and _is_watched(value.__module__):
                found[f"{name}.{attribute}"] = value
                of_class = f"{value.__module__}.{value.__qualname__}"
                found |= {
                    f"{of_class}.{key}": each
                    for key, each in list(vars(value).items())
                    if isroutine(each) or isinstance(each, property)
                }
            elif isroutine(value):
                found[f"{name}.{attribute}"] = value
    return found


def find_replaced(before: Functions) -> Iterator[str]:
    """Name the functions that are others than before, and methods that a class has got since."""
    now = find_functions()
    told: set[int] = set()
    for name, value in now.items():
        if name in _OF_TORCH_ITSELF:
            continue
        is_new_method = name not in before and name.rpartition(".")[0] in before
        is_other = name in before and before[name] is not value
        if (is_other or is_new_method) and id(value) not in told:
            told.add(id(value))
            yield name
    for name in before.keys() - now.keys():
        yield name


def _is_watched(module: str) -> bool:
    if module in _MODULES or module in _MORE_MODULES or module == "torch":
        return True
    package, _, inner = module.partition(".")
    if package not in _PACKAGES or any(part.startswith("_") for part in inner.split(".")):
        return module == "torch._tensor"
    if package == "torch":
        return any(inner == each or inner.startswith(f"{each}.") for each in _INNER_OF_TORCH)
    return package != "numpy" or inner in ("", "random")
