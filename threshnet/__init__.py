"""ThreshNets as data: specs, schedules, costs and named networks. Importing this package does not import torch."""

from threshnet.errors import InputError
from threshnet.named import NAMED, named
from threshnet.spec import BlockSpec, NetworkSpec, StemSpec

__all__ = ["NAMED", "BlockSpec", "InputError", "NetworkSpec", "StemSpec", "named"]

__version__ = "0.5.0.dev0"  # of the distribution threshnet-nas: the wheel, `threshnet --version` and pip read it here
