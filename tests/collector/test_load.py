"""A collector under load that is killed: what it answered 202 is there. ``make soak-collector`` takes longer."""

from tests.soak.collector_load import run


def test_what_200_connections_were_promised_survives_kill_9(tmp_path):
    found = run(tmp_path / "x.db", 6)
    assert found.missing == []
    assert set(found.statuses) == {202}
    assert found.accepted
    assert 1 <= found.broken <= 200
