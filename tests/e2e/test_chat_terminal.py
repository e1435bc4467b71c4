"""edge-llm chat at a terminal: prompts, several lines, commands, Ctrl-C, history, dimmed thoughts."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest
import tiny_models
from conftest import BIN, run

DIM = "\033[2m"


class Terminal:
    def __init__(self, home, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(HOME=str(home), TERM="xterm")
            os.environ.pop("NO_COLOR", None)
            os.execv(BIN, [BIN, *map(str, args)])
        self.text = ""

    def until(self, pattern, timeout=60):
        """Reads until the pattern; returns what came up to its end."""
        end = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.text)
            if found:
                got, self.text = self.text[: found.end()], self.text[found.end() :]
                return got
            assert time.monotonic() < end, f"no {pattern!r} in {self.text[-500:]!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                assert data, f"ended before {pattern!r}: {self.text[-500:]!r}"
                self.text += data.decode("utf-8", "replace")

    def send(self, text):
        try:
            os.write(self.fd, text.encode())
        except OSError:  # it has ended
            pass

    def leave(self):
        """Ctrl-D on an empty line; again and again, as what is typed while line editing begins may be lost."""
        return self.code(again="\x15\x04")

    def code(self, timeout=60, again=""):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if again:
                self.send(again)
            while select.select([self.fd], [], [], 0)[0]:
                try:
                    if not os.read(self.fd, 65536):
                        break
                except OSError:
                    break
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.1)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("it does not end")


def wait_until_it_sleeps(pid):
    """A fifth of a second in a row."""
    asleep, end = 0, time.monotonic() + 60
    while asleep < 20:
        with open(f"/proc/{pid}/stat") as f:
            asleep = asleep + 1 if f.read().rsplit(")", 1)[1].split()[0] == "S" else 0
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_conversation(tiny, tmp_path):
    t = Terminal(tmp_path, "chat", tiny("qwen3"), "--temp", "0", "-n", "6")
    t.until("> ")
    t.send("hello\r")
    assert "[6 tokens, " in t.until(r"tok/s.*positions\]")
    t.until("> ")
    t.send("one \\\rtwo\r")
    t.until(r"\.\.\. ")
    t.until(r"positions\]")
    t.send('"""three\rfour"""\r')
    t.until(r"positions\]")
    t.send("/help\r")
    assert "/regen" in t.until("Ctrl-C stops an answer")
    t.send("/nonsense\r")
    t.until("there is no command '/nonsense'")
    t.send("/set temp 7x\r")
    t.until("takes a number from 0 to 100")
    t.send("/set top_k 5\r/show parameters\r")
    t.until("top_k 5")
    t.send("/regen\r")
    t.until(r"positions\]")
    t.send("/clear\r/regen\r")
    t.until("no message to answer once more")
    t.send("/set system Be brief.\r/show system\r")
    t.until(r"\nBe brief\.")
    assert t.leave() == 0


def test_a_long_prompt_is_announced(tiny, tmp_path):
    t = Terminal(tmp_path, "chat", tiny("qwen3"), "--temp", "0", "-n", "4")
    t.until("> ")
    t.send("word " * 80 + "\r")
    t.until(r"reading \d+ tokens")
    assert "positions]" not in t.until(r"\r\x1b\[K")
    t.until(r"positions\]")
    t.send("hi\r")  # what was read is not read again
    assert "reading" not in t.until(r"positions\]")
    assert t.leave() == 0


def test_save_load_and_the_tab_key(tiny, tmp_path):
    t = Terminal(tmp_path, "chat", tiny("qwen3"), "--temp", "0", "-n", "4", "--system", "Be brief.")
    t.until("> ")
    t.send("hello\r")
    t.until(r"positions\]")
    t.send("/sav\t")  # only /save begins so
    t.until("/sav.*e ")
    t.send(f"{tmp_path / 'kept'}\r/regen\r")
    of_regen = t.until(r"\d+ of \d+ positions\]").rsplit(", ", 1)[1]
    assert (tmp_path / "kept").exists()
    t.send("/set system Other.\r")
    t.send(f"/load {tmp_path / 'none'}\r")
    t.until("cannot open .*none")
    t.send(f"/load {tmp_path / 'kept'}\r/set temp 0\ragain\r")
    assert int(t.until(r"\d+ of \d+ positions\]").rsplit(", ", 1)[1].split()[0]) > int(of_regen.split()[0])
    t.send("/save\r")
    t.until("/save takes a file")
    assert t.leave() == 0


def test_save_and_load_over_a_pipe(tiny, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for text in (f"one\n/save {first}\n", f"/load {first}\ntwo\n/save {second}\n"):
        result = run("chat", tiny("qwen3"), "--temp", "0", "-n", "4", stdin=text.encode())
        assert result.message == "" and len(result.text.splitlines()) == 1
    kept = second.read_bytes()
    assert -1 < kept.find(b'"content": "one"') < kept.find(b'"content": "two"')
    assert b'"two"' not in first.read_bytes()


def test_control_c_stops_the_answer_and_keeps_the_conversation(tiny, tmp_path):
    t = Terminal(tmp_path, "chat", tiny("qwen3"), "--temp", "0", "-n", "100000",
                 "--ctx", "60000")
    t.until("> ")
    t.send("hello\r")
    t.until(">>>")  # what this model says; a prompt has one of them
    t.send("\x03")
    t.until(r"\[stopped\]")
    t.until("> ")
    t.send("/show info\r")
    t.until("parameters")
    t.send("/exit\r")
    assert t.code() == 0


def test_control_c_twice_leaves(tiny, tmp_path):
    t = Terminal(tmp_path, "chat", tiny("qwen3"))
    t.until("> ")
    t.send("\x03")
    t.until("Ctrl-C again leaves")
    t.send("\x03")
    assert t.code() == 130


@pytest.mark.parametrize("kept", [True, False])
def test_history(tiny, tmp_path, kept):
    t = Terminal(tmp_path, "chat", tiny("qwen3"), "-n", "2", *([] if kept else ["--no-history"]))
    t.until("> ")
    t.send("remember me\r")
    t.until(r"positions\]")
    assert t.leave() == 0
    path = tmp_path / ".edge_llm_history"
    assert path.exists() == kept
    if kept:
        assert "remember" in path.read_text() and path.stat().st_mode & 0o077 == 0
        t = Terminal(tmp_path, "chat", tiny("qwen3"), "-n", "2")
        t.until("> ")
        t.send("\x1b[A\r")
        t.until("remember me")
        t.until(r"positions\]")
        assert t.leave() == 0


THINKING = (
    "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think"
    ">\n{% endif %}"
    "{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
)


def test_thoughts_are_dimmed_and_kept_apart(tmp_path):
    tiny_models.write_folder(tmp_path / "hf", "qwen3")
    (tmp_path / "hf" / "chat_template.jinja").write_text(THINKING)
    model = tmp_path / "m.elm"
    run("convert", tmp_path / "hf", "-o", model)
    message = json.loads(run("run", model, "-p", "hi", "-n", "20", "--temp", "5", "--json").text)["message"]
    assert message["content"] == "" and message["reasoning_content"]
    t = Terminal(tmp_path, "chat", model, "--temp", "5", "-n", "20")
    t.until("> ")
    t.send("hi\r")
    assert DIM in t.until(r"positions\]").split("[20 tokens")[0].rsplit(DIM, 1)[0]
    assert t.leave() == 0
    assert DIM not in run("chat", model, "--temp", "5", "-n", "20", stdin=b"hi\n").text


def test_several_lines_and_commands_over_a_pipe(tiny):
    model = tiny("qwen3")
    text = b'"""\na\nb\n"""\n/clear\n/unknown is text\n/regen\n/exit\nnever said\n'
    result = run("chat", model, "--temp", "0", "-n", "4", stdin=text)
    answers = result.text.splitlines()
    assert len(answers) == 3 and answers[1] == answers[2] and result.message == ""
    whole = run("run", model, "-p", "a\nb", "--temp", "0", "-n", "4").text.rstrip("\n")
    assert answers[0] == whole


@pytest.mark.parametrize("command", ["chat", "run"])
def test_control_c_while_a_pipe_is_waited_for(tiny, command):
    p = subprocess.Popen([BIN, command, str(tiny("qwen3"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_until_it_sleeps(p.pid)
    p.send_signal(signal.SIGINT)
    assert p.wait(20) == 130
    p.stdin.close()
