"""Which extra of its distribution a plugin lacks: packages that are not installed by themselves."""

import importlib.metadata
import re
from collections.abc import Iterator

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def explain_missing_extra(error: BaseException, distribution: str, plugin: str) -> str:
    """Say which extra is missing and how to install it, if that is why a plugin failed.

    Args:
        error: why it failed.
        distribution: the name of the plugin's distribution.
        plugin: the plugin's name.

    Returns:
        The explanation; "" if it failed for another reason.
    """
    missing = dict(_find_missing(distribution))
    causes = [*_causes(error)]
    for cause in causes:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            extra = _choose(missing, cause.name.partition(".")[0], plugin)
            if extra:
                return _explain(distribution, extra, missing[extra])
    for extra, packages in missing.items():
        # As it says itself: pip install 'acme[extra]'.
        if any(f"{distribution}[{extra}]" in str(cause) for cause in causes):
            return _explain(distribution, extra, packages)
    return ""


def _explain(distribution: str, extra: str, packages: list[str]) -> str:
    return f"needs {', '.join(packages)}: pip install '{distribution}[{extra}]'"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _find_missing(distribution: str) -> Iterator[tuple[str, list[str]]]:
    """List the extras of which packages are not installed, with those."""
    try:
        requirements = importlib.metadata.requires(distribution) or []
    except Exception:  # as of a file, or a distribution that cannot be read
        return
    lacking: dict[str, list[str]] = {}
    for requirement in requirements:
        name, extra = _REQUIREMENT.match(requirement), _EXTRA.search(requirement)
        if name and extra and not any(importlib.metadata.distributions(name=name[1])):
            lacking.setdefault(extra[1], []).append(name[1])
    yield from lacking.items()


def _choose(missing: dict[str, list[str]], module: str, plugin: str) -> str:
    """Choose the extra that brings a module; a package may have another name than its module."""
    for extra, packages in missing.items():
        if any(_is_like(module, package) for package in packages):
            return extra
    if plugin in missing:
        return plugin
    return next(iter(missing)) if len(missing) == 1 else ""


def _is_like(module: str, package: str) -> bool:
    plain = re.sub(r"[-_.]+", "", package).lower()
    return re.sub(r"_+", "", module).lower() in plain
