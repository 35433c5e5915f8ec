"""Where networks run that no launcher places."""

import torch


def own_device() -> torch.device:
    """This process's GPU, or the CPU where it has none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
