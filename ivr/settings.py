"""The settings in ``config/kapok.yaml``, and where a Kapok installation lies.

The *home* of an installation is the directory that holds ``config/``. All relative paths in
``kapok.yaml`` start there, wherever the command is run. :func:`find_home` looks for it in

1. the environment variable ``KAPOK_HOME``;
2. the current directory and those above it;
3. the directory that holds the package ``ivr`` (a checkout).

With an explicit file, the home is the directory above where the file lies in one named
``config``, and its own directory elsewhere.
"""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    ValidationInfo,
)

import ivr
from ivr.errors import ConfigError
from ivr.language import Language
from ivr.yamlsource import Fault, YamlSource, read_yaml, refuse, validate

__all__ = [
    "SETTINGS_FILE",
    "AccessSettings",
    "CallLogSettings",
    "DialogueSettings",
    "ElderSettings",
    "GatewaysSettings",
    "GenesysSettings",
    "LanguageSettings",
    "LanguagesSettings",
    "RecognitionSettings",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "TlsSettings",
    "TwilioSettings",
    "WebhookSettings",
    "find_home",
    "load_settings",
]

SETTINGS_FILE = Path("config", "kapok.yaml")
HOME_VARIABLE = "KAPOK_HOME"


def _from_home(value: object, info: ValidationInfo) -> Path:
    """A path as written, from the home of the installation."""
    if not isinstance(value, str | Path) or not str(value).strip():
        raise refuse("the name of a file or directory is needed here", "for example models/cmn")
    home: Path = (info.context or {}).get("home", Path())
    try:
        return home / Path(str(value).strip()).expanduser()
    except RuntimeError as error:  # ~name of somebody unknown
        raise refuse(str(error), "write the whole path") from error


def _check_host(text: str) -> str:
    if not text.strip() or any(character.isspace() for character in text.strip()):
        raise refuse(f"{text[:40]!r} is no address", "write for example 127.0.0.1 or 0.0.0.0")
    return text.strip()


def _read_secret(value: object) -> str:
    """A secret as written, or the environment's variable of the name that follows a ``$``."""
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith("$"):
        name = text[1:].strip("{}")
        text = os.environ.get(name, "").strip()
        if not text:
            raise refuse(
                f"the environment has no variable {name}", f"set it: export {name}=THE_SECRET"
            )
    if len(text) < 16:
        raise refuse(
            "a secret of at least 16 characters is needed here",
            "make one: openssl rand -base64 32; or write $NAME to take it from the environment",
        )
    return text


def _check_base64(secret: str) -> str:
    try:
        base64.b64decode(secret, validate=True)
    except ValueError:
        raise refuse(
            "the secret is not base64, as Genesys Cloud shows it",
            "make one: openssl rand -base64 32; enter the same in Genesys Cloud",
        ) from None
    return secret


