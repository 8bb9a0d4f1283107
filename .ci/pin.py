"""Print `constraints.txt`: exact versions of all packages this project needs, as installed here.

Follows the requirements of `tml-lab` with all its extras through the installed packages' metadata, so that
tools which merely happen to be installed are left out. Run it as `make constraints`.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = "tml-lab"
UNPINNED = {"offline", "ray", "rivals"}  # extras that nobody installs by default
HEADER = """\
# Exact versions, the whole transitive set: what continuous integration and `make lab` install.
# Written by `make constraints`; pyproject.toml holds the ranges.
"""


def wanted(requirement: Requirement, extras: set[str]) -> bool:
    """Whether a requirement applies on this machine, given the extras asked of the package that states it."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def closure(root: str) -> tuple[dict[str, str], set[str]]:
    """All packages reached from `root` and its extras: `{name: version}`, and the names not installed."""
    extras_of_root = set(distribution(root).metadata.get_all("Provides-Extra") or []) - UNPINNED
    todo, seen = [(root, extras_of_root | {""})], dict[str, set[str]]()
    versions, missing = dict[str, str](), set[str]()
    while todo:
        name, extras = todo.pop()
        if extras <= seen.get(name, set()):
            continue
        seen[name] = seen.get(name, set()) | extras
        try:
            package = distribution(name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        versions[name] = Version(package.version).public  # torch 2.13.0+cpu -> 2.13.0
        for requirement in map(Requirement, package.requires or []):
            if wanted(requirement, seen[name]):
                todo.append((canonicalize_name(requirement.name), {"", *requirement.extras}))
    return versions, missing


def main() -> None:
    versions, missing = closure(ROOT)
    if missing:
        sys.exit(f"pin: not installed: {', '.join(sorted(missing))}; run `make install-test` first")
    del versions[ROOT]
    print(HEADER + "\n".join(f"{name}=={version}" for name, version in sorted(versions.items())))


if __name__ == "__main__":
    main()
