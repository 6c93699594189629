"""A small finished study in memory, and its front, for tests of fronts, figures and reports."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState
from search_tests.tiny import steady_latency, stored_earlier

from search import records
from search.latency.reading import Latency
from search.training.recipes import FAST
from space import Limits
from studies.fronts.front import ParetoFront, front_of
from studies.spec import StudySpec
from studies.storage import open_storage
from studies.study import LoadedStudy
from threshnet import NAMED, NetworkSpec
from threshnet.costs import count
from threshnet.schedules import schedule
from threshnet.spec import BlockSpec, StemSpec

INPUT_SIZE = 32
LIMITS = Limits(params=2_500_000, latency_ms=3.0)
CAVEAT = "Made-up numbers: nothing was trained, nothing was measured"


def sample_loaded(
    discovered: int = 12, named: Sequence[str] = ("threshnet28", "threshnet79"), limits: Limits = LIMITS, seed: int = 0
) -> LoadedStudy:
    """Make a study of `named` published networks followed by `discovered` random ones; no number is real."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study(study_name="sample", directions=["minimize", "minimize"])
    for name in named:
        spec = replace(NAMED[name], classes=10)
        _add(study, spec, name, limits, float(rng.uniform(28, 34)), float(rng.uniform(0.6, 0.8)))
    for _ in range(discovered):
        spec = random_network(rng)
        error = 20 + 60 * (count(spec, INPUT_SIZE).macs / 1e6) ** -0.5 + rng.uniform(0, 4)
        _add(study, spec, None, limits, float(error), float(rng.uniform(0.4, 0.6)))
    study_spec = StudySpec(name="sample", trials=max(discovered + len(named), 1), about="A sample study", caveat=CAVEAT)
    return LoadedStudy(
        study=study,
        spec=replace(study_spec, limits=limits),
        records=records.records(study),
        classes=tuple("0123456789"),
        images={"train": 1000, "validation": 200, "hash": "0"},
        environments=[],
        weights=Path("runs/sample/weights"),
    )


def with_stopped(loaded: LoadedStudy, stopped: int = 4, seed: int = 2) -> LoadedStudy:
    """Add random networks that stopped after the second epoch, and resume one of them."""
    rng = np.random.default_rng(seed)
    for _ in range(stopped):
        _add(loaded.study, random_network(rng), None, loaded.spec.limits, float(rng.uniform(50, 60)), 0.5, stopped=True)
    last = loaded.study.trials[-1]
    attrs = last.user_attrs | {records.RUNGS: {2: 55.0, FAST.epochs: 25.0}, records.CONTINUES: last.number}
    done = optuna.create_trial(values=[25.0, last.user_attrs[records.LATENCY_MS]], user_attrs=attrs)
    loaded.study.add_trial(done)
    return replace(loaded, records=records.records(loaded.study))


def sample_front(
    discovered: int = 12, named: Sequence[str] = ("threshnet28", "threshnet79"), limits: Limits = LIMITS, seed: int = 0
) -> ParetoFront:
    """Compute the front of the study of sample_loaded."""
    return front_of(sample_loaded(discovered, named, limits, seed))


def remeasured(
    loaded: LoadedStudy, device: str, runtime: str, missing: Collection[int] = (), seed: int = 1
) -> LoadedStudy:
    """Add made-up readings of another backend to the trained networks of a study, except those in `missing`."""
    rng = np.random.default_rng(seed)
    for record in loaded.records:
        if record.latency_ms and record.number not in missing:
            latency = sample_latency(1.5 * record.latency_ms * float(rng.uniform(0.5, 1.5)), rng)
            reading = replace(latency, device=device, runtime=runtime, processor="Imaginary Arm @ 1.5 GHz")
            key = f"{records.REMEASURED} {record.number} {reading.backend}"
            loaded.study.set_user_attr(key, stored_earlier(reading))
    return replace(loaded, records=records.records(loaded.study))


