"""A Chromium that is killed while its page writes, again and again: its database, and so the login, is always there afterwards.

Without what the launcher mends (gateway/browser/torn.py) it is lost about once in sixty kills. The seed is printed;
GATEWAY_CHAOS_SEED repeats a run's dice.
"""

from __future__ import annotations

import os
import queue
import random
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from launcher_rig import CHROMIUM, Rig, end

from gateway.slot import sweep

KILLS = 150
SEED = int(os.environ.get("GATEWAY_CHAOS_SEED", time.time_ns() % 1_000_000))
#: Says whether its login is there, and then writes for ever.
PAGE = b"""<!doctype html><script type="module">
const settled = (r) => new Promise((ok, no) => { r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
const open = indexedDB.open('memory', 1);
open.onupgradeneeded = () => ['login', 'message'].forEach((name) => open.result.createObjectStore(name, { keyPath: 'id' }));
const db = await settled(open);
const login = await settled(db.transaction('login').objectStore('login').get('me'));
const write = (store, row, durability) => new Promise((ok) => {
  const t = db.transaction([store], 'readwrite', { durability });
  t.objectStore(store).put(row);
  t.oncomplete = ok;
});
if (!login) await write('login', { id: 'me', token: 'x'.repeat(200) }, 'strict');
await fetch(`/report?login=${Boolean(login)}`);
for (let n = 0; ; n++) await write('message', { id: `${Date.now()} ${n}`, body: 'b'.repeat(n % 900) }, 'relaxed');
</script>"""


class Page(BaseHTTPRequestHandler):
    """Serves the page, and takes what it reports."""

    reports: queue.Queue[str] = queue.Queue()

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/report":
            self.reports.put(parse_qs(asked.query)["login"][0])
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE if asked.path == "/" else b"")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.mark.timeout(900)
def test_a_chromium_killed_while_it_writes_keeps_its_login(tmp_path: Path) -> None:
    dice, rig = random.Random(SEED), Rig(tmp_path / "data")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = f"http://127.0.0.1:{server.server_port}/"
    found = []
    try:
        for _ in range(KILLS + 1):
            chromium = rig.up()
            new = urllib.request.Request(f"http://127.0.0.1:{rig.port()}/json/new?{page}", method="PUT")
            urllib.request.urlopen(new, timeout=10).close()
            found.append(Page.reports.get(timeout=30))
            time.sleep(dice.uniform(0.05, 1.2))  # the moment of the kill is the experiment
            end(chromium)
    finally:
        sweep(rig.data, "default", CHROMIUM)
        server.shutdown()
        mended = rig.log.read_text().count("had half written was cut off")
        print(f"seed {SEED}  kills {len(found) - 1}  torn writes that were cut off {mended}  logins lost {found[1:].count('false')}")
    assert found == ["false"] + ["true"] * KILLS
