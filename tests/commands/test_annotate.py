"""The page of alpl-annotate over HTTP: who knows the token answers, and sees the images of the query alone."""

import http.client
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from asked_tasks import CLASSES, make_tasks

from alpl.commands import annotate
from alpl.commands.annotate import AnnotationServer
from alpl.exchange import read_answers
from alpl.machine.files import write_json
from alpl.runs.run_folder import RunFolder


@pytest.fixture(params=["boxes"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AnnotationServer]:
    run = RunFolder(tmp_path / "random" / "mine-seed0-1a2b3c4d")
    write_json(run.path / "run.json", {})
    tasks = make_tasks(tmp_path / "images", request.param)
    tasks.save(run.cycle(2).tasks)
    run.mark_done({"cycle": 2, "stage": "ask", "seconds": 0.0})
    (tmp_path / "images" / "secret.png").write_bytes(b"secret")
    with AnnotationServer(run, tasks, annotator="me") as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(
    server: AnnotationServer, path: str, body: object = None, *, token: str | None = None, host: str | None = None
) -> tuple[int, bytes, http.client.HTTPResponse]:
    token = server.token if token is None else token
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    headers = {"Host": host} if host else {}
    if body is None:
        connection.request("GET", f"{path}?token={token}", headers=headers)
    else:
        text = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", path, text, headers | {"X-Token": token})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content, response


def box(label: str = "car") -> dict:
    return {"label": label, "box": [1, 2, 11.5, 12], "difficult": False}


def test_the_page_asks_nothing_of_the_outside(server: AnnotationServer) -> None:
    status, content, response = ask(server, "/")
    page = content.decode()
    assert status == 200 and "NONCE" not in page
    assert not re.findall(r"(https?:)?//\w", page) and "innerHTML" not in page and "eval(" not in page
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'nonce-")
    assert response.headers["Referrer-Policy"] == "no-referrer" and server.server_address[0] == "127.0.0.1"


def test_only_who_was_given_the_address_gets_anything(server: AnnotationServer) -> None:
    for path in ("/", "/tasks", "/image/0"):
        assert ask(server, path, token="guess")[0] == 403
        assert ask(server, path, host="evil.example")[0] == 403
        assert ask(server, path, host=f"localhost:{server.server_port}")[0] == 200
    answer = {"index": 100, "items": [box()]}
    assert ask(server, "/answer", answer, token="")[0] == 403
    assert ask(server, "/answer", answer, host="evil.example:80")[0] == 403
    assert not read_answers(server.folder.answers)


def test_only_images_of_the_query_are_served(server: AnnotationServer) -> None:
    status, content, response = ask(server, "/image/0")
    assert status == 200 and response.headers["Content-Type"] == "image/png"
    assert content == Path(server.tasks.tasks[0].file).read_bytes()
    for path in (
        "/image/4",
        "/image/-1",
        "/image/secret.png",
        "/image/../secret.png",
        "/image/%2e%2e/run.json",
        "/run.json",
    ):
        assert ask(server, path)[0] == 404, path


def test_answers_are_kept_one_by_one(server: AnnotationServer) -> None:
    shown = json.loads(ask(server, "/tasks")[1])
    assert shown["classes"] == list(CLASSES) and [task["answer"] for task in shown["tasks"]] == [None] * 4
    assert shown["tasks"][0]["predicted"][0] | {"score": None} == box() | {"box": [1, 2, 11.5, 12], "score": None}
    assert shown["tasks"][0]["why"] == "choice 1 of 4 by Entropy, utility 0.5"
    assert json.loads(ask(server, "/answer", {"index": 100, "items": [box()], "seconds": 2.5})[1]) == {"left": 3}
    (kept,) = read_answers(server.folder.answers).values()
    assert (kept.index, kept.annotator, kept.seconds, kept.items[0].label) == (100, "me", 2.5, "car")
    assert json.loads(ask(server, "/answer", {"index": 99, "items": []})[1]) == {"left": 2}
    assert read_answers(server.folder.answers)[99].items == ()
    assert json.loads(ask(server, "/answer", {"index": 100, "items": [box("'quoted")]})[1]) == {"left": 2}
    assert json.loads(ask(server, "/tasks")[1])["tasks"][0]["answer"][0]["label"] == "'quoted"


@pytest.mark.parametrize(
    "body, status, said",
    [
        ({"index": 100, "items": [box("truck")]}, 409, "no class 'truck'"),
        ({"index": 5, "items": []}, 409, "no image 5"),
        ({"index": 100, "items": [{"label": "car", "box": [0, 0, 900, 9]}]}, 409, "outside the image"),
        ({"index": 100, "items": [{"label": "car", "box": [0, 0]}]}, 400, "an answer must have"),
        ({"index": True, "items": []}, 400, "index must be an int"),
        ({"index": 100, "items": [], "seconds": -1}, 400, "seconds must be >= 0"),
        ({"items": []}, 400, "an answer must have"),
        ("[", 400, "an answer must have"),
        ("7", 400, "an answer must have"),
        ("x" * (1 << 20 | 1), 400, "at most 1 MiB"),
    ],
)
def test_wrong_answers_are_refused(server: AnnotationServer, body: object, status: int, said: str) -> None:
    try:
        got, content, _ = ask(server, "/answer", body)
    except ConnectionError:  # it need not read what is too long
        assert isinstance(body, str) and len(body) > 1 << 20
    else:
        assert got == status and said in content.decode()
    assert not server.folder.answers.exists()


@pytest.mark.parametrize("server", ["classes"], indirect=True)
def test_classes(server: AnnotationServer) -> None:
    shown = json.loads(ask(server, "/tasks")[1])
    assert shown["kind"] == "classes" and shown["tasks"][0]["predicted"][0]["label"] == "d'or & <b>"
    said = {"label": "=SUM(A1)", "box": None}
    assert ask(server, "/answer", {"index": 100, "items": [said]})[0] == 200
    assert ask(server, "/answer", {"index": 99, "items": []})[0] == 409


def test_a_run_that_does_not_wait_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        annotate.cli([str(tmp_path)])
    assert end.value.code == 2 and "RUN must be the folder of a run" in capsys.readouterr().err
    run = RunFolder(tmp_path / "run")
    write_json(run.path / "run.json", {})
    make_tasks(tmp_path / "images").save(run.cycle(0).tasks)
    with pytest.raises(SystemExit) as end:
        annotate.cli([str(run.path)])
    assert end.value.code == 2 and "RUN must wait for answers" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_person_at_the_page(server: AnnotationServer) -> None:
    """Accepts, draws, changes a class, chooses, deletes, goes back; boxes are in pixels of the image."""
    here = Path(annotate.__file__).with_name("annotate.html")
    address = f"http://127.0.0.1:{server.server_port}"
    command = ["node", str(Path(__file__).with_name("annotate_page.js")), str(here), address, server.token]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "image 2 of 4, 2 answered (this one too)", result.stderr
    answers = read_answers(server.folder.answers)
    predicted = server.tasks.tasks[0].predicted
    assert [(item.label, item.box) for item in answers[100].items] == [(item.label, item.box) for item in predicted]
    drawn = tuple(edge * 41 / 400 for edge in (100, 100, 200, 150))  # 41 pixels are shown as 400
    kept, new = answers[99].items
    assert kept.label == "'quoted" and new.label == "=SUM(A1)" and new.box == pytest.approx(drawn)
    assert answers[99].seconds is not None