def _check_url(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise refuse(
            f"{url[:60]!r} is no web address", "write for example https://desk.example/kapok"
        )
    return url.strip()


def _check_stream_url(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise refuse(
            f"{url[:60]!r} is no WebSocket address", "write for example wss://kapok.example/jambonz"
        )
    return url.strip()


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError as error:
        raise refuse(str(error), "write for example 10.0.0.5 or 10.1.0.0/16") from error


HomePath = Annotated[Path, BeforeValidator(_from_home)]
SecretText = Annotated[str, BeforeValidator(_read_secret)]  # with Field(repr=False)
Count = Annotated[int, Strict()]
Seconds = Annotated[float, Strict(), Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Model(BaseModel):
    # Sections left out are read again with the home that their paths start from.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, revalidate_instances="always"
    )


class LanguageSettings(_Model):
    """The speech model of one language."""

    engine: Literal["vosk", "kapok", "sherpa"] = Field(default="vosk", examples=["engine: vosk"])
    model: HomePath = Field(examples=["model: models/cmn"])
    #: what hears each utterance again, once it is over: our own, or a SenseVoice directory
    second_pass: HomePath | None = Field(default=None, examples=["second_pass: models/second"])

    @property
    def directories(self) -> tuple[Path, ...]:
        """Of all its models."""
        return (self.model, self.second_pass) if self.second_pass else (self.model,)

    def __str__(self) -> str:
        return f"{self.engine} {', then '.join(map(str, self.directories))}"


class LanguagesSettings(_Model):
    """The speech models of both languages."""

    cmn: LanguageSettings = Field(examples=["cmn: { engine: vosk, model: models/cmn }"])
    yue: LanguageSettings = Field(examples=["yue: { engine: vosk, model: models/yue }"])

    def __getitem__(self, language: Language | str) -> LanguageSettings:
        return self.cmn if Language(language) is Language.MANDARIN else self.yue

    def items(self) -> Iterator[tuple[Language, LanguageSettings]]:
        """Each language with its settings."""
        return ((language, self[language]) for language in Language)


class TlsSettings(_Model):
    """Encryption of both ports: a certificate with its chain, and its key, as PEM files."""

    certificate: HomePath = Field(examples=["certificate: config/tls/server.pem"])
    key: HomePath = Field(examples=["key: config/tls/server.key"])
    #: Certificates of those who may sign a client's; with it a client must show one.
    client_authorities: HomePath | None = Field(
        default=None, examples=["client_authorities: config/tls/clients.pem"]
    )


class AccessSettings(_Model):
    """Who may connect, and how often; see docs/security.md."""

    #: Tokens of gateways and operators, made by `ivr token new`; without the file none is asked.
    tokens: HomePath = Field(
        default=Path("config/tokens.yaml"), examples=["tokens: config/tokens.yaml"]
    )
    #: Web pages of other addresses that may connect, as a browser names them.
    origins: tuple[str, ...] = Field(default=(), examples=["origins: ['https://desk.example']"])
    #: Requests to the HTTP port from one address, on average and at once.
    requests_per_s: Annotated[float, Strict(), Field(gt=0, le=100_000)] = 50.0
    request_burst: Count = Field(default=200, ge=1, le=1_000_000, examples=["request_burst: 200"])
    #: Connections to the calls' ports from one address, on average and at once: a gateway opens
    #: hundreds.
    connections_per_s: Annotated[float, Strict(), Field(gt=0, le=100_000)] = 500.0
    connection_burst: Count = Field(
        default=20_000, ge=1, le=1_000_000, examples=["connection_burst: 20000"]
    )
    #: Connections to the calls' ports that are no calls yet, of all addresses. One more takes the
    #: place of the one that has said nothing for longest.
    max_waiting_connections: Count = Field(
        default=4_096, ge=1, le=1_000_000, examples=["max_waiting_connections: 4096"]
    )
    #: How long a connection to the calls' ports may take to begin TLS and to ask for a call.
    open_timeout_s: Seconds = Field(default=10.0, examples=["open_timeout_s: 10"])
    #: Wrong tokens from one address within a minute, before it has to wait.
    failures_per_minute: Count = Field(default=20, ge=1, le=10_000)
    #: Connections to the HTTP port at the same time.
    max_connections: Count = Field(default=256, ge=1, le=100_000)
    #: How long a request may take to arrive and to be answered.
    request_timeout_s: Seconds = Field(default=10.0, examples=["request_timeout_s: 10"])


class StoreSettings(_Model):
    """Where call events, decisions and live queue counts are kept."""

    #: sqlite:FILE, redis://HOST:PORT/N, postgresql://USER@HOST/DATABASE, or none
    url: str = Field(default="sqlite:var/calls.sqlite", examples=["url: sqlite:var/calls.sqlite"])
    #: Records wait here while the store cannot be reached.
    spool: HomePath = Field(default=Path("var/spool.sqlite"), examples=["spool: var/spool.sqlite"])
    max_spool_mb: Count = Field(default=512, ge=1, le=1_048_576, examples=["max_spool_mb: 512"])
    retention_days: Count = Field(default=30, ge=1, le=3_650, examples=["retention_days: 30"])


class GenesysSettings(_Model):
    """Genesys AudioHook: who may connect to ``/genesys``."""

    #: API key -> client secret (base64), as entered in Genesys Cloud; with any, every connection
    #: must carry a key and its signature
    keys: Mapping[str, Annotated[SecretText, AfterValidator(_check_base64)]] = Field(
        default={}, repr=False, examples=["keys: { my-api-key: $GENESYS_SECRET }"]
    )


class TwilioSettings(_Model):
    """Twilio Media Streams: who may connect to ``/twilio``."""

    #: the account's; with it every connection must carry Twilio's signature
    auth_token: SecretText | None = Field(
        default=None, repr=False, examples=["auth_token: $TWILIO_AUTH_TOKEN"]
    )


class JambonzSettings(_Model):
    """jambonz: what its webhooks are answered."""

    #: where it streams to; null: the host that it asked, at the server's port
    stream_url: Annotated[str, Strict(), AfterValidator(_check_stream_url)] | None = Field(
        default=None, examples=["stream_url: wss://kapok.example/jambonz"]
    )


class GatewaysSettings(_Model):
    """What single gateways need; see docs/gateways/."""

    twilio: TwilioSettings = Field(default=TwilioSettings(), examples=["twilio:"])
    genesys: GenesysSettings = Field(default=GenesysSettings(), examples=["genesys:"])
    jambonz: JambonzSettings = Field(default=JambonzSettings(), examples=["jambonz:"])
    #: TCP port for Asterisk's AudioSocket; 0: any free, null: off
    audiosocket_port: Count | None = Field(
        default=None, ge=0, le=65_535, examples=["audiosocket_port: 9092"]
    )
    #: Addresses and networks that may connect to it; it knows no tokens. Empty: anyone.
    audiosocket_peers: tuple[Annotated[str, AfterValidator(_check_network)], ...] = Field(
        default=(), examples=["audiosocket_peers: [10.0.0.5, 10.1.0.0/16]"]
    )


class WebhookSettings(_Model):
    """Decisions posted to an application; see docs/gateways/README.md."""

    url: Annotated[str, Strict(), AfterValidator(_check_url)] = Field(
        examples=["url: https://desk.example/kapok"]
    )
    secret: SecretText = Field(repr=False, examples=["secret: $KAPOK_WEBHOOK_SECRET"])
    timeout_s: Seconds = Field(default=5.0, examples=["timeout_s: 5"])
    #: how long a decision is tried again before it is given up
    give_up_s: Seconds = Field(default=3_600.0, examples=["give_up_s: 3600"])
    #: decisions waiting, at most; beyond it the oldest is given up, with a line in the log
    max_waiting: Count = Field(default=1_000, ge=1, le=1_000_000, examples=["max_waiting: 1000"])


class ServerSettings(_Model):
    """The WebSocket server and its limits."""

    host: Annotated[str, AfterValidator(_check_host)] = Field(
        default="127.0.0.1", examples=["host: 127.0.0.1"]
    )
    port: Count = Field(default=2700, ge=0, le=65_535, examples=["port: 2700"])  # 0: any free
    #: Health, metrics, calls and queues over HTTP; 0: any free, null: off.
    http_port: Count | None = Field(default=2701, ge=0, le=65_535, examples=["http_port: 2701"])
    http_host: Annotated[str, AfterValidator(_check_host)] | None = Field(
        default=None, examples=["http_host: 127.0.0.1"]
    )  # null: as host
    tls: TlsSettings | None = Field(default=None, examples=["tls:"])
    access: AccessSettings = Field(default=AccessSettings(), examples=["access:"])
    #: A scenario that plans agents and callers (ivr simulate): with it, and with the reports of
    #: the agents' side, callers are told how long they may wait; null: they are not.
    expected_waits: HomePath | None = Field(
        default=None, examples=["expected_waits: config/scenarios/small.yaml"]
    )
    #: An OpenTelemetry collector's OTLP/HTTP address; null: no traces.
    traces_url: str | None = Field(
        default=None, examples=["traces_url: http://127.0.0.1:4318/v1/traces"]
    )
    #: Who changed the configuration, when, and what.
    audit_log: HomePath = Field(
        default=Path("var/audit.jsonl"), examples=["audit_log: var/audit.jsonl"]
    )
    max_calls: Count = Field(default=400, ge=1, le=100_000, examples=["max_calls: 400"])
    max_message_bytes: Count = Field(
        default=1_048_576, ge=4_096, le=67_108_864, examples=["max_message_bytes: 1048576"]
    )
    idle_timeout_s: Seconds = Field(default=30.0, examples=["idle_timeout_s: 30"])
    max_call_s: Seconds = Field(default=900.0, examples=["max_call_s: 900"])
    #: How often queues.yaml is looked at for a change, seconds.
    reload_s: Seconds = Field(default=1.0, examples=["reload_s: 1"])
    #: Where a block of audio takes so long to be recognised, seconds, new calls are refused.
    shed_lag_s: Seconds = Field(default=0.25, examples=["shed_lag_s: 0.25"])
    #: Audio waiting for recognition, seconds: reading stops at the first, goes on at the second.
    high_water_s: Seconds = Field(default=4.0, examples=["high_water_s: 4.0"])
    low_water_s: Seconds = Field(default=1.0, examples=["low_water_s: 1.0"])


class RecognitionSettings(_Model):
    """The speech recognisers."""

    workers: Count = Field(default=0, ge=0, le=1_024, examples=["workers: 0"])
    alternatives: Count = Field(default=10, ge=1, le=100, examples=["alternatives: 10"])
    max_utterance_s: Seconds = Field(default=20.0, examples=["max_utterance_s: 20"])
    #: Whether only speech is decoded, and silence after it ends the utterance.
    voice_gate: bool = Field(default=True, strict=True, examples=["voice_gate: true"])
    #: Where one language fits an utterance so many times as well as speech has to, the other's
    #: model is not asked; null: both are, always. See bench/one_language.py.
    sure_score: Annotated[float, Strict(), Field(ge=1, le=100, allow_inf_nan=False)] | None = Field(
        default=4.5, examples=["sure_score: 4.5"]
    )

    @property
    def threads(self) -> int:
        """The number of threads meant: ``workers``, or the processor cores where that is 0."""
        return self.workers or _cores()


class ElderSettings(_Model):
    """The patience for callers who need more of it: slower prompts, and a person sooner."""

    #: Their numbers, one a line; a caller may also ask for it.
    callers: HomePath = Field(
        default=Path("config/elders.txt"), examples=["callers: config/elders.txt"]
    )
    no_input_s: Seconds = Field(default=8.0, examples=["no_input_s: 8"])
    #: Silence that ends what was said; others need about 0.8 s.
    end_of_speech_s: Seconds = Field(default=1.4, le=5, examples=["end_of_speech_s: 1.4"])
    max_no_input: Count = Field(default=1, ge=0, le=10, examples=["max_no_input: 1"])
    max_no_match: Count = Field(default=1, ge=0, le=10, examples=["max_no_match: 1"])
    max_confirmations: Count = Field(default=1, ge=0, le=10, examples=["max_confirmations: 1"])


class DialogueSettings(_Model):
    """How long and how often the call waits and asks before a person takes it."""

    no_input_s: Seconds = Field(default=5.0, examples=["no_input_s: 5"])
    max_no_input: Count = Field(default=2, ge=0, le=10, examples=["max_no_input: 2"])
    max_no_match: Count = Field(default=2, ge=0, le=10, examples=["max_no_match: 2"])
    max_confirmations: Count = Field(default=2, ge=0, le=10, examples=["max_confirmations: 2"])
    #: What cuts a prompt: a voice, recognised words, or nothing.
    barge_in: Literal["voice", "words", "off"] = Field(
        default="voice", examples=["barge_in: voice"]
    )
    #: From this expected wait on the caller is told it and offered a call-back; null: never.
    wait_told_s: Seconds | None = Field(default=180.0, examples=["wait_told_s: 180"])
    elders: ElderSettings = ElderSettings()


class CallLogSettings(_Model):
    """What is kept of each call, personal data masked."""

    #: A folder, one JSON lines file a call; null: nothing is kept.
    folder: HomePath | None = Field(default=None, examples=["folder: var/calls"])
    #: Whether the caller's voice is kept beside it, as WAV: nothing in it is masked.
    recording: bool = Field(default=False, strict=True, examples=["recording: false"])


class Settings(_Model):
    """All of ``config/kapok.yaml``; its paths are whole."""

    languages: LanguagesSettings = Field(examples=["languages:"])
    queues: HomePath = Field(
        default=Path("config/queues.yaml"), examples=["queues: config/queues.yaml"]
    )
    #: recordings and texts of the prompts; see ivr.call.prompt_audio
    prompts: HomePath = Field(default=Path("config/prompts"), examples=["prompts: config/prompts"])
    server: ServerSettings = ServerSettings()
    recognition: RecognitionSettings = RecognitionSettings()
    dialogue: DialogueSettings = DialogueSettings()
    call_log: CallLogSettings = CallLogSettings()
    store: StoreSettings = Field(default=StoreSettings(), examples=["store:"])
    gateways: GatewaysSettings = Field(default=GatewaysSettings(), examples=["gateways:"])
    webhook: WebhookSettings | None = Field(default=None, examples=["webhook:"])

    _home: Path = PrivateAttr(default=Path())
    _file: Path = PrivateAttr(default=SETTINGS_FILE)

    def model_post_init(self, context: Any, /) -> None:
        """Remember the file, and the home that the paths start from."""
        self._home = (context or {}).get("home", Path())
        self._file = (context or {}).get("file", self._home / SETTINGS_FILE)

    def without_second_pass(self) -> Settings:
        """The same settings, no utterance heard again."""
        languages = {
            str(k): entry.model_copy(update={"second_pass": None})
            for k, entry in self.languages.items()
        }
        return self.model_copy(update={"languages": self.languages.model_copy(update=languages)})

    @property
    def home(self) -> Path:
        """The directory that holds ``config/``."""
        return self._home

    @property
    def file(self) -> Path:
        """The file that these were read from."""
        return self._file


def _cores() -> int:
    """Processor cores that this process may use, in a container those that it was given."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_cores()
    return own if quota is None else max(1, min(own, math.ceil(quota)))


def _quota_cores(
    root: Path = Path("/sys/fs/cgroup"), of: Path = Path("/proc/self/cgroup")
) -> float | None:
    """The least processor quota of this process's control groups, in cores; None without one.

    The format is that of ``cpu.max`` (Linux, Documentation/admin-guide/cgroup-v2.rst).
    """
    try:
        lines = of.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found: list[float] = []
    for group in (Path(line[4:]) for line in lines if line.startswith("0::/")):
        for part in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                quota, period = (
                    (root / str(part).lstrip("/")).joinpath("cpu.max").read_text().split()
                )
                found.append(int(quota) / int(period))  # "max" is no number: no quota
    return min(found, default=None)


def load_settings(
    path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """The settings in the file ``path``; without one, in the home that :func:`find_home` finds.

    Raises:
        ConfigError: no installation is found, or every fault of the file, one a line:
            ``file:line:column: what is wrong; how to mend it``.
    """
    if path is None:
        home = find_home(environ=environ, cwd=cwd)
        file = home / SETTINGS_FILE
    else:
        file = Path(path).expanduser()
        folder = file.absolute().parent
        home = folder.parent if folder.name == SETTINGS_FILE.parent.name else folder
    source = read_yaml(file)
    return validate(
        Settings, source, checks=(_water_marks,), context={"home": home, "file": file.absolute()}
    )


def _water_marks(source: YamlSource) -> Iterator[Fault]:
    default = ServerSettings()
    high = source.get(("server", "high_water_s"))
    low = source.get(("server", "low_water_s"))
    high, low = (
        default.high_water_s if high is None else high,
        default.low_water_s if low is None else low,
    )
    if isinstance(high, int | float) and isinstance(low, int | float) and low >= high:
        place = source.value_place(("server", "low_water_s"))
        what = f"low_water_s ({low}) is not below high_water_s ({high})"
        yield Fault(place, what, "write a smaller number for low_water_s")


def find_home(*, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path:
    """The directory that holds ``config/kapok.yaml``; the order is that of the module's text.

    Raises:
        ConfigError: ``KAPOK_HOME`` has no settings, or none are found anywhere.
    """
    named = (os.environ if environ is None else environ).get(HOME_VARIABLE)
    if named:
        home = Path(named).expanduser().absolute()
        if not (home / SETTINGS_FILE).is_file():
            raise ConfigError(
                f"{HOME_VARIABLE} is {named}, where there is no {SETTINGS_FILE}; "
                "set it to the directory that holds config/"
            )
        return home
    here = (cwd or Path.cwd()).absolute()
    for folder in (here, *here.parents, Path(ivr.__file__).absolute().parents[1]):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    raise ConfigError(
        f"no {SETTINGS_FILE} in {here} or above it; go to the directory of Kapok, "
        f"set {HOME_VARIABLE} to it, or name the file by --config"
    )
