"""DWFormer."""

import numpy as np
from differentiate import run
from parity import Case

import foveal


def outputs(case: Case) -> dict[str, np.ndarray]:
    """Return the restored picture and its gradient."""
    return run(foveal.load_reference("dwformer", case.weights(), case.meta["config"]), case.inputs)
