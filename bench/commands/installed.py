"""What of the packages that this one asks for is installed: those it always needs, and those that extras add."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement

ADDS = {
    "torchao": "int4 and int8 kernels of torchao as compressors",
    "energy": "energy of NVIDIA GPUs among the costs",
    "checkpoints": "states from compressed-tensors and GGUF checkpoints",
    "plot": "figures as SVG and PNG (`saetransfer plot`)",
    "ray": "runs on a cluster (`run --executor ray`)",
}
"""Extra -> what it is good for."""
DEVELOPERS = ("test", "dev")
"""Extras for those who work on this package."""


@dataclass(frozen=True)
class Package:
    """A package that is asked for."""

    name: str
    needed: str
    """The versions that will do, as in `>=2.6,<3`."""
    found: str | None
    """The version that is installed; None for none."""

    @property
    def fits(self) -> bool:
        """Whether a version that will do is installed."""
        return self.found is not None and Requirement(f"x{self.needed}").specifier.contains(
            self.found, prereleases=True
        )


@dataclass(frozen=True)
class Extra:
    """An optional part of this package."""

    name: str
    adds: str
    packages: tuple[Package, ...]

    @property
    def is_installed(self) -> bool:
        """Whether all its packages are there."""
        return all(package.fits for package in self.packages)


def always_needed() -> list[Package]:
    """The packages without which nothing works."""
    return [_package(one) for one in _requirements() if one.marker is None or one.marker.evaluate({"extra": ""})]


def extras() -> list[Extra]:
    """The extras for users, in the order of their names."""
    by_name: dict[str, list[Package]] = {}
    for one in _requirements():
        for name in _extras_of(one):
            by_name.setdefault(name, []).append(_package(one))
    return [
        Extra(name, ADDS.get(name, ""), tuple(packages))
        for name, packages in sorted(by_name.items())
        if name not in DEVELOPERS
    ]


def _requirements() -> list[Requirement]:
    return [Requirement(text) for text in requires("saetransfer") or ()]


def _extras_of(requirement: Requirement) -> list[str]:
    marker = requirement.marker
    if marker is None or marker.evaluate({"extra": ""}):
        return []
    names = metadata("saetransfer").get_all("Provides-Extra") or []
    return [name for name in names if marker.evaluate({"extra": name})]


def _package(requirement: Requirement) -> Package:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        found = None
    return Package(requirement.name, str(requirement.specifier), found)
