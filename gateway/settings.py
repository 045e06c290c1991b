"""Every setting, once: name, type, default, meaning. Read from the environment (GATEWAY_…) and a TOML file.

The environment wins over the file. The file is named by GATEWAY_SETTINGS, else `gateway.toml` in
the data directory, where there is one.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from gateway import proxy as proxies
from gateway.listening import DEFAULT_DATA, DEFAULT_LISTEN, PREFIX, data_directory, read_settings_file, settings_file, split_addresses
from gateway.ownership import give_to_parents_owner, refusal

WHATSAPP_WEB = "https://web.whatsapp.com/"
#: How GATEWAY_CHROMIUM_ARGS names a proxy.
PROXY_FLAG = "--proxy-server="
LOOPBACK = ("127.0.0.1", "::1", "localhost")


#: `careful`: our guesses of what looks like a person. Nobody outside of WhatsApp knows its limits.
CAREFUL: dict[str, Any] = {"send_interval": 3.0, "max_per_minute": 10, "max_per_day": 200, "new_chats_per_day": 20}
CAREFUL_IS = (
    "careful: 3–5 s between messages, 10 a minute, 200 a day, 20 a day to new chats, unless set otherwise. "
    "Our guesses: no one outside of WhatsApp knows its limits."
)


class SettingsError(Exception):
    """A setting is wrong; the text says which one and what to do."""


class Settings(BaseModel):
    """All settings. Durations are seconds, sizes bytes; 0 switches a cap off."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    data: Path = Field(Path(DEFAULT_DATA), description="Data directory: database, profiles, logs, sockets. A local file system.")
    listen: str = Field(DEFAULT_LISTEN, description="Addresses of the API, comma separated.")
    api_key: SecretStr | None = Field(None, description="With a key set, every call but the two probes asks for it.")
    api_key_file: Path | None = Field(None, description="A file that holds the API key.")
    root_path: str = Field("", description="Path under which a proxy shows the gateway, for instance /whatsapp; the proxy may strip it.")
    metrics_key: SecretStr | None = Field(None, description="A key that opens /metrics only.")
    whatsapp_url: str = Field(WHATSAPP_WEB, description="WhatsApp Web; the sandbox's address to try things out.")

    send_interval: float = Field(1.0, ge=0, description="Seconds between two messages of a session.")
    max_per_minute: int = Field(0, ge=0, description="Messages of a session in any 60 s; 0 = no cap.")
    max_per_hour: int = Field(0, ge=0, description="Messages of a session in any hour; 0 = no cap.")
    max_per_day: int = Field(0, ge=0, description="Messages of a session in any 24 h; 0 = no cap.")
    new_chats_per_day: int = Field(0, ge=0, description="Messages to chats without history in any 24 h; the others go on; 0 = no cap.")
    chat_interval: float = Field(0.0, ge=0, description="Seconds between two messages to one chat; 0 = no gap.")
    pacing: Literal["normal", "careful"] = Field("normal", description=CAREFUL_IS)
    send_timeout: float = Field(120.0, gt=0, description="Seconds after which a hand-over without ack is unconfirmed.")
    message_ttl: float = Field(0.0, ge=0, description="Seconds that a message may wait in the queue; 0 = for ever.")
    max_attempts: int = Field(5, ge=1, description="Hand-overs proven not sent before a message is a dead letter.")
    retry_delay: float = Field(2.0, gt=0, description="Seconds of the first back-off; it doubles from there.")
    retry_max_delay: float = Field(300.0, gt=0, description="The largest back-off in seconds.")
    queue_limit: int = Field(1_000_000, ge=1, description="Messages that may wait; beyond it the API answers 503.")
    in_flight: int = Field(4, ge=1, le=16, description="Chats with a hand-over under way at once.")
    call_timeout: float = Field(20.0, gt=0, description="Seconds that one call on the page may take.")

    health_interval: float = Field(30.0, gt=0, description="Seconds between two full health checks and their log line.")
    chromium: Path | None = Field(None, description="Chromium's executable; found by itself where unset.")
    chromium_args: str = Field("", description="Further flags for Chromium, as a shell would split them.")
    chromium_memory_limit: int = Field(2_000_000_000, ge=0, description="Bytes (PSS) above which Chromium is relaunched; 0 = off.")
    proxy: SecretStr | None = Field(None, description="Proxy for Chromium: http://[NAME:PASSWORD@]HOST:PORT, https://… or socks5://….")
    chromium_hosts: str = Field("", description="Further hosts that Chromium may ask besides WhatsApp's, comma separated; * = all.")
    wa_js: Path | None = Field(None, description="The wa-js bundle; the one that `gateway setup` installed where unset.")
    default_region: str | None = Field(None, description="Region (DE, BR, …) in which national numbers are read.")
    core_dumps: bool = Field(False, description="Let a crashed process leave a core dump; it holds message texts and keys.")
    doorbells: bool = Field(True, description="Wake other processes after a commit; without it they poll each second.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else JSON.")

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return data_directory(str(value)).absolute()

    @field_validator("listen")
    @classmethod
    def _addresses(cls, value: str) -> str:
        split_addresses(value)
        return value

    @field_validator("proxy")
    @classmethod
    def _one_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            proxies.parse(value.get_secret_value())
        return value

    @field_validator("chromium_args")
    @classmethod
    def _flags(cls, value: str) -> str:
        for flag in split_flags(value):
            if flag.startswith(PROXY_FLAG):
                proxies.parse(flag.removeprefix(PROXY_FLAG))
        return value

    @field_validator("root_path")
    @classmethod
    def _path(cls, value: str) -> str:
        """Without a slash at its end; empty for /."""
        parts = value.strip("/").split("/") if value.strip("/") else []
        if any(re.fullmatch(r"[A-Za-z0-9._~-]+", part) is None or part in (".", "..") for part in parts):
            raise ValueError("must be a path alone, as in /whatsapp: letters, digits, -, ., _ and ~ between its slashes")
        return "".join(f"/{part}" for part in parts)

    @model_validator(mode="before")
    @classmethod
    def _careful(cls, given: Any) -> Any:
        """What is set by name wins over what `careful` brings."""
        return {**CAREFUL, **given} if isinstance(given, dict) and given.get("pacing") == "careful" else given

    @model_validator(mode="after")
    def _key_or_loopback(self) -> Self:
        if self.api_key_file is not None and self.api_key is not None:
            raise ValueError("set GATEWAY_API_KEY or GATEWAY_API_KEY_FILE, not both")
        if self.api_key is not None and len(self.api_key.get_secret_value()) < 16:
            raise ValueError("GATEWAY_API_KEY is shorter than 16 characters: make one with `openssl rand -hex 32`")
        if self.api_key is None and self.api_key_file is None:
            for host, port in self.addresses:
                if host not in LOOPBACK:
                    raise ValueError(
                        f"GATEWAY_LISTEN opens {host}:{port} to the network and no key is set: set GATEWAY_API_KEY, or listen on 127.0.0.1"
                    )
        return self

    @property
    def chromium_flags(self) -> list[str]:
        """GATEWAY_CHROMIUM_ARGS, split as a shell would. A --proxy-server among them is `upstream`, and is not in this list."""
        return [flag for flag in split_flags(self.chromium_args) if not flag.startswith(PROXY_FLAG)]

    @cached_property
    def upstream(self) -> proxies.Proxy | None:
        """The proxy that Chromium's requests go through: a --proxy-server in GATEWAY_CHROMIUM_ARGS, else GATEWAY_PROXY."""
        flags = [flag.removeprefix(PROXY_FLAG) for flag in split_flags(self.chromium_args) if flag.startswith(PROXY_FLAG)]
        named = flags[-1] if flags else self.proxy.get_secret_value() if self.proxy else None
        return proxies.parse(named) if named is not None else None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """GATEWAY_LISTEN as (host, port) pairs."""
        return split_addresses(self.listen)

    @cached_property
    def key(self) -> str | None:
        """The API key, from the variable or from the file. Raises SettingsError if the file cannot be read."""
        if self.api_key_file is None:
            return self.api_key.get_secret_value() if self.api_key else None
        try:
            key = self.api_key_file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"GATEWAY_API_KEY_FILE cannot be read: {error}") from None
        if len(key) < 16:
            raise SettingsError("the key in GATEWAY_API_KEY_FILE is shorter than 16 characters: make one with `openssl rand -hex 32`")
        return key

    # -- where things lie in the data directory
    @property
    def database(self) -> Path:
        return self.data / "gateway.db"

    @property
    def run(self) -> Path:
        """Sockets, locks, beats: everything that means nothing after a restart of the machine."""
        return self.data / "run"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def tried(self) -> Path:
        """The note that the data directory's file system was tried."""
        return self.run / "filesystem.tried"

    def slot(self, session: str) -> Path:
        """A session's own directory: profile, tmp, incarnation."""
        return self.data / "sessions" / session

    def beat(self, process: str) -> Path:
        return self.run / f"{process}.beat"

    def lock(self, process: str) -> Path:
        return self.run / f"{process}.lock"

    def make_directories(self) -> None:
        """Create the data directory and its parts, readable by this user alone. Raises SettingsError."""
        try:
            for directory in (self.data, self.run, self.logs, self.data / "sessions"):
                if not directory.is_dir():
                    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                    give_to_parents_owner(directory)
        except OSError as error:
            raise SettingsError(
                refusal(self.data, depth=1)
                or f"the data directory {self.data} cannot be made: {error.strerror}; set GATEWAY_DATA to a directory that you may write"
            ) from None


