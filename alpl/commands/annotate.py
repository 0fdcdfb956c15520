"""`alpl-annotate`: a page on this machine alone on which a person answers what a run asks about.

Each answer is checked and kept with the run at once (:func:`alpl.commands.answers.take`), so that nothing is lost when
the page or the command is closed.
"""

from __future__ import annotations

import argparse
import getpass
import io
import json
import math
import mimetypes
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any, final
from urllib.parse import parse_qs, urlsplit

from alpl.commands.answers import asked_by, open_run, take
from alpl.commands.messages import USER_ERRORS, one_line, told
from alpl.errors import ConfigError
from alpl.exchange import Item, Reply, Tasks, read_answers
from alpl.exchange.tasks import corners_of
from alpl.runs.run_folder import RunFolder

HOST = "127.0.0.1"
_MOST_BYTES = 1 << 20  # of an answer
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/bmp")  # by any browser; others are converted


@final
class AnnotationServer(ThreadingHTTPServer):
    """Serves the page, the images of the query and nothing else, to who knows the token.

    Args:
        folder: of the run.
        tasks: what it asks about.
        port: 0 for any that is free.
        annotator: who answers.
    """

    daemon_threads = True

    def __init__(self, folder: RunFolder, tasks: Tasks, port: int = 0, annotator: str = "") -> None:
        super().__init__((HOST, port), _Handler)
        self.folder, self.tasks, self.annotator = folder, tasks, annotator
        self.token = secrets.token_urlsafe(24)
        self.lock = Lock()  # one answer at a time: a process that asks for its own file lock again gets it

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def hosts(self) -> tuple[str, ...]:
        """Give the names by which it may be called: a page of others that resolves its own name to here may not."""
        return f"{HOST}:{self.server_port}", f"localhost:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: AnnotationServer
    server_version, sys_version = "alpl-annotate", ""

    def do_GET(self) -> None:
        """Give the page, the tasks, or an image of the query."""
        parts = urlsplit(self.path)
        given = parse_qs(parts.query).get("token", [""])[0]
        if not self._may(given):
            return
        tasks = self.server.tasks.tasks
        if parts.path == "/":
            self._send_page()
        elif parts.path == "/tasks":
            self._send(json.dumps(_shown(self.server)).encode(), "application/json")
        elif (name := parts.path.removeprefix("/image/")).isascii() and name.isdecimal() and len(name) < 10:
            if int(name) < len(tasks):
                self._send_image(Path(tasks[int(name)].file))
            else:
                self._refuse(HTTPStatus.NOT_FOUND, "there is no such image")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")

    def do_POST(self) -> None:
        """Take an answer."""
        if not self._may(self.headers.get("X-Token", "")):
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/answer" or not length.isdecimal() or int(length) > _MOST_BYTES:
            self._refuse(HTTPStatus.BAD_REQUEST, "an answer must be posted to /answer, of at most 1 MiB")
            return
        try:
            reply = _reply(json.loads(self.rfile.read(int(length))), self.server)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"an answer must have an index and items: {error}")
            return
        try:
            with self.server.lock:
                taken = take(self.server.folder, lambda tasks: [reply])
        except USER_ERRORS as error:
            self._refuse(HTTPStatus.CONFLICT, one_line(error))
            return
        self._send(json.dumps({"left": taken.left}).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Say nothing: requests hold the token."""

    def _may(self, given: str) -> bool:
        """Whether a request comes from who was given the address."""
        known = secrets.compare_digest(given.encode(errors="replace"), self.server.token.encode())
        if known and self.headers.get("Host") in self.server.hosts():
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "open the address that alpl-annotate has printed")
        return False

    def _send_page(self) -> None:
        page = (resources.files("alpl.commands") / "annotate.html").read_text(encoding="utf-8")
        nonce = secrets.token_urlsafe(16)
        own = f"default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'nonce-{nonce}'"
        policy = f"{own}; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        self._send(page.replace("NONCE", nonce).encode(), "text/html; charset=utf-8", policy)

    def _send_image(self, path: Path) -> None:
        try:
            content, kind = _image(path)
        except (OSError, SyntaxError, ValueError) as error:
            self._refuse(HTTPStatus.NOT_FOUND, f"the image cannot be read: {' '.join(str(error).split())}")
            return
        self._send(content, kind)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._send(text.encode(errors="replace"), "text/plain; charset=utf-8", status=status)

    def _send(
        self, content: bytes, kind: str, policy: str = "default-src 'none'", status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _shown(server: AnnotationServer) -> dict[str, Any]:
    """Give what the page shows."""
    tasks, given = server.tasks, read_answers(server.folder.answers)
    shown = []
    for task in tasks.tasks:
        about = {"index": task.index, "name": task.name, "width": task.width, "height": task.height}
        answer = given.get(task.index)
        said = None if answer is None else [_item_json(item) for item in answer.items]
        predicted = [_item_json(item) for item in task.predicted]
        if tasks.kind == "classes":
            predicted = predicted[:1]
        shown.append(about | {"why": tasks.why(task), "predicted": predicted, "answer": said})
    return {"kind": tasks.kind, "classes": list(tasks.classes), "tasks": shown}


def _item_json(item: Item) -> dict[str, Any]:
    return {"label": item.label, "box": item.box, "score": item.score, "difficult": item.difficult}


def _reply(said: Any, server: AnnotationServer) -> Reply:
    """Read what the page says of an image.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is something else.
    """
    items = tuple(
        Item(
            str(each["label"]),
            None if each.get("box") is None else corners_of(each["box"]),
            difficult=bool(each.get("difficult")),
        )
        for each in said["items"]
    )
    seconds = said.get("seconds")
    if seconds is not None:
        seconds = float(seconds)
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"seconds must be >= 0, got {seconds}")
    index = said["index"]
    if isinstance(index, bool) or not isinstance(index, int):
        raise ValueError(f"index must be an int, got {index!r}")
    return Reply("the page", None, index, server.tasks.run, items, server.annotator, seconds)


def _image(path: Path) -> tuple[bytes, str]:
    """Give an image in a format that browsers show, and its kind."""
    kind = mimetypes.guess_type(path.name)[0]
    if kind in _SHOWN:
        return path.read_bytes(), str(kind)
    from PIL import Image, ImageOps

    stream = io.BytesIO()
    with Image.open(path) as image:
        ImageOps.exif_transpose(image).convert("RGB").save(stream, "PNG")
    return stream.getvalue(), "image/png"


def cli(arguments: Sequence[str] | None = None) -> None:
    """Run the command until it is interrupted; exit with 2 and one line where the run is refused."""
    options = _parser().parse_args(arguments)
    with told("alpl-annotate"):
        folder = open_run(options.run)
        tasks = asked_by(folder)
        if not tasks.tasks:
            raise ConfigError(f"RUN must wait for answers, {folder.path} does not")
        if not 0 <= options.port < 2**16:
            raise ConfigError(f"--port must lie in [0, {2**16}), got {options.port}")
        annotator = _user() if options.annotator is None else options.annotator
        with AnnotationServer(folder, tasks, options.port, annotator) as server:
            print(
                f"{len(tasks.tasks)} images: open {server.url}\nevery answer is kept at once; Ctrl-C ends", flush=True
            )
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                given = read_answers(folder.answers)
                left = sum(task.index not in given for task in tasks.tasks)
                print(f"{left} of {len(tasks.tasks)} images are left to answer")


def _user() -> str:
    """Give the user's name; empty where the system has none, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alpl-annotate", description="Answer what a run asks about, in a browser on this machine."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.add_argument("--port", type=int, default=0, help="of the page; by default any that is free")
    parser.add_argument("--annotator", help="who answers; by default the user's name")
    return parser


if __name__ == "__main__":
    cli()
