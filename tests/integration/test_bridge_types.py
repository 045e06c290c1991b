"""bridge.js against wa-js' own types: an upgrade that renames a function fails here, not in production."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
WA_JS = ROOT / "deploy" / "wa-js"
BRIDGE = ROOT / "gateway" / "browser" / "bridge.js"
TSC = WA_JS / "node_modules" / "typescript" / "bin" / "tsc"


def check(project: Path) -> subprocess.CompletedProcess[str]:
    node = shutil.which("node")
    assert node and TSC.exists(), "Node or TypeScript is missing: run `make install`, or `npm ci` in deploy/wa-js"
    return subprocess.run([node, TSC, "--project", project], capture_output=True, text=True, timeout=120)


def test_the_bridge_fits_the_library() -> None:
    result = check(WA_JS / "tsconfig.json")
    assert result.returncode == 0, result.stdout


#: What an upgrade might rename or retype, and a piece of the error that says so.
RENAMED = {
    ("chat.getMessageById(", "chat.getMsgById("): "getMsgById",
    ("chat.sendTextMessage(a.remote", "chat.sendText(a.remote"): "sendText",
    ("w.whatsapp.MsgStore.findFirst", "w.whatsapp.MessageStore.findFirst"): "MessageStore",
    ("'chat.msg_ack_change'", "'chat.ack_changed'"): "chat.ack_changed",
    ("genLinkDeviceCodeForPhoneNumber(phone)", "genLinkDeviceCodeForPhoneNumber(7)"): "'number' is not assignable",
}


def test_a_renamed_function_fails_the_check(tmp_path: Path) -> None:
    text = BRIDGE.read_text()
    for old, new in RENAMED:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "bridge.js").write_text(text)
    config = json.loads((WA_JS / "tsconfig.json").read_text())
    paths = config["compilerOptions"]["paths"]
    config["compilerOptions"]["paths"] = {name: [str(WA_JS / path) for path in found] for name, found in paths.items()}
    (tmp_path / "tsconfig.json").write_text(json.dumps({**config, "files": ["bridge.js"]}))
    result = check(tmp_path / "tsconfig.json")
    assert result.returncode != 0
    for word in RENAMED.values():
        assert word in result.stdout


def test_the_bridge_is_the_only_place_that_names_the_library() -> None:
    strangers = [
        path.relative_to(ROOT)
        for path in (ROOT / "gateway").rglob("*")
        if path.suffix in (".py", ".js") and "sandbox" not in path.parts and path != BRIDGE and "WPP." in path.read_text()
    ]
    assert strangers == []
