"""The one door picks without importing more than it needs, and refuses in a sentence."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from edgestudio import __version__
from edgestudio.__main__ import main
from edgestudio.assets import resource
from edgestudio.cli import push
from edgestudio.cli.verbs import VERBS
from tests.model.made import convolution

SAMPLE = resource("sample", "digits.onnx")
ML = {
    "onnx", "onnxruntime", "tensorflow", "torch", "coremltools", "ai_edge_litert", "ai_edge_quantizer",
    "openvino", "keras", "onnxslim",
}  # fmt: skip


def run(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgestudio", *arguments],
        capture_output=True, text=True, check=False, timeout=100, **options,
    )  # fmt: skip


def test_version_and_help_say_what_there_is():
    assert run("--version").stdout == f"edgestudio {__version__}\n"
    said = run("--help")
    assert said.returncode == 0
    assert all(f"  {verb} " in said.stdout for verb in (*VERBS, "agent"))


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_studio_and_command_line_import_no_machine_learning_and_no_qt():
    code = (
        "import sys, importlib\n"
        "from edgestudio.studio.app import Studio\n"
        "from edgestudio.cli.verbs import VERBS\n"
        "import edgestudio.__main__, edgestudio.cli.main, edgestudio.studio.commands.catalogue\n"
        "studio = Studio()\n"
        "studio.optimizer.recipes(), studio.optimizer.passes()\n"
        "[importlib.import_module(verb.module) for verb in VERBS.values()]\n"
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(said.stdout.split())
    assert not loaded & ML
    assert not loaded & {"PySide6", "pyqtgraph"}


def test_a_mistyped_verb_is_refused(capsys):
    assert main(["inspekt"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no verb and no file 'inspekt'.")


def test_wrong_arguments_are_an_error_object_under_json(capsys):
    assert main(["inspect", "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["error"]["code"] == "usage"
    assert said["error"]["hint"] == "See edgestudio inspect --help."


def test_boards_named_one_by_one_are_all_pushed_to():
    parser = argparse.ArgumentParser()
    push.add_arguments(parser)
    given = parser.parse_args(["m.onnx", "--to", "a", "--to", "b", "c"])
    assert given.to == ["a", "b", "c"]


def test_nobody_reading_is_no_bug():
    reading, writing = os.pipe()
    os.close(reading)
    said = subprocess.run(
        [sys.executable, "-m", "edgestudio", "inspect", "--nothing", "--json"],
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=100,
    )  # fmt: skip
    os.close(writing)
    assert said.returncode != 0
    assert "Traceback" not in said.stderr


def test_a_missing_file_is_refused(capsys, tmp_path):
    assert main(["inspect", str(tmp_path / "absent.onnx"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "missing-file"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_pipe_is_no_file(capsys, tmp_path):
    pipe = tmp_path / "model.onnx"
    os.mkfifo(pipe)  # a worker that opens it would wait until somebody writes
    assert main(["inspect", str(pipe), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not-a-file"


def test_an_absent_model_is_told_before_any_board_is_looked_for(capsys, tmp_path):
    assert main(["push", str(tmp_path / "absent.onnx"), "--to", "nobody", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "missing-file"


@pytest.mark.parametrize("span", ["-1", "nan", "inf", "soon"])
def test_a_span_that_is_none_is_refused(capsys, span):
    assert main(["devices", f"--wait={span}", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_a_home_that_cannot_be_used_is_named(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGESTUDIO_HOME", str(tmp_path / "file"))
    assert main(["recipes", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "home-unusable"


def test_without_a_display_the_window_says_so():
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    }
    said = run(env=environment)
    assert said.returncode == 2
    assert said.stderr.startswith("There is no display for the window.\n")


def test_a_bug_says_so_and_leaves_its_details_in_a_log(capsys, tmp_path, monkeypatch):
    from edgestudio.cli import recipes

    async def broken(studio, options, console):
        raise KeyError("surprise")

    monkeypatch.setattr(recipes, "run", broken)
    assert main(["recipes"]) == 3
    said = capsys.readouterr().err
    assert "This is a bug: KeyError: 'surprise'" in said
    assert "Traceback" not in said
    log = said.split("The details are in ")[1].strip()
    with open(log, encoding="utf-8") as file:  # noqa: PTH123
        assert "Traceback" in file.read()


def test_only_own_modules_are_run_for_children(capsys):
    assert main(["-m", "http.server"]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_verb_ends_with_130_and_leaves_no_worker(number):
    verb = subprocess.Popen(
        [sys.executable, "-m", "edgestudio", "bench", str(SAMPLE), "--soak", "5", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while not family and time.monotonic() < deadline:
        # Imports start children of their own (`ldconfig -p`), which are gone at once.
        family = [child for child in psutil.Process(verb.pid).children(recursive=True) if _is_worker(child)]
        time.sleep(0.05)
    assert family, "no worker was started"
    verb.send_signal(number)
    out, err = verb.communicate(timeout=60)
    assert verb.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "interrupted"
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_verb_interrupted_while_it_imports_ends_with_130_too(number):
    verb = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED_IMPORT, str(int(number))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = verb.communicate(timeout=60)
    assert verb.returncode == 130, err
    assert json.loads(out)["error"]["code"] == "interrupted"


# Sends itself the signal at the first import that a verb brings.
_INTERRUPTED_IMPORT = """
import os, sys
from edgestudio.__main__ import main

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "edgestudio.studio.app":
            os.kill(os.getpid(), int(sys.argv[1]))
            for _ in range(1000):
                pass

sys.meta_path.insert(0, Interrupting())
sys.exit(main(["recipes", "--json"]))
"""


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "--worker" in process.cmdline()
    except psutil.Error:
        return False


def test_open_dimensions_are_set_by_name_or_by_input_and_axis(tmp_path, capsys):
    named, unnamed = convolution(tmp_path / "named.onnx"), convolution(tmp_path / "unnamed.onnx", None)
    macs = []
    for path, size in ((named, "N=4"), (unnamed, "x:0=4"), (unnamed, None)):
        assert main(["inspect", str(path), "--json", *(["--size", size] if size else [])]) == 0
        macs.append(json.loads(capsys.readouterr().out)["macs"])
    one = 8 * 16 * 16 * 27 + 80
    assert macs == [4 * one, 4 * one, one]


def test_a_dimension_that_the_model_does_not_have_is_named(tmp_path, capsys):
    path = convolution(tmp_path / "a.onnx")
    assert main(["inspect", str(path), "--json", "--size", "batch=2"]) != 0
    said = json.loads(capsys.readouterr().out)["error"]
    assert "no open dimension batch" in said["message"]
    assert "N" in said["hint"]
    assert main(["inspect", str(path), "--size", "N=0"]) == 2
    assert "whole number" in capsys.readouterr().err