def split_flags(text: str) -> list[str]:
    """Flags as a shell would split them. Raises ValueError with a sentence."""
    try:
        return shlex.split(text)
    except ValueError:
        raise ValueError("a quotation mark is not closed: write each flag as in a shell") from None


def load(environ: dict[str, str] | None = None) -> Settings:
    """Settings from the environment and the settings file. Raises SettingsError with a sentence that says what to do."""
    environ = dict(os.environ) if environ is None else environ
    known = Settings.model_fields
    given: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == f"{PREFIX}SETTINGS":
            continue
        field = name.removeprefix(PREFIX).lower()
        if field in known:
            if value != "":
                given[field] = value
        elif not field.startswith("chromium_of"):
            # Kubernetes injects GATEWAY_PORT for a Service called gateway: a warning, not a refusal
            print(f"gateway: {name} is no setting{_nearest(field, known, PREFIX)}; ignored", file=sys.stderr)
    try:
        return Settings(**{**_from_file(environ, known), **given})
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(e) for e in error.errors())) from None


def _from_file(environ: dict[str, str], known: dict[str, Any]) -> dict[str, Any]:
    try:
        path = settings_file(environ)
        values = read_settings_file(path) if path else {}
    except ValueError as error:
        raise SettingsError(str(error)) from None
    for name in values:
        if name not in known:
            raise SettingsError(f"{path}: {name!r} is no setting{_nearest(name, known)}")
    return values


def _nearest(name: str, known: dict[str, Any], prefix: str = "") -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if not close:
        return ""
    return f"; did you mean {prefix + close[0].upper() if prefix else close[0]}?"


def _sentence(error: Any) -> str:
    text = str(error["msg"]).removeprefix("Value error, ")
    return f"{PREFIX}{str(error['loc'][0]).upper()}: {text}" if error["loc"] else text
