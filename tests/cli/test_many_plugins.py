"""Tests of `plugins list` where much is installed."""

import sys

import pytest

from ignite_threenet.testing.fixtures import InstallDistribution, RunCli

# Each plugin by its module.
PLUGINS = {f"many_acme_{number:03}": f"acme-{number:03}" for number in range(100)}
SOURCE = '''
class Acme:
    """One of many."""

raise RuntimeError("imported")
'''


@pytest.mark.parametrize("distributions", [1, 100])
def test_a_hundred_plugins_are_listed_and_none_is_imported(
    install_distribution: InstallDistribution, run_cli: RunCli, distributions: int
) -> None:
    expected = []
    for number in range(distributions):
        modules = list(PLUGINS)[number::distributions]
        name, version = f"dist-{number}", f"1.{number}"
        entry_points = {PLUGINS[module]: f"{module}:Acme" for module in modules}
        install_distribution(name, entry_points, dict.fromkeys(modules, SOURCE), version)
        expected += [[PLUGINS[module], name, version, "One of many."] for module in modules]

    result = run_cli("plugins", "list")

    rows = [line.split(maxsplit=3) for line in result.stdout.splitlines()]
    assert [row for row in rows if row[0].startswith("acme-")] == sorted(expected)
    assert result.exit_code == 0
    assert not PLUGINS.keys() & sys.modules.keys()
