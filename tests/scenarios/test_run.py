"""Runs of shipped scenarios at reduced size: folders, determinism, faults, bad places to write."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from analysis.store import read_run
from analysis.tables.summary import summary_rows
from protocols.learning.eager import EagerExecutor
from protocols.learning.executor import BatchedExecutor
from scenarios import run as run_module
from scenarios.build import build
from scenarios.load import load
from scenarios.run import run
from scenarios.studies.reaccount import in_unit, reaccount
from simulator.errors import ConfigurationError, StorageError
from tests.support.matrix import covering

SMALL = ["protocol.rounds=4", "evaluation.every='500 ms'"]
STAR = 'topology={kind="star", nodes=16}'
TREE = 'topology={kind="tree", branching=3, height=2}'
LOCAL = "privacy.noise=member"
HEADLINES = {
    "accuracy_mean", "accuracy_worst", "consensus_distance", "simulated_s", "rounds", "messages_sent",
    "messages_lost", "bytes_sent", "epsilon_worst", "epsilon_median", "delta", "adjacency", "unit", "basis",
    "observers", "wall_s", "trace_hash",
}  # fmt: skip


def small(tmp_path: Path, *sets: str, scenario: str = "quickstart", name: str = "run", **options: Any) -> Any:
    loaded = load(Path(scenario), [*SMALL, *sets])
    return run(loaded.scenario, tmp_path / name, **options)


def same(summary: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in summary.items() if k != "wall_s"}


def test_a_run_folder_has_everything_and_the_message_counts_balance(tmp_path: Path) -> None:
    summary = small(tmp_path)
    folder = read_run(tmp_path / "run")
    assert summary.keys() >= HEADLINES
    assert json.loads((tmp_path / "run" / "summary.json").read_text()).keys() == summary.keys()
    assert folder.manifest["status"] == summary["status"] == "finished"
    assert len(folder.manifest["topology"]["edges"]) == 32
    assert folder.manifest["mixing"]["doubly_stochastic"]
    counts = dict(folder.messages["status"].value_counts().iter_rows())
    assert sum(counts.values()) == summary["messages_sent"]
    assert counts["lost"] == summary["messages_lost"]
    assert folder.messages["size_bytes"].sum() == summary["bytes_sent"]
    assert set(folder.privacy["basis"].unique()) == {"certified", "open-loop"}
    assert folder.privacy["t_s"].max() == pytest.approx(summary["simulated_s"])
    final = folder.metrics.filter(pl.col("t_s") == pl.col("t_s").max(), pl.col("metric") == "accuracy")
    assert final["value"].mean() == pytest.approx(summary["accuracy_mean"])


@pytest.mark.parametrize(
    "sets",
    [
        ["network.duplication=0.2", "adversary={tamper=[{kind='drop', nodes=[2], probability=0.5}]}"],
        ["network.transport={kind='reliable', timeout='60 ms', attempts=3}", "network.loss=0.3"],
        [
            "adversary={tamper=[{kind='replay', links=[[0, 4], [4, 0]], after='50 ms'}]}",
            "fault=[{kind='partition', groups=[[0, 1, 2], [3, 4, 5]], at='300 ms', until='900 ms'}]",
        ],
    ],
)
def test_bytes_are_those_of_the_attempts_in_the_folder(tmp_path: Path, sets: list[str]) -> None:
    summary = small(tmp_path, *sets)
    messages = read_run(tmp_path / "run").messages
    assert (messages["size_bytes"] * messages["attempts"]).sum() == summary["bytes_sent"]
    assert messages["sent_s"].is_sorted()
    assert len(messages) == summary["messages_sent"]
    assert set(messages["attempts"].unique()) != {1}, "nothing happened that this test is about"


def test_same_seed_same_trace_and_same_numbers(tmp_path: Path) -> None:
    first, second = (small(tmp_path, name=name) for name in "ab")
    assert same(first) == same(second)
    other = small(tmp_path, "seed=2", name="c")
    assert other["trace_hash"] != first["trace_hash"]


def test_eager_and_batched_execution_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batched = small(tmp_path, name="batched")
    monkeypatch.setattr(run_module, "BatchedExecutor", EagerExecutor)
    eager = small(tmp_path, name="eager")
    assert eager["trace_hash"] == batched["trace_hash"]
    assert eager["accuracy_mean"] == pytest.approx(batched["accuracy_mean"], abs=0.01)
    assert eager["consensus_distance"] == pytest.approx(batched["consensus_distance"], rel=1e-4)
    assert eager["epsilon_worst_open_loop"] == batched["epsilon_worst_open_loop"]


def test_local_steps_that_are_due_together_share_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executors: list[BatchedExecutor] = []

    def remember() -> BatchedExecutor:
        executors.append(BatchedExecutor())
        return executors[-1]

    monkeypatch.setattr(run_module, "BatchedExecutor", remember)
    small(tmp_path)
    assert executors[0].ops > 4 * executors[0].calls


def test_ideal_crypto_changes_nothing_but_the_masks(tmp_path: Path) -> None:
    real, ideal = (small(tmp_path, f"secure.crypto={kind}", name=kind) for kind in ("real", "ideal"))
    assert same(real) == same(ideal)


@pytest.mark.parametrize(
    ("sets", "protocol"),
    covering(
        [
            (["protocol.exchange=ldp", "privacy.noise=member"], "dsgd/ldp"),
            (["protocol.exchange=plain"], "dsgd/plain"),
            (['protocol={kind="push", rounds=6, exchange="ldp"}', "privacy.noise=member"], "push/ldp"),
            (['protocol={kind="push", rounds=6, exchange="plain"}'], "push/plain"),
            (['protocol={kind="pull", rounds=6, exchange="ldp", staleness="weight"}', LOCAL], "pull/ldp"),
            (
                ['protocol={kind="push-pull", rounds=6, exchange="plain", merge="update-merge"}'],
                "push-pull/plain",
            ),
            (['protocol={kind="ad-psgd", rounds=6, exchange="ldp"}', LOCAL], "ad-psgd/ldp"),
            (
                ['protocol={kind="push-sum", rounds=6, exchange="ldp", reliable="running-sums"}', LOCAL],
                "push-sum/ldp",
            ),
            (
                ['protocol={kind="gradient-tracking", rounds=6, exchange="ldp"}', LOCAL],
                "gradient-tracking/ldp",
            ),
            (
                ['protocol={kind="fedavg", rounds=6, exchange="ldp", weights="samples"}', STAR, LOCAL],
                "fedavg/ldp",
            ),
            (
                [
                    'protocol={kind="hierarchical-fedavg", rounds=6, exchange="ldp", participation="50 %"}',
                    TREE,
                    LOCAL,
                    "fault=[]",
                ],
                "hierarchical-fedavg/ldp",
            ),
            (['protocol={kind="centralised", rounds=6, exchange="plain"}', "fault=[]"], "centralised/plain"),
            (["protocol.mix_every=2"], "dsgd/secure"),
            (["model.kind=mlp"], "dsgd/secure"),
            (["privacy.unit=node", "privacy.adjacency=replace"], "dsgd/secure"),
            (["privacy.noise_multiplier=5", "privacy.observers=[[7], [7, 8]]"], "dsgd/secure"),
            (
                ['mixing.kind="max-degree"', "network.latency={kind='uniform', low='1 ms', high='9 ms'}"],
                "dsgd/secure",
            ),
        ],
        lambda case: (
            case[1]
            in ("dsgd/plain", "push/ldp", "fedavg/ldp", "hierarchical-fedavg/ldp", "centralised/plain")
            or case[0] == ["model.kind=mlp"]
        ),
    ),
)
def test_every_protocol_and_option_runs(tmp_path: Path, sets: list[str], protocol: str) -> None:
    summary = small(tmp_path, *sets)
    assert summary["protocol"] == protocol
    assert summary["status"] == "finished"
    assert np.isfinite(summary["accuracy_mean"])
    plain = protocol.endswith("plain")
    assert np.isinf(summary["epsilon_worst"]) == plain


def test_pooled_data_claim_nothing_even_if_asked_later(tmp_path: Path) -> None:
    """Nothing is sent, but that is no privacy: the data had been handed over before."""
    bound = ['protocol={kind="centralised", rounds=30, exchange="plain"}', "fault=[]", "privacy.clip=1.0"]
    summary = small(tmp_path, *bound)
    assert summary["epsilon_worst"] == summary["epsilon_worst_open_loop"] == float("inf")
    assert summary["messages_sent"] == 0
    assert summary["accuracy_mean"] == summary["accuracy_worst"] > 0.8
    with pytest.raises(ConfigurationError, match="no privacy is claimed"):
        reaccount(tmp_path / "run", observers=None, unit=None, adjacency=None, delta=None)


@pytest.mark.parametrize(
    "training",
    covering(
        [
            [],
            ["training.batch=400"],
            ["training={step=0.5, batch=400}", "privacy.clip=0.1"],
            ["training={step=0.5, batch=400, local_epochs=1}"],
        ],
        lambda training: "privacy.clip=0.1" in training,
    ),
)
def test_training_at_one_place_is_gossip_on_the_complete_graph(tmp_path: Path, training: list[str]) -> None:
    """Without losses: records are clipped one by one in both, and batches that hold all samples are the same ones."""
    common = ['topology={kind="complete", nodes=16}', "fault=[]", "network.loss=0", *training]
    runs = [
        small(tmp_path, *common, f'protocol={{kind="{kind}", rounds=6, exchange="plain"}}', name=kind)
        for kind in ("dsgd", "centralised")
    ]
    assert runs[0]["loss_mean"] == pytest.approx(runs[1]["loss_mean"], rel=1e-4)


def test_one_place_takes_as_many_samples_a_step_as_all_nodes(tmp_path: Path) -> None:
    """Fewer where a node has fewer than a batch; the divisor grows with the nodes."""
    raw = load(Path("quickstart"), ['protocol={kind="centralised", rounds=1, exchange="plain"}', "fault=[]"])
    training = raw.scenario.training.model_copy(update={"batch": 50, "divisor": None})
    parts = build(raw.scenario.model_copy(update={"training": training}), EagerExecutor(), tmp_path)
    held = parts.learning.shares.holdings.train
    assert min(map(len, held)) < 50 < max(map(len, held))
    operations = parts.learner.operations
    assert operations.batches.batch == sum(min(50, len(part)) for part in held)
    assert operations.divisor == 50 * 16


def test_training_alone_shows_nothing(tmp_path: Path) -> None:
    summary = small(tmp_path, 'protocol={kind="local", rounds=6, exchange="ldp"}', "privacy.noise=member")
    assert summary["messages_sent"] == 0
    assert summary["epsilon_worst"] == 0


def test_push_sum_says_how_much_mass_is_left(tmp_path: Path) -> None:
    protocol = 'protocol={kind="push-sum", rounds=6, exchange="plain", reliable="%s"}'
    lossy = ["network.loss=10 %", "fault=[]"]
    lost, kept = (
        small(tmp_path, protocol % how, *lossy, name=how)["mass_held"] for how in ("none", "running-sums")
    )
    assert lost < kept <= 1
    assert small(tmp_path, "protocol.exchange=plain", name="dsgd")["mass_held"] is None


def test_a_curious_node_sees_models_with_their_public_numbers(tmp_path: Path) -> None:
    protocol = 'protocol={kind="push-sum", rounds=4, exchange="plain"}'
    small(tmp_path, protocol, "adversary.curious={nodes=[7]}")
    view = pl.read_parquet(tmp_path / "run" / "views" / "7.parquet")
    assert set(view["kind"]) == {"model"}
    assert view["values"].list.len().unique().to_list() == [651]
    weights = view.filter(pl.col("round") == 0)["values"].list.last().to_list()
    assert weights == pytest.approx([0.2] * len(weights))


def test_plain_gossip_claims_nothing(tmp_path: Path) -> None:
    summary = small(tmp_path, "protocol.exchange=plain")
    assert summary["epsilon_worst"] == summary["epsilon_worst_open_loop"] == float("inf")
    assert '"epsilon_worst": "inf"' in (tmp_path / "run" / "summary.json").read_text()


def test_the_loss_free_complete_graph_is_certified_by_its_sums(tmp_path: Path) -> None:
    """T rounds of sums with noise z·C each: μ² = T/z², far below the local bound T·15/z²."""
    from protocols.privacy.accounting import epsilon_of

    summary = small(
        tmp_path,
        'topology={kind="complete", nodes=16}',
        "network.loss=0",
        "secure.tolerated_dropouts=0",
        "fault=[]",
        "privacy.noise_multiplier=5.0",
    )
    assert summary["epsilon_worst"] == pytest.approx(epsilon_of(4 / 25, 1e-5), rel=1e-9)


def test_target_epsilon_is_met_by_the_calibrated_noise(tmp_path: Path) -> None:
    text = Path("scenarios/library/quickstart.toml").read_text()
    file = tmp_path / "target.toml"
    file.write_text(text.replace("noise_multiplier = 17.32", "target_epsilon = 2.0"))
    loaded = load(file, SMALL)
    summary = run(loaded.scenario, tmp_path / "run")
    assert summary["epsilon_worst"] <= 2.0 + 1e-9
    assert summary["epsilon_worst"] > 1.5


def test_adversaries_change_nobody_elses_randomness(tmp_path: Path) -> None:
    calm = small(tmp_path, name="calm")
    both = small(tmp_path, "adversary.byzantine.enabled=true", "adversary.curious.enabled=true", name="both")
    assert calm["trace_hash"] == both["trace_hash"]
    view = pl.read_parquet(tmp_path / "both" / "views" / "7.parquet")
    assert {"masked", "opened sum"} <= set(view["kind"].unique())
    honest = read_run(tmp_path / "both").metrics.filter(pl.col("metric") == "accuracy")
    assert 5 not in honest["node"].unique()


def test_diverged_training_is_a_result(tmp_path: Path) -> None:
    summary = small(tmp_path, "training.step=1e38", "protocol.exchange=plain", "protocol.rounds=3")
    assert summary["status"] == "diverged"
    assert summary["diverged"]
    assert summary["accuracy_mean"] == pytest.approx(0.1)
    assert read_run(tmp_path / "run").manifest["status"] == "diverged"


def test_an_occupied_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(StorageError, match="nothing was overwritten"):
        small(tmp_path)
    assert [f.name for f in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_a_full_disk_is_one_clear_error_and_leaves_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: pl.DataFrame, file: Path) -> None:
        if "messages" in str(file):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, file)

    write = pl.DataFrame.write_parquet
    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(StorageError, match="No space left on device"):
        small(tmp_path)
    folder = read_run(tmp_path / "run")
    assert folder.manifest["status"] == "failed"
    assert folder.summary is not None
    assert len(folder.metrics)
    assert not list((tmp_path / "run").glob("*.part"))


def test_ctrl_c_keeps_what_was_recorded(tmp_path: Path) -> None:
    def stop(fraction: float, text: str) -> None:
        if fraction > 0.5 and "simulated" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(tmp_path, on_progress=stop)
    folder = read_run(tmp_path / "run")
    assert folder.manifest["status"] == "interrupted"
    assert len(folder.messages)
    assert len(folder.metrics)
    assert folder.summary is not None
    assert folder.summary["status"] == "interrupted"
    assert folder.summary["rounds_done_max"] < folder.summary["rounds"] == 4
    assert "up to " in dict(summary_rows(folder.summary))["privacy"]


def test_ctrl_c_while_losses_are_accounted_keeps_what_was_recorded(tmp_path: Path) -> None:
    def stop(fraction: float, text: str) -> None:
        if text.startswith("accounting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(tmp_path, on_progress=stop)
    folder = read_run(tmp_path / "run")
    assert folder.manifest["status"] == "interrupted"
    assert len(folder.messages)
    assert folder.summary is not None
    assert folder.summary["epsilon_worst"] == float("inf")
    assert "accounting was interrupted" in folder.summary["epsilon_reason"]
    told = reaccount(tmp_path / "run", observers=None, unit=None, adjacency=None, delta=None)
    assert all(np.isfinite(row["epsilon (worst victim)"]) for row in told)


def test_a_run_stopped_before_anything_was_sent_is_written_whole(tmp_path: Path) -> None:
    summary = small(tmp_path, "stop_after='1 ms'", "protocol.exchange=ldp", LOCAL)
    assert len(read_run(tmp_path / "run").releases) == 0
    assert summary["epsilon_worst"] == 0
    shown = dict(summary_rows(summary))
    assert shown["privacy"].startswith("ε = 0: what observers received depends on no")
    assert shown["virtual time"].endswith("0 of 4 rounds")


def test_reaccounting_repeats_the_run_and_answers_other_questions(tmp_path: Path) -> None:
    summary = small(tmp_path)
    again = reaccount(tmp_path / "run", observers=None, unit=None, adjacency=None, delta=None)
    worst = {
        basis: max(r["epsilon (worst victim)"] for r in again if r["basis"] == basis)
        for basis in ("certified", "open-loop")
    }
    assert worst["certified"] == pytest.approx(summary["epsilon_worst"])
    assert worst["open-loop"] == pytest.approx(summary["epsilon_worst_open_loop"])

    def open_loop(**question: Any) -> float:
        asked = {"observers": ["7"], "unit": None, "adjacency": None, "delta": None} | question
        rows = reaccount(tmp_path / "run", **asked)
        return max(r["epsilon (worst victim)"] for r in rows if r["basis"] == "open-loop")

    alone = open_loop()
    assert open_loop(observers=["7,8"]) >= alone
    assert open_loop(delta=1e-7) > alone
    assert open_loop(adjacency="replace") > 1.9 * alone
    assert open_loop(unit="node") > alone
    with pytest.raises(ConfigurationError, match="not a node of this run"):
        open_loop(observers=["99"])


def test_units_convert_by_group_privacy_one_way_and_by_the_clip_the_other() -> None:
    from protocols.privacy.lineage import Lineage

    lineage = Lineage()
    lineage.contribute(0.0, 1, 0, 0, gain=-1.0, sigma=1.0, sensitivity=3.0)
    as_node = in_unit(lineage.entries, "record", "node", "add-remove", [5, 7])
    assert as_node[0].sensitivity == 21.0
    as_record = in_unit(lineage.entries, "node", "record", "add-remove", [5, 7])
    assert as_record[0].sensitivity == 6.0
    assert in_unit(lineage.entries, "node", "record", "replace", [5, 7])[0].sensitivity == 3.0


def test_a_target_that_only_the_built_graph_can_judge_is_judged(tmp_path: Path) -> None:
    """On an irregular graph the noise a member adds follows from the weights of the built neighbourhoods."""
    sets = [
        'topology={kind="small-world", nodes=16, degree=6, rewire=0.3}',
        "fault=[]",
        "privacy.target_epsilon=0.5",
    ]
    with pytest.raises(ConfigurationError, match="above the target"):
        small(tmp_path, *sets)
    assert not (tmp_path / "run").exists()
    assert small(tmp_path, *sets[:2], "privacy.target_epsilon=3")["epsilon_worst"] <= 3
