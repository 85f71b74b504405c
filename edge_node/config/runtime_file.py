"""The runtime file as a model: how to reach the broker, and where things lie.

Knows the keys, their types, ranges and defaults; knows nothing of YAML, line numbers or folders.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edge_node.config.scalars import Bytes, Identifier, Name, Seconds, Section


class TlsConfig(Section):
    """How to encrypt the connection to the broker."""

    ca_file: str | None = Field(
        default=None, description="Certificate authority; the system's store where left out."
    )
    cert_file: str | None = Field(default=None, description="Client certificate.")
    key_file: str | None = Field(default=None, description="Key of the client certificate.")


class BrokerConfig(Section):
    """How to reach the MQTT broker."""

    host: str = Field(default="127.0.0.1", description="Name or address of the broker.")
    port: int = Field(default=1883, ge=1, le=65_535, description="TCP port.")
    protocol: Literal["5", "3.1.1"] = Field(
        default="5", description="MQTT version asked for first; 3.1.1 is tried where the broker refuses 5."
    )
    username: str | None = Field(default=None, description="User name.")
    password_file: str | None = Field(
        default=None, description="File that holds the password; $CREDENTIALS_DIRECTORY is expanded."
    )
    tls: TlsConfig | None = Field(
        default=None, description="TLS; left out means plain TCP, allowed on loopback only."
    )
    plaintext: bool = Field(default=False, description="Allow plain TCP beyond loopback.")
    keepalive: Seconds = Field(default=30.0, le=65_535, description="Interval of MQTT pings.")
    session: Seconds = Field(
        default=86_400.0, description="How long the broker keeps messages for this edge while it is away."
    )


class LanguageModelConfig(Section):
    """Which language model to run."""

    name: str = Field(
        default="smollm2-135m-instruct",
        description="Name in the model catalogue, or a path to a GGUF file or an ONNX folder.",
    )
    context: int = Field(
        default=2048, ge=256, le=131_072, description="Tokens that prompt and answer may have together."
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Threads for inference; 0 takes every core but leaves the bus its share.",
    )
    deadline: Seconds = Field(
        default=60.0,
        description="How long a request may wait and run; then it is dropped and told, never decided late.",
    )
    adapter: bool = Field(
        default=True,
        description="Whether commands of nodes without an adapter of their own run with one that ships.",
    )
    prefixes: Bytes = Field(
        default=256 * 1024 * 1024,
        description="Disk that the beginnings of prompts, once read, may take; a node needs 23 kB a token.",
    )


class LargerModelConfig(Section):
    """A larger model behind an OpenAI-compatible address; orders that nothing here understands go there."""

    url: str = Field(
        description="Address that `/chat/completions` is appended to, such as http://127.0.0.1:11434/v1."
    )
    model: str = Field(min_length=1, description="Name of the model there.")
    key_file: str | None = Field(
        default=None, description="File that holds the key; $CREDENTIALS_DIRECTORY is expanded."
    )
    timeout: Seconds = Field(default=10.0, le=300, description="Longest that one answer may take.")
    context: int = Field(
        default=8192, ge=1024, le=1_048_576, description="Tokens that prompt and answer may have together."
    )
    ca_file: str | None = Field(
        default=None, description="Certificate authority; the system's store where left out."
    )
    plaintext: bool = Field(default=False, description="Allow plain HTTP beyond loopback.")


class EmbeddingConfig(Section):
    """Which embedding model to run."""

    name: str = Field(default="all-minilm-l6-v2", description="Name in the model catalogue.")


class LimitsConfig(Section):
    """How much of anything is taken in."""

    payload: Bytes = Field(
        default=256 * 1024,
        description="Largest payload that is read; a larger one goes to dead/payload_invalid.",
    )
    depth: int = Field(default=32, ge=1, le=500, description="Deepest nesting of a JSON payload.")
    queue: int = Field(default=1000, ge=1, description="Messages waiting for a decision.")
    text: int = Field(default=2000, ge=1, description="Characters of a question or an order.")
    devices: int = Field(default=10_000, ge=1, description="Devices the twin remembers.")
    window: int = Field(
        default=500, ge=16, le=100_000, description="Samples kept of one time window; more are merged."
    )
    samples: int = Field(default=1_000_000, ge=16, description="Samples kept of all time windows together.")
    patterns: int = Field(
        default=20_000, ge=16, description="Patterns of log lines kept of all devices together."
    )


class KnowledgeConfig(Section):
    """How much is taken from the manuals."""

    passages: int = Field(default=4, ge=1, le=20, description="Passages shown to the model.")


class StopConfig(Section):
    """The operational stop; everybody may stop whom the broker lets publish there."""

    reset: list[Name] = Field(
        default_factory=list, description="Users who may reset a stop over the bus; nobody where empty."
    )


class OperatorsConfig(Section):
    """Who may do what beyond asking."""

    roles: dict[Identifier, list[Name]] = Field(
        default_factory=dict, description="Users of each role; commands name roles under allow and approve."
    )
    keys: dict[Name, str] = Field(
        default_factory=dict,
        description="User to the file of their public key, relative to this file; for signed approvals.",
    )
    approve: list[Name] = Field(
        default_factory=list, description="Users who may approve and cancel commands; nobody where empty."
    )
    reload: list[Name] = Field(
        default_factory=list, description="Users who may have the files read again; nobody where empty."
    )
    explain: list[Name] = Field(
        default_factory=list,
        description="Users who may read what was decided, with everybody's words; nobody where empty.",
    )


class JournalConfig(Section):
    """How long the journal remembers what has ended."""

    keep: Seconds = Field(
        default=30 * 86_400.0,
        description="How long messages, words of people, decisions and commands are kept.",
    )
    rows: int = Field(default=50_000, ge=100, description="Most messages, and most commands, that are kept.")
    decisions: int = Field(
        default=10_000, ge=10, description="Most decisions that are kept, each of at most about 64 KB."
    )


class MemoryConfig(Section):
    """What is known of devices and triggers, kept over a restart."""

    save: Seconds = Field(
        default=60.0,
        description="How often it is written between clean stops, so that a crash takes no more than that.",
    )


class LogConfig(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level; payloads appear at debug only."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto writes JSON unless on a terminal."
    )


class RuntimeConfig(Section):
    """The runtime file: how to reach the broker and where things lie."""

    edge_node: Literal[1] = Field(description="Version of this file's layout.")
    edge: Name = Field(description="Identifier of this edge; stands in every topic.")
    group: Name | None = Field(
        default=None,
        description="Group of edges that answer people as one; its name stands in the topics of questions.",
    )
    broker: BrokerConfig = Field(default_factory=BrokerConfig)
    nodes: list[str] = Field(
        default_factory=lambda: ["nodes/*"],
        description="Folders with a node.yaml, as glob patterns relative to this file.",
    )
    state: str | None = Field(
        default=None, description="Folder for journal and indexes; $EDGE_NODE_HOME/state/EDGE where left out."
    )
    model: LanguageModelConfig = Field(default_factory=LanguageModelConfig)
    larger_model: LargerModelConfig | None = Field(
        default=None,
        description="Model on your own network for orders that nothing here understands; off by default.",
    )
    embedding: EmbeddingConfig = Field(default_factory=EmbeddingConfig)
    knowledge: KnowledgeConfig = Field(default_factory=KnowledgeConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    memory: MemoryConfig = Field(default_factory=MemoryConfig)
    stop: StopConfig = Field(default_factory=StopConfig)
    operators: OperatorsConfig = Field(default_factory=OperatorsConfig)
    journal: JournalConfig = Field(default_factory=JournalConfig)
    log: LogConfig = Field(default_factory=LogConfig)
