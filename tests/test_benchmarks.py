import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from benchmarks import measurements, processes
from benchmarks.__main__ import main
from benchmarks.contenders import Contender, HandDerived
from benchmarks.products import backward_products, forward_products, multiply
from benchmarks.report import format_table
from benchmarks.setting import Setting
from benchmarks.tables import Row, Table, take_turns
from ignite_threenet import ThreeNet, load_data

MakeSetting = Callable[..., Setting]


@pytest.fixture
def make_setting(small_digits: None, tmp_path: Path) -> MakeSetting:
    def make(**options: object) -> Setting:
        tiny: dict[str, object] = {
            "rounds": 1,
            "epochs_per_run": 1,
            "pil_batches": 1,
            "plugin_epochs": 2,
            "seeds": 1,
        }
        work_dir = tmp_path / "work"
        work_dir.mkdir()
        dataset = load_data("digits", tmp_path)
        place = (dataset, tmp_path, work_dir, torch.device("cpu"))
        return Setting(*place, **(tiny | options))  # type: ignore[arg-type]

    return make


def hide_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "find_spec", lambda package: None)


def test_the_command_prints_tables_and_writes_json_and_a_picture(
    small_digits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_packages(monkeypatch)
    only = ["--only", "epoch", "--only", "plugins", "--only", "accuracy"]
    files = ["--json", "all.json", "--picture", "epoch.png"]

    result = CliRunner().invoke(main, ["--quick", "--device", "cpu", *only, *files])

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert "epoch (digits): seconds an epoch, 512 samples, batch 256, float32" in lines
    assert any(line.startswith("  ignite-threenet run, default plugins") for line in lines)
    assert "  left out: JAX, one jitted scan an epoch (not installed: jax)" in lines
    assert lines[-1].startswith("machine: ")
    assert f"torch {torch.__version__}, cpu" in lines[-1]
    written = json.loads(Path("all.json").read_text())
    assert written["dataset"] == "digits"
    assert [table["name"] for table in written["tables"]] == ["plugins", "epoch", "accuracy"]
    assert all(row["median"] >= 0 for table in written["tables"] for row in table["rows"])
    assert Path("epoch.png").read_bytes().startswith(b"\x89PNG")


def test_one_contender_is_measured_beside_the_floor(make_setting: MakeSetting) -> None:
    table = measurements.measure_epoch(make_setting(rounds=2), ["by-hand"])

    floor, by_hand = table.rows
    assert floor.label == table.baseline
    assert table.ratio(floor) == 1.0
    assert table.ratio(by_hand) == by_hand.median / floor.median
    assert [len(row.values) for row in table.rows] == [2, 2]


def test_a_picture_of_what_is_not_measured_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--only", "start", "--picture", "epoch.png"])

    assert result.exit_code == 2
    assert "--picture shows the epoch, which --only leaves out" in result.output


def test_a_peer_that_fails_is_left_out_and_its_error_shown(
    make_setting: MakeSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Contender):
        name, label = "failing", "a failing peer"

        def seconds(self) -> float:
            raise OSError("out of order")

    monkeypatch.setitem(measurements.CONTENDERS, "failing", Failing)

    table = measurements.measure_epoch(make_setting(), ["failing"])

    assert table.left_out == {"a failing peer": "failed: OSError: out of order"}
    assert "  left out: a failing peer (failed: OSError: out of order)" in format_table(table, "x")


def test_the_gradients_derived_by_hand_are_those_of_autograd(make_setting: MakeSetting) -> None:
    by_hand = HandDerived(make_setting())
    model = ThreeNet()
    with torch.no_grad():
        own = [parameter for layer in by_hand.layers for parameter in layer]
        for parameter, value in zip(model.parameters(), own, strict=True):
            parameter.copy_(value)
    inputs, targets = torch.rand(32, 784), torch.randint(10, (32,))

    gradients = [each for layer in by_hand.gradients(inputs, targets) for each in layer]

    loss = nn.NLLLoss()(model(inputs), targets)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(gradients, list(expected))
    torch.testing.assert_close(by_hand.loss_sum, loss.detach() * 32)


def test_the_floor_has_the_shapes_of_a_step() -> None:
    cpu = torch.device("cpu")
    products = forward_products(5, cpu) + backward_products(5, cpu)
    multiply(products)

    assert [(*left.shape, right.shape[1]) for left, right, _ in products] == [
        (5, 784, 200),
        (5, 200, 60),
        (5, 60, 10),
        (200, 5, 784),
        (60, 5, 200),
        (10, 5, 60),
        (5, 60, 200),
        (5, 10, 60),
    ]
    for left, right, result in products:
        torch.testing.assert_close(result, left @ right)


def test_the_turns_go_round_robin_after_one_that_does_not_count() -> None:
    calls: list[str] = []

    def measure(name: str) -> Callable[[], float]:
        return lambda: calls.append(name) or float(len(calls))  # type: ignore[func-returns-value]

    values = take_turns({"a": measure("a"), "b": measure("b")}, rounds=2)

    assert calls == ["a", "b"] * 3
    assert values == {"a": (3.0, 5.0), "b": (4.0, 6.0)}


def test_a_table_shows_medians_ranges_ratios_and_notes(tmp_path: Path) -> None:
    rows = [Row("floor: f", [2.0, 1.0, 3.0]), Row("other", [3.0, 9.0, 3.5], note="so to speak")]
    table = Table("epoch", "seconds", rows, baseline="floor: f", left_out={"absent": "gone"})

    assert format_table(table, "digits").splitlines() == [
        "epoch (digits): seconds",
        "             median   lowest  highest  / floor",
        "  floor: f  2.000 s  1.000 s  3.000 s    1.000",
        "  other     3.500 s  3.000 s  9.000 s    1.750  so to speak",
        "  left out: absent (gone)",
    ]


def test_the_peak_of_memory_is_that_of_the_command_alone() -> None:
    held_here = bytearray(300_000_000)
    command = (sys.executable, "-c", "held = bytearray(50_000_000)")

    assert 50 <= processes.peak_megabytes(command) < len(held_here) / 1e6


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)failed: .*out of order"):
        processes.peak_megabytes((sys.executable, "-c", "raise OSError('out of order')"))
