"""Serves Netron's own files and one model to a web page through a private URL scheme.

Why not Netron's HTTP server: it opens a port through which every user of the machine can read the model's whole
folder. Why the page is adjusted: as published it asks for consent and looks up the visitor's address, reports usage
to an analytics service, and refuses to work 180 days after its release. Nothing leaves the page here: requests to
anything but this scheme are blocked. The names of Netron's internals used below are those of the pinned version.
"""

from __future__ import annotations

import html
import importlib.util
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from PySide6.QtCore import QBuffer, QByteArray, QFile, QIODevice, QObject
from PySide6.QtWebEngineCore import (
    QWebEngineProfile,
    QWebEngineScript,
    QWebEngineUrlRequestInfo,
    QWebEngineUrlRequestInterceptor,
    QWebEngineUrlRequestJob,
    QWebEngineUrlScheme,
    QWebEngineUrlSchemeHandler,
)

SCHEME = b"netron"
START = "netron://app/"

_TYPES = {".html": b"text/html", ".js": b"text/javascript", ".css": b"text/css", ".json": b"application/json"}
_TYPES |= {".png": b"image/png", ".ico": b"image/x-icon"}
_OWN_SCHEMES = {SCHEME.decode(), "qrc", "blob", "data"}

# Answers "was consent given" without a cookie, so that the question is never asked.
_NO_CONSENT = (
    "Object.defineProperty(Document.prototype, 'cookie', {get() { return 'consent=1'; }, set(value) {}});"
)
# Keeps the model and leaves out the drawing: the page becomes a reader.
_NO_DRAWING = (
    "let held; Object.defineProperty(window, '__view__', {get() { return held; },"
    " set(view) { held = view; held.render = async () => { window.__read__ = true; return ''; }; }});"
)


def register_scheme() -> None:
    """Announce the scheme to Qt; must happen before the application object is made."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Chromium refuses to start its sandbox for root; the model's file is read-only data either way.
        os.environ.setdefault("QTWEBENGINE_DISABLE_SANDBOX", "1")
    scheme = QWebEngineUrlScheme(SCHEME)
    scheme.setSyntax(QWebEngineUrlScheme.Syntax.Host)
    flags = QWebEngineUrlScheme.Flag
    scheme.setFlags(
        flags.SecureScheme | flags.CorsEnabled | flags.FetchApiAllowed | flags.ContentSecurityPolicyIgnored
    )
    QWebEngineUrlScheme.registerScheme(scheme)


def make_profile(model: Path, parent: QObject, *, drawing: bool) -> QWebEngineProfile:
    """A web profile that remembers nothing, reaches nothing but this scheme, and shows `model`."""
    profile = QWebEngineProfile(parent)
    handler = _Handler(model, profile)
    profile.installUrlSchemeHandler(QByteArray(SCHEME), handler)
    profile.setUrlRequestInterceptor(_Fence(profile))
    script = QWebEngineScript()
    script.setSourceCode(_NO_CONSENT + ("" if drawing else _NO_DRAWING))
    script.setInjectionPoint(QWebEngineScript.InjectionPoint.DocumentCreation)
    script.setWorldId(QWebEngineScript.ScriptWorldId.MainWorld.value)
    profile.scripts().insert(script)
    return profile


class _Fence(QWebEngineUrlRequestInterceptor):
    """Blocks whatever would leave the page."""

    def interceptRequest(self, info: QWebEngineUrlRequestInfo) -> None:
        if info.requestUrl().scheme() not in _OWN_SCHEMES:
            info.block(True)


class _Handler(QWebEngineUrlSchemeHandler):
    """Answers requests for Netron's files, the model, and what lies beside the model under a plain name."""

    def __init__(self, model: Path, parent: QObject) -> None:
        super().__init__(parent)
        self._model = model
        specification = importlib.util.find_spec("netron")
        if specification is None or specification.origin is None:
            raise ModuleNotFoundError("netron", name="netron")
        self._root = Path(specification.origin).parent.resolve()

    def requestStarted(self, job: QWebEngineUrlRequestJob) -> None:
        path = job.requestUrl().path()
        if path in ("", "/", "/index.html"):
            page = _adjusted((self._root / "index.html").read_text("utf-8"), self._model.name)
            buffer = QBuffer(job)
            buffer.setData(QByteArray(page.encode()))
            buffer.open(QIODevice.OpenModeFlag.ReadOnly)
            job.reply(QByteArray(b"text/html"), buffer)
            return
        file = self._file(path)
        if file is None:
            job.fail(QWebEngineUrlRequestJob.Error.UrlNotFound)
            return
        device = QFile(str(file), job)
        device.open(QIODevice.OpenModeFlag.ReadOnly)
        job.reply(QByteArray(_TYPES.get(file.suffix, b"application/octet-stream")), device)

    def _file(self, path: str) -> Path | None:
        if path.startswith("/data/"):
            name = unquote(path.removeprefix("/data/"))
            file = self._model if name == self._model.name else self._model.parent / name
            is_plain = name not in ("", ".", "..") and "/" not in name and "\\" not in name
            return file if is_plain and file.is_file() and not file.is_symlink() else None
        file = (self._root / path.lstrip("/")).resolve()
        return file if file.is_relative_to(self._root) and file.is_file() else None


def _adjusted(page: str, name: str) -> str:
    """Netron's page for one model: dated today, with a version that turns its telemetry off."""
    today = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    shown = html.escape(name, quote=True)
    head = (
        '<meta name="type" content="Python"><meta name="version" content="0.0.0">'
        f'<meta name="file" content="/data/{quote(name)}"><meta name="name" content="{shown}">'
        f'<meta name="identifier" content="{shown}">'
    )
    page = re.sub(r'<meta name="date".*?>', f'<meta name="date" content="{today}">', page)
    return re.sub(r'<meta name="version".*?>', lambda _match: head, page)
