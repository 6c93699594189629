"""The check that no file of the user hides a package of this distribution."""

from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("search", "space", "studies", "threshnet")
HOME = Path(__file__).resolve().parents[1]  # the folder that contains the packages


def check() -> None:
    """Raise ImportError, which names the file, if a module of the same name comes first on the import path."""
    for name in PACKAGES:
        origin = _origin(name)
        if origin != HOME / name / "__init__.py":
            raise ImportError(f"{origin} hides the package {name!r} of threshnet-nas; rename it") from None


def _origin(name: str) -> Path | None:
    """Return the file that `import name` loads or has loaded, None if there is none."""
    try:
        spec = find_spec(name)
    except ValueError:  # loaded, but without a spec
        return None
    return Path(spec.origin).resolve() if spec and spec.origin else None
