"""What a board tells once becomes a notice on the desk, with what to do next."""

from __future__ import annotations

from edgestudio.studio.boards.watching import AlertService
from edgestudio.studio.bus import EventBus
from edgestudio.studio.notices import NoticeService


def test_a_silent_way_back_to_the_processor_is_a_notice_and_everyday_events_are_not() -> None:
    notices = NoticeService(EventBus())
    alerts = AlertService(notices)
    alerts.name_of = lambda board: "roof"
    alerts.hear("b" * 64, {"k": "evt", "name": "agent.started", "text": "The agent started."})
    alerts.hear(
        "b" * 64, {"k": "evt", "name": "placement.fallback", "text": "3 of 9 nodes\x1b[1m fell back."}
    )
    (row,) = list(notices.rows)
    assert row.level == "warning"
    assert row.message == "roof: 3 of 9 nodes[1m fell back."
    assert row.hint
