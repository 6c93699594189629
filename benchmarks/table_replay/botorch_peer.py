"""BoTorch's Gaussian processes with qLogNEHVI, on the same features of the networks as ours.

Daulton, Balandat and Bakshy, 2021, "Parallel Bayesian optimization of multiple noisy objectives with expected
hypervolume improvement"; Ament et al., 2023, "Unexpected improvements to expected improvement". BoTorch is called
directly, because Ax cannot restrict its proposals to a list of networks. Settings are BoTorch's defaults. Every
proposal is trained to the end.
"""

import warnings

import numpy as np
import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.mlls import SumMarginalLogLikelihood
from torch import Tensor

from benchmarks.table_replay.ours import features
from benchmarks.table_replay.replay import Replay

SAMPLES = 64  # Monte Carlo samples of the acquisition
CHUNK = 512  # networks that are valued at once


def search(replay: Replay, seed: int) -> None:
    """Train the start networks, then always the network with the highest acquisition value."""
    torch.manual_seed(seed)
    columns = features(replay.table, replay.networks).columns
    low, high = columns.min(axis=0), columns.max(axis=0)
    inputs = torch.as_tensor((columns - low) / np.where(high > low, high - low, 1.0))
    place_of = {int(network): place for place, network in enumerate(replay.networks)}
    trained = [place_of[network] for network in replay.starts]
    for network in replay.starts:
        replay.train(network, replay.top)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numerical warnings
        while replay.open and len(trained) < len(columns):
            left = np.setdiff1d(np.arange(len(columns)), trained)
            values = acquisition_values(replay, inputs, trained, inputs[left], seed)
            chosen = int(left[int(values.argmax())])
            replay.train(int(replay.networks[chosen]), replay.top)
            trained.append(chosen)


def acquisition_values(replay: Replay, inputs: Tensor, trained: list[int], candidates: Tensor, seed: int) -> Tensor:
    """Return the acquisition values (m,) of candidates (m, k), given the trained networks."""
    networks = replay.networks[trained]
    latency = np.array([replay.latency[int(network)] for network in networks])
    errors = np.array([replay.errors[int(network)][replay.top] for network in networks])
    outcomes = -torch.as_tensor(replay.box.placed(np.column_stack([latency, errors])))
    known = inputs[trained]
    models = [SingleTaskGP(known, outcomes[:, [objective]]) for objective in range(2)]
    model = ModelListGP(*models)
    fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
    edges = -replay.box.placed((replay.box.max_latency_ms, replay.box.max_error))[0]
    acquisition = qLogNoisyExpectedHypervolumeImprovement(
        model=model,
        ref_point=edges.tolist(),
        X_baseline=known,
        sampler=SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=seed),
        prune_baseline=True,
    )
    with torch.no_grad():
        return torch.cat([acquisition(part[:, None, :]) for part in candidates.split(CHUNK)])
