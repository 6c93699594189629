"""Time that the default sampler takes to propose a network: `python -m benchmarks.proposal_time`.

Studies in memory are filled with synthetic trials of random networks. As in a real study, most networks are stopped at
a rung. Only decisions are timed, on one core, with a full pool of new networks.
"""

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial
from threadpoolctl import threadpool_limits

from benchmarks.report import Document, conditions, options, publish, recorded, table
from search import records
from search.latency.devices.named import device_named
from search.latency.probes.probe import processor_name, usable_processors
from search.latency.protocol import Protocol
from search.samplers.freeze_thaw import FreezeThawSampler
from search.samplers.pool import ADDED_PER_ROUND, POOL_SIZE
from search.task import Task
from search.training.recipes import FAST
from space import DEFAULT, Limits, decode

TRIALS, QUICK_TRIALS = (100, 1000, 5000), (100,)
GOALS_S = {100: 1.0, 1000: 2.0, 5000: 5.0}  # --check: highest medians
PROPOSALS, QUICK_PROPOSALS = 15, 3
RUNGS = (1, 2, 4, 8)
INPUT_SIZE = 32
PACKAGES = ("optuna", "numpy", "scipy")


def task() -> Task:
    """Return the search problem of a study on small images with four rungs."""
    return Task(
        space=DEFAULT,
        input_size=INPUT_SIZE,
        limits=Limits(),
        recipe=FAST,
        flip=False,
        seed=0,
        rungs=RUNGS,
        trains_on="cpu",
        training_lease="proposal_time",
        device=device_named("cpu"),
        runtimes=("onnxruntime",),
        protocol=Protocol(),
    )


def trials(of: Task, number: int, rng: np.random.Generator) -> list[FrozenTrial]:
    """Return finished trials of random networks: half are stopped at each rung, and large networks are better."""
    distributions = of.space.distributions()
    found: list[FrozenTrial] = []
    while len(found) < number:
        params = {name: int(rng.integers(each.low, each.high + 1)) for name, each in distributions.items()}
        spec = decode(of.space, params)
        costs, _ = of.counted(spec)
        if costs is None:
            continue
        last = int(min(rng.geometric(0.5), len(RUNGS))) - 1
        final = max(1.0, 100 - 15 * np.log10(costs.params) + rng.normal(0, 2))
        errors = {str(rung): float(min(95.0, final * (1 + 1 / rung))) for rung in RUNGS[: last + 1]}
        latency_ms = float(costs.macs / 1e8 * np.exp(rng.normal(0, 0.1)) + 0.05)
        counted = {key: value for key, value in asdict(costs).items() if key != "input_size"}
        complete = last == len(RUNGS) - 1
        found.append(
            create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                values=[errors[str(RUNGS[-1])], latency_ms] if complete else None,
                params=params,
                distributions=dict(distributions),
                user_attrs={
                    records.FINGERPRINT: spec.fingerprint(),
                    records.COSTS: counted,
                    records.LATENCY_MS: latency_ms,
                    records.MEASURING_S: 1.0,
                    records.RUNGS: errors,
                },
                system_attrs={
                    records.NETWORK: spec.to_json(),
                    records.EPOCHS: [{"number": epoch, "loss": 1.0, "seconds": 10.0} for epoch in range(RUNGS[last])],
                },
            )
        )
    return found


def seconds_of(size: int, proposals: int) -> list[float]:
    """Return the times of some proposals in seconds, in a study of this many trials and with a full pool."""
    of = task()
    sampler = FreezeThawSampler(of, 0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=optuna.samplers.RandomSampler(0))
    study.add_trials(trials(of, size, np.random.default_rng(0)))
    space = sampler.infer_relative_search_space(study, study.trials[0])
    found = []
    for proposal in range(POOL_SIZE // ADDED_PER_ROUND + proposals):
        number = study.ask().number
        trial = study.get_trials(deepcopy=False)[number]
        start = time.perf_counter()
        sampler.sample_relative(study, trial, space)
        found.append(time.perf_counter() - start)
        if proposal % 10 == 0:
            sys.stderr.write(f"{size} trials, proposal {proposal}: {found[-1]:.2f} s\n")
    return found[-proposals:]


def render(document: Document) -> str:
    """Render the page."""
    rows = [
        [
            f"{int(number):,}",
            f"{median(each['seconds']):.2f}",
            f"{max(each['seconds']):.2f}",
            f"{each['memory_mib']:,.0f}",
        ]
        for number, each in document["studies"].items()
    ]
    number = len(next(iter(document["studies"].values()))["seconds"])
    return "\n\n".join(
        [
            table(["Trials", "median, s", "maximum, s", "peak memory, MiB"], rows),
            f"Time of one proposal of the sampler `freeze_thaw` (n = {number}), on one core, with synthetic trials of "
            f"the space `{DEFAULT.name}` in memory, {len(RUNGS)} rungs and a pool of {POOL_SIZE:,} networks. The "
            "memory is that of the whole process, and that of larger studies includes the smaller ones before them.",
            f"Conditions: {document['conditions']}.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Time proposals, print and write the page, and return the exit status."""
    goal = "the medians are at most " + ", ".join(
        f"{most:g} s at {number:,} trials" for number, most in GOALS_S.items()
    )
    args = options("proposal_time", "Time of the default sampler per proposal, as Markdown.", goal).parse_args(
        arguments
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if args.render:
        document = recorded(args.render)
    else:
        studies = {}
        with threadpool_limits(1):
            for number in QUICK_TRIALS if args.quick else TRIALS:
                seconds = seconds_of(number, QUICK_PROPOSALS if args.quick else PROPOSALS)
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
                studies[str(number)] = {"seconds": [round(each, 3) for each in seconds], "memory_mib": round(memory)}
        facts = conditions(f"{processor_name()} ({usable_processors()} processors)", packages=PACKAGES)
        document = {"conditions": facts, "studies": studies}
    publish(render, document, args.output)
    slow = any(median(each["seconds"]) > GOALS_S[int(number)] for number, each in document["studies"].items())
    return int(args.check and slow)


if __name__ == "__main__":
    sys.exit(main())
