"""A small engine that behaves as its arguments say; the supervisor's tests start it as their child.

Usage: scripted_engine.py --port N [--loading] [--exit-code N] [--say TEXT] [--orphan] [--embedding]
       [--ignore-term] [--broken-completions] [--hang-after N]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--loading", action="store_true", help="never answer; ignore SIGTERM, leave on SIGINT")
parser.add_argument("--ignore-int", action="store_true")
parser.add_argument("--ignore-term", action="store_true")
parser.add_argument("--exit-code", type=int, help="say the text and leave with this code")
parser.add_argument("--say", default="")
parser.add_argument("--orphan", action="store_true", help="leave a grandchild behind whose parent has gone")
parser.add_argument("--embedding", action="store_true")
parser.add_argument("--broken-completions", action="store_true", help="healthy, but no token ever comes: 500")
parser.add_argument("--hang-after", type=int, default=1 << 30, help="no answer to a completion after this many")
options = parser.parse_args()

running, tokens, answered = 0, 0, 0
lock, released = threading.Lock(), threading.Event()
stopping = threading.Event()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/die":
            os._exit(0)
        if self.path == "/release":
            released.set()
        if self.path == "/v1/models":
            self.reply(200, b'{"data": [{"id": "m"}]}')
        else:
            self.reply(
                200, f'vllm:num_requests_running{{e="0"}} {running}\nvllm:generation_tokens_total {tokens}\n'.encode()
            )

    def do_POST(self):
        global running, tokens, answered
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if options.embedding != (self.path == "/v1/embeddings"):
            return self.reply(404, b"no such route")
        if options.broken_completions:
            return self.reply(500, b"engine cannot serve")
        with lock:
            running += 1
        if answered >= options.hang_after:
            signal.pause() if threading.current_thread() is threading.main_thread() else threading.Event().wait()
        if asked.get("held"):
            released.wait()
        with lock:
            running, tokens, answered = running - 1, tokens + 1, answered + 1
        return self.reply(200, b'{"choices": [{"text": "x"}], "data": [1]}')


def drain_and_leave():
    while running:
        time.sleep(0.02)
    os._exit(0)


print(options.say, flush=True)
if options.orphan:
    # The middle process ends at once: the sleeper is nobody's child but the supervisor's.
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import subprocess; print('orphan', subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)",
        ],
        check=True,
    )
if options.exit_code is not None:
    sys.exit(options.exit_code)
if options.loading:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN if options.ignore_int else lambda *_: os._exit(130))
    print("loading", flush=True)
    while True:
        signal.pause()
if options.ignore_term:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=drain_and_leave).start())
ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()
