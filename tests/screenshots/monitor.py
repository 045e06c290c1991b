"""Makes docs/images/monitor.png anew, from a real run on the sandbox: `make screenshots`.

python tests/screenshots/monitor.py docs/images/monitor.png
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

from camera import shoot
from gateway_rig import Gateway, until
from rich.console import Console

from gateway.monitor.look import Looker
from gateway.monitor.view import view
from gateway.settings import load

COLUMNS, ROWS = 80, 24
#: Pixels of rich's SVG: a column, a row, and the window's frame.
COLUMN, ROW, FRAME = 12.2, 24.4, (18, 76)


def main(picture: Path) -> None:
    with Gateway(GATEWAY_SEND_INTERVAL="1") as gateway:
        gateway.link()
        gateway.sent(gateway.send("the first"))
        os.kill(gateway.pid("chromium-default"), signal.SIGKILL)
        until("Chromium is being brought back", lambda: gateway.api.get("/api/health")["restart_in_progress"])
        gateway.healthy()
        ids = [gateway.send(f"message {n}", f"491555000{n % 10:04}") for n in range(20)]
        gateway.sent(ids[4])
        svg = drawn(gateway.environ)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "monitor.svg"
        source.write_text(svg)
        shoot(source.as_uri(), picture, round(COLUMNS * COLUMN + FRAME[0]), round((ROWS + 1) * ROW + FRAME[1]))


def drawn(environ: dict[str, str]) -> str:
    """What `gateway monitor` shows now, as SVG without the web fonts that rich would have it load."""
    console = Console(record=True, width=COLUMNS, height=ROWS, file=io.StringIO(), highlight=False, force_terminal=True)
    console.print(view(Looker(load(environ)).look(), COLUMNS, ROWS))
    console.print()
    return re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="./monitor.sh watch"), flags=re.DOTALL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
