"""What fresh processes begin with: torch, this package, and nothing of the user's."""

import torch._dynamo  # torch imports it with the first optimizer, in a second
from tqdm import tqdm

from . import run

__all__ = ["run", "torch"]

# Its semaphores are the system's, and one that a killed process has made would be left over.
tqdm.get_lock()  # type: ignore[no-untyped-call]
