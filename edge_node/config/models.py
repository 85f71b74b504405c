"""The two files a user writes, as validated models: the runtime file and the node file.

Knows pydantic and the names of keys; knows nothing of YAML, line numbers or folders.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)")


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if not found:
            raise ValueError("a duration such as 500ms, 30s, 2m, 1h or 30d")
        return float(found[1]) * _UNITS_S[found[2]]
    raise ValueError("a duration with its unit, such as 30s")


def _bytes(value: Any) -> Any:
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ValueError("a size with its unit, such as 256KiB")
    return int(found[1]) * _UNITS_BYTES[found[2]]


_Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$")])]
_Bytes = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=Annotated[str, Field(pattern=r"^\d+\s*(B|KiB|MiB|GiB)$")])]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TlsConfig(_Model):
    """How to encrypt the connection to the broker."""

    ca_file: str | None = Field(None, description="Certificate authority; the system's store where left out.")
    cert_file: str | None = Field(None, description="Client certificate.")
    key_file: str | None = Field(None, description="Key of the client certificate.")


class BrokerConfig(_Model):
    """How to reach the MQTT broker."""

    host: str = Field("127.0.0.1", description="Name or address of the broker.")
    port: int = Field(1883, ge=1, le=65_535, description="TCP port.")
    protocol: Literal["5", "3.1.1"] = Field("5", description="MQTT version asked for first; 3.1.1 is tried where the broker refuses 5.")
    username: str | None = Field(None, description="User name.")
    password_file: str | None = Field(None, description="File that holds the password; $CREDENTIALS_DIRECTORY is expanded.")
    tls: TlsConfig | None = Field(None, description="TLS; left out means plain TCP, allowed on loopback only.")
    plaintext: bool = Field(False, description="Allow plain TCP beyond loopback.")
    keepalive: _Seconds = Field(30.0, description="Interval of MQTT pings.")
    session: _Seconds = Field(86_400.0, description="How long the broker keeps messages for this edge while it is away.")


class LanguageModelConfig(_Model):
    """Which language model to run."""

    name: str = Field("smollm2-135m-instruct", description="Name in the model catalogue, or a path to a GGUF file or an ONNX folder.")
    context: int = Field(2048, ge=256, le=131_072, description="Tokens that prompt and answer may have together.")
    threads: int = Field(0, ge=0, le=64, description="Threads for inference; 0 takes every core but leaves the bus its share.")


class EmbeddingConfig(_Model):
    """Which embedding model to run."""

    name: str = Field("all-minilm-l6-v2", description="Name in the model catalogue.")


class LimitsConfig(_Model):
    """How much of anything is taken in."""

    payload: _Bytes = Field(256 * 1024, description="Largest payload that is read; a larger one goes to dead/payload.")
    depth: int = Field(32, ge=1, le=500, description="Deepest nesting of a JSON payload.")
    queue: int = Field(1000, ge=1, description="Messages waiting for a decision.")
    text: int = Field(2000, ge=1, description="Characters of a question or an order.")
    devices: int = Field(10_000, ge=1, description="Devices the twin remembers.")


class KnowledgeConfig(_Model):
    """How much is taken from the manuals."""

    passages: int = Field(4, ge=1, le=20, description="Passages shown to the model.")


class LogConfig(_Model):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level; payloads appear at debug only.")
    format: Literal["auto", "json", "console"] = Field("auto", description="auto writes JSON unless on a terminal.")


class RuntimeConfig(_Model):
    """The runtime file: how to reach the broker and where things lie."""

    edge_node: Literal[1] = Field(description="Version of this file's layout.")
    edge: Name = Field(description="Identifier of this edge; stands in every topic.")
    broker: BrokerConfig = Field(default_factory=BrokerConfig)
    nodes: list[str] = Field(default_factory=lambda: ["nodes/*"], description="Folders with a node.yaml, as glob patterns relative to this file.")
    state: str | None = Field(None, description="Folder for journal and indexes; $EDGE_NODE_HOME/state/EDGE where left out.")
    model: LanguageModelConfig = Field(default_factory=LanguageModelConfig)
    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    knowledge: KnowledgeConfig = Field(default_factory=KnowledgeConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    log: LogConfig = Field(default_factory=LogConfig)


class ListenConfig(_Model):
    """A topic that devices publish on."""

    topic: str = Field(description="Topic; a name in braces stands for one level, the first one names the device.")
    fields: dict[Identifier, str] = Field(description="Field name to its path in the JSON payload, joined by dots; '$' takes the whole payload.")
    qos: Literal[0, 1] = Field(0, description="1 journals each message and loses none; 0 only updates the twin.")


class TriggerConfig(_Model):
    """What makes a message into a request."""

    when: str | None = Field(None, description="CEL condition over the device's fields.")
    until: str | None = Field(None, description="CEL condition that ends the episode; the opposite of `when` where left out.")
    for_: _Seconds | None = Field(None, alias="for", description="How long `when` must hold first.")
    absent: _Seconds | None = Field(None, description="Fires when a device was silent for this long.")
    do: dict[Identifier, dict[Identifier, Any]] | None = Field(None, description="One command with its arguments; '{name}' takes a field, or the device by its name in the topic.")
    choose: list[Identifier] | None = Field(None, description="Commands among which the model may choose one, or none.")
    say: str | None = Field(None, description="Sentence that tells the alarm; '{name}' takes a field or the device.")
    explain: bool = Field(False, description="Publish what the manual says about it with the event.")


class ArgumentConfig(_Model):
    """One argument of a command: a JSON Schema, or a device."""

    device: bool = Field(False, description="A device the twin knows.")
    type: Literal["integer", "number", "string", "boolean"] | None = Field(None, description="JSON type.")
    minimum: float | None = Field(None, description="Least value.")
    maximum: float | None = Field(None, description="Greatest value.")
    enum: list[str] | None = Field(None, description="Values allowed.")
    unit: str | None = Field(None, description="Unit, as people say it.")
    default: bool | int | float | str | None = Field(None, description="Value where nothing was said.")
    description: str = Field("", description="What it means, for the model and for people.")


class PublishConfig(_Model):
    """What a device gets."""

    topic: str = Field(description="Topic of the device; '{argument}' is filled in.")
    payload: Any = Field(description="Payload; a value that is exactly '{argument}' keeps the argument's type. '{command_id}' is the command's identifier.")
    qos: Literal[0, 1] = Field(1, description="Quality of service.")
    idempotent: bool = Field(False, description="Whether it may be sent again after a crash.")


class LimitConfig(_Model):
    """How often and how far."""

    every: _Seconds | None = Field(None, description="Least time between two commands of this name to one device.")
    step: float | None = Field(None, gt=0, description="Largest change of the expected field at once.")


class ExpectConfig(_Model):
    """What shows that a command was carried out."""

    field: Identifier = Field(description="Field of the device.")
    equals: Any = Field(description="Value, or the name of an argument.")
    within: _Seconds = Field(5.0, description="How long it may take.")


class CommandConfig(_Model):
    """A command a node may give."""

    description: str = Field(description="What it does, one sentence; the model reads it.")
    examples: list[str] = Field(default_factory=list, description="Sentence templates in hassil's notation, arguments in braces.")
    args: dict[Identifier, ArgumentConfig] = Field(default_factory=dict, description="Arguments by name.")
    publish: PublishConfig = Field(description="What the device gets.")
    require: list[str] = Field(default_factory=list, description="CEL conditions that must hold; unknown counts as no.")
    limit: LimitConfig = Field(default_factory=LimitConfig)
    approve: str = Field("never", description="never, always, or a CEL condition.")
    expect: ExpectConfig | None = Field(None, description="What shows that it was carried out.")
    expires: _Seconds = Field(30.0, description="After this it is not sent any more.")


class NodeConfig(_Model):
    """The node file: what to do."""

    edge_node: Literal[1] = Field(description="Version of this file's layout.")
    name: Name = Field(description="Name of the node.")
    description: str = Field("", description="What it is for, one sentence; the model reads it.")
    knowledge: list[str] = Field(default_factory=list, description="Files of the manual, as glob patterns relative to this file.")
    listen: list[ListenConfig] = Field(default_factory=list, description="Topics of devices.")
    stale: _Seconds = Field(60.0, description="After this a value counts as unknown and its device as offline.")
    triggers: dict[Identifier, TriggerConfig] = Field(default_factory=dict, description="Triggers by name.")
    ask: bool = Field(False, description="Whether operators may ask and order.")
    commands: dict[Identifier, CommandConfig] = Field(default_factory=dict, description="Commands by name.")
