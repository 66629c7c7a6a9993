"""How the rows of a report read: titles of columns, icons beside words of status, widths, the node behind each row."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItem, QStandardItemModel
from PySide6.QtWidgets import QHeaderView, QTableView

from edgestudio.studio.rows import ReportRow
from edgestudio.ui import icons, wording

TITLES = {
    "op": "Operator", "count": "Count", "status": "Status", "reason": "Reason", "remedy": "Remedy", "change": "Change",
    "name": "Name", "severity": "Weight", "text": "What was found", "node": "Layer", "operator": "Operator",
    "sqnr_db": "SQNR, dB", "max_abs": "Largest error", "is_suspect": "Keep in float",
}  # fmt: skip
# Words that say how something is: icon and colour role beside the word, never the colour alone.
_GOOD, _NOTED, _WARNED, _BAD = (
    ("success", "good"),
    ("info", "muted"),
    ("warning", "warning"),
    ("error", "bad"),
)
LOOKS = {
    "supported": _GOOD, "partial": _WARNED, "unsupported": _BAD, "unknown": ("unknown", "muted"),
    "runs": _GOOD, "runs with limits": _WARNED, "does not run": _BAD,
    "ok": _GOOD, "good": _GOOD, "info": _NOTED, "warning": _WARNED, "error": _BAD,
    "identical": _GOOD, "added": ("add", "good"), "removed": ("minus", "bad"), "changed": ("compare", "warning"),
}  # fmt: skip
_WIDE = ("reason", "remedy", "text", "name", "node")


def look(word: str) -> tuple[str, str]:
    """Icon and role of a word of status; neutral for one that is not known."""
    first = word.lower().split()[0] if word.strip() else ""
    return LOOKS.get(word.lower(), LOOKS.get(first, _NOTED))


_OPERATOR_PX = 170
NODE_ROLE = Qt.ItemDataRole.UserRole + 1


def fill(table: QTableView, row: ReportRow) -> None:
    """Show a report's rows; `NODE_ROLE` of each cell is the node that its row is about."""
    model = QStandardItemModel(len(row.rows), len(row.columns), table)
    model.setHorizontalHeaderLabels([TITLES.get(each, each.capitalize()) for each in row.columns])
    nodes = _nodes(row)
    for at, cells in enumerate(row.rows):
        for column, (name, value) in enumerate(zip(row.columns, cells, strict=True)):
            item = _item(name, value)
            item.setData(nodes[at] if at < len(nodes) else None, NODE_ROLE)
            model.setItem(at, column, item)
    old = table.model()
    table.setModel(model)
    if old is not None:
        old.deleteLater()
    for column, name in enumerate(row.columns):  # what no row tells leaves its room to the sentences
        is_told = any(cells[column] not in (None, "") for cells in row.rows)
        table.setColumnHidden(column, name in ("op", "count") and not is_told)
    head = table.horizontalHeader()
    for column, name in enumerate(row.columns):
        mode = QHeaderView.ResizeMode.Stretch if name in _WIDE else QHeaderView.ResizeMode.ResizeToContents
        head.setSectionResizeMode(column, mode)
        if name in ("op", "operator"):  # long names leave room for what is said about them
            head.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
            wanted = max(table.sizeHintForColumn(column) + 12, head.sectionSizeHint(column))
            table.setColumnWidth(column, min(_OPERATOR_PX, wanted))
    head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    head.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
    table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)


def _nodes(row: ReportRow) -> list[int | str | None]:
    """What each row of a report is about in the model's graph: the first node's number, a node's name, or nothing."""
    if row.kind == "sensitivity" and "node" in row.columns:
        at = row.columns.index("node")
        return [str(cells[at]) for cells in row.rows]
    if row.kind == "diff":
        places = (
            ("added", "index"),
            ("removed", ""),
            ("changed", "b"),
        )  # what was removed is not in this model
        rows = [(each, key) for kind, key in places for each in row.result.get(kind) or ()]
        return [each.get(key) if isinstance(each, dict) else None for each, key in rows]
    found = [*(row.result.get("findings") or ()), *(row.result.get("operators") or ())]
    return [next(iter(each.get("nodes") or ()), None) if row.kind == "check" else None for each in found]


def _item(name: str, value: Any) -> QStandardItem:
    item = QStandardItem()
    if isinstance(value, bool):
        item.setText("yes" if value else "")
    elif isinstance(value, float):
        item.setText(f"{value:.4g}")
        item.setData(value, Qt.ItemDataRole.UserRole)
    else:
        item.setText(wording.DASH if value is None else str(value))
    if name in ("status", "severity", "change"):
        icon, role = look(str(value))
        item.setIcon(icons.icon(icon, role))
    item.setToolTip(item.text())
    return item