def many(trials: int, seed: int = 0) -> LoadedStudy:
    """Make a study of `trials` trials fast, by repeating networks and readings of sample_loaded."""
    rng = np.random.default_rng(seed)
    base = sample_loaded(40)
    pool = [sample_latency(float(ms), rng) for ms in np.geomspace(0.4, 8, 60)]
    made = []
    for number in range(trials):
        latency = pool[rng.integers(len(pool))]
        error = min(90.0, 20 + 10 / latency.latency_ms**0.3 + float(rng.exponential(8)))
        source = base.records[number % len(base.records)]
        named = source.named if number < len(base.records) else None
        record = replace(source, number=number, error=error, latency_ms=latency.latency_ms, named=named, weights="kept")
        latencies = {latency.backend: latency}
        made.append(replace(record, latency=latencies, fingerprint=f"{number:016x}", state="finished"))
    study = optuna.create_study(study_name="many", directions=["minimize", "minimize"])
    study.add_trials([optuna.create_trial(values=record.point[::-1]) for record in made])
    return replace(base, study=study, records=made, spec=replace(base.spec, name="many"))


def store(loaded: LoadedStudy, name: str, url: str) -> None:
    """Copy a study to a storage under another name."""
    into = open_storage(url, create=True)
    optuna.copy_study(
        from_study_name=loaded.study.study_name,
        from_storage=loaded.study._storage,
        to_storage=into,
        to_study_name=name,
    )
    study = optuna.load_study(study_name=name, storage=into)
    for key, value in (
        (records.SPEC, replace(loaded.spec, name=name, trials=40).to_json()),
        (records.CLASSES, list(loaded.classes)),
        (records.IMAGES, loaded.images),
    ):
        study.set_user_attr(key, value)


def random_network(rng: np.random.Generator) -> NetworkSpec:
    """Make a small network of three or four blocks with random schedules."""
    scale = float(rng.uniform(0.2, 1.2))
    blocks = [
        BlockSpec(
            links=schedule(tuple(sorted(int(t) for t in rng.integers(0, 4, size=rng.integers(2, 9))))),
            growth=2 + int(scale * rng.integers(4, 20)) * 2,
            transition=int(scale * rng.integers(16, 40)) * 4,
            unit="conv" if rng.random() < 0.6 else "bottleneck",
            bottleneck_width=int(48 * scale),
            pool=number > 0,
        )
        for number in range(int(rng.integers(3, 5)))
    ]
    return NetworkSpec(blocks=tuple(blocks), stem=StemSpec(widths=(32, 64), stride=2, pool=False))


def sample_latency(centre_ms: float, rng: np.random.Generator) -> Latency:
    """Make a reading of twenty rounds of skewed samples around `centre_ms`."""

    def rounds(milliseconds: float) -> tuple[tuple[float, ...], ...]:
        return tuple(map(tuple, (milliseconds * (1 + 0.05 * rng.exponential(size=(20, 16)))).tolist()))

    return steady_latency(
        centre_ms,
        rounds_ms=rounds(centre_ms),
        reference_rounds_ms=rounds(1.0),
        reference_ms=1.02,
        processor="Imaginary CPU @ 3 GHz",
        runtime_version="1.22.0",
        input_size=INPUT_SIZE,
    )


def _add(
    study: optuna.Study,
    spec: NetworkSpec,
    name: str | None,
    limits: Limits,
    error: float,
    ms_per_10m: float,
    *,
    stopped: bool = False,
) -> None:
    """Add an ended trial with the attributes that search.objective stores; `stopped` ends it after its second epoch.

    The raw samples are in the attribute, where earlier versions stored them, so that the study needs no folder.
    """
    costs = count(spec, INPUT_SIZE)
    rng = np.random.default_rng(costs.params)
    latency = sample_latency(0.1 + ms_per_10m * costs.macs / 1e7, rng)
    trial = study.ask()
    trial.set_user_attr(records.FINGERPRINT, spec.fingerprint())
    trial.set_user_attr(records.NETWORK, spec.to_json())
    if name:
        trial.set_user_attr(records.NAMED, name)
    columns = ("params", "macs", "flops", "madd", "memory_bytes")
    trial.set_user_attr(records.COSTS, {column: getattr(costs, column) for column in columns})
    trial.set_user_attr(records.LATENCY, {latency.backend: stored_earlier(latency)})
    trial.set_user_attr(records.IMAGE_PASSES, 60_000)
    trial.set_user_attr(records.EPOCHS, [{"number": 1, "loss": 1.5, "seconds": 2.0}])
    for constraint, value in (limits.of_costs(costs) | limits.of_latency(latency.latency_ms)).items():
        trial.set_constraint(constraint, value)
    if stopped:
        trial.set_user_attr(records.LATENCY_MS, latency.latency_ms)
        trial.set_user_attr(records.RUNGS, {2: error})
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, (error, latency.latency_ms))
