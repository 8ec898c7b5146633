"""The bench itself, with tiny sizes: that it runs to its end, that its figures are whole, that wrong results are noticed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.bench.__main__ import main, unable
from tests.bench.curves.flows import convergence, response, share
from tests.bench.curves.theory import cubic_window, jain, reno_window
from tests.bench.measure import Samples, download, quantile
from tests.bench.peers import Peers
from tests.bench.stage import staged
from tests.bench.systems import SYSTEMS
from tests.bench.tables import report

TINY = ("--size", "2", "--rounds", "1", "--seconds", "0.3", "--flood", "0.2", "--search", "2", "--requests", "5", "--peers", "/nowhere")


def needs_programs() -> None:
    reason = unable(["bulk"])
    if reason:
        pytest.skip(reason)


@pytest.mark.lab
def test_the_sections_on_the_wire(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_programs()
    file = tmp_path / "figures.json"
    assert main([*TINY, "--section", "bulk,udp,small", "--only", "bare wire", "--only", "userlan", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "| userlan |" in printed
    assert "| userlan, forward |" in printed
    samples = json.loads(file.read_text())["samples"]
    assert set(samples) == {"bulk", "udp", "small"}
    for metrics in samples["bulk"].values():
        assert metrics["http_1"][0] > 0
        assert len(metrics["ping_idle"][0]) >= 5
    assert len(samples["small"]["userlan, proxy"]["times"][0]) == 5
    assert 0 <= samples["udp"]["userlan"]["flood_loss"][0] < 1


@pytest.mark.lab
def test_relays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_programs()
    file = tmp_path / "figures.json"
    assert main([*TINY, "--section", "relay", "--json", str(file)]) == 0
    assert "for a whole core" in capsys.readouterr().out
    samples = json.loads(file.read_text())["samples"]
    assert samples["relay"]["userlan"]["rate"][0] > 0
    assert 0 <= samples["relay"]["userlan"]["gigabit_loss"][0] < 100


@pytest.mark.lab
def test_a_chatty_lan(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    needs_programs()
    from tests.bench.sections import chatty

    monkeypatch.setattr(chatty, "MEMBERS", 8)
    monkeypatch.setattr(chatty, "MESH", 6)
    monkeypatch.setattr(chatty, "SETTLE", 0.0)
    monkeypatch.setattr(chatty, "PHASES", chatty.PHASES[2:])
    file = tmp_path / "figures.json"
    assert main([*TINY, "--section", "chatty", "--seconds", "1", "--json", str(file)]) == 0
    assert "µs a packet" in capsys.readouterr().out
    samples = json.loads(file.read_text())["samples"]["chatty"]
    assert samples.pop("full mesh of 6, nobody says anything")["pair"][0] > 0
    assert all(phase["sent"][0] > 0 for phase in samples.values())
    assert samples["8 members, each says 10 a second"]["heard"][0] > 0


@pytest.mark.lab
def test_one_node_in_company(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs_programs()
    from tests.bench.sections.browser import missing_browser

    file = tmp_path / "figures.json"
    assert main([*TINY, "--section", "company", "--members", "6", "--json", str(file)]) == 0
    assert "KiB of the answer" in capsys.readouterr().out
    samples = json.loads(file.read_text())["samples"]["company"]
    assert samples["until all are met"]["busy"][0] >= 0
    assert samples["status --json"]["kib"][0] > 1
    assert set(samples) >= {"a broadcast to all", "a chat message to all"}
    if missing_browser() is None:
        assert samples["page, scrolled"]["longest_frame"][0] > 0


@pytest.mark.lab
def test_a_bad_line_and_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    needs_programs()
    from tests.bench.sections import links

    monkeypatch.setattr(links, "LINKS", links.LINKS[-1:])
    file = tmp_path / "figures.json"
    small = ("--link-seconds", "1", "--seeds", "1", "--connections", "40", "--members", "3", "--only", "bare wire")
    assert main([*TINY, "--section", "links,scale", *small, "--json", str(file)]) == 0
    assert "share of the link in use" in capsys.readouterr().out
    samples = json.loads(file.read_text())["samples"]
    assert 0 < samples[f"link: {links.LINKS[0].name}"]["bare wire"]["share"][0] <= 1.01
    assert samples["scale"]["the node that exposes"]["connections"] == [40]
    assert samples["scale"]["one node"]["peers"] == [3]


@pytest.mark.lab
def test_every_peer_that_is_here_carries_a_download(tmp_path: Path) -> None:
    needs_programs()
    peers = Peers(tmp_path)
    with staged(1 << 20) as stage:
        for kind in SYSTEMS:
            if kind.missing(peers) is None and not kind.name.startswith("userlan"):
                system = kind(stage, stage.folder / kind.name.replace(" ", "-"), peers)
                try:
                    system.start()
                    stage.use_cubic()
                    assert download(system.b, system.download_arguments("file"), stage.size) > 0
                    with pytest.raises(AssertionError, match="download went wrong"):
                        download(system.b, system.download_arguments("file"), stage.size + 1)
                finally:
                    system.stop()


def test_what_cannot_run_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--section", "bulk,nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err
    peers = Peers(Path("/nowhere"))
    for kind in SYSTEMS:
        reason = kind.missing(peers)
        assert reason is None or "missing" in reason or "has no" in reason
    assert peers.find("no-program-has-this-name") is None


def test_the_tables_show_medians_and_leave_out_empty_columns() -> None:
    samples = Samples()
    for rate in (100.0, 300.0, 200.0):
        samples.add("bulk", "wireguard-go 2023", http_1=rate, ping_idle=[0.5, 0.7])
        samples.add("bulk", "userlan", http_1=2 * rate, ping_idle=[0.2, 0.4, 0.3])
    lines = report(samples).splitlines()
    assert "iperf3" not in lines[2]
    assert lines[-1] == "| userlan | 400 | 2.00 | 0.30 / 0.40 |"
    for goodput, direct in ((2.0, 1.0), (4.0, 2.0), (1.0, 4.0)):
        samples.add("link: x", "bare wire", goodput=direct)
        samples.add("link: x", "userlan", goodput=goodput)
    assert report(samples).splitlines()[-1] == "| userlan | 2.00 | 1.00 to 4.00 | 2.00 |"
    assert quantile(range(100), 0.99) == 99


def test_the_formulas() -> None:
    assert reno_window(0.01) == pytest.approx(12.2, abs=0.1)
    assert cubic_window(1e-4, 0.1) == pytest.approx(187, abs=1)      # RFC 9438 5.1, Table 1: 1e-4, RTT 0.1 s
    assert cubic_window(1e-2, 0.01) == pytest.approx(12.2, abs=0.1)  # and 12 at 1e-2 in Table 2: the Reno-friendly region
    assert jain([1, 1, 1, 1]) == 1
    assert jain([1, 0, 0, 0]) == 0.25


def test_one_flow_is_near_its_formula_and_two_share() -> None:
    rate = response("newreno", 0.005, 0.04, 4000, 1)
    assert 0.6 < rate / (reno_window(0.005) / 0.04) < 1.4
    sharing = share(["newreno"] * 2, (0.0, 4.0), 5e6, 0.04, 0.04, 20.0, 1)
    assert sharing.fairness() > 0.9
    assert 0.85 < sharing.use(5e6) < 1.0
    assert max(sharing.delays) <= 0.04 + 1500 * 8 / 5e6
    taken = convergence(sharing, 4.0)
    assert taken is not None
    assert math.isclose(taken % 1.0, 0.0)


def test_the_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from tests.bench.plots import draw

    samples = Samples()
    samples.add("bulk", "userlan", http_1=3000.0, ping_idle=[0.2, 0.4, 0.3])
    draw(samples, tmp_path / "bars")
    assert sorted(path.name for path in (tmp_path / "bars").iterdir()) == ["bulk-http_1.png", "bulk-ping_idle.png"]
