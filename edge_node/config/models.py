"""The models of both files, by name.

Knows where they are defined, and nothing else.
"""

from __future__ import annotations

from edge_node.config.node_file import (
    ApprovalConfig,
    ArgumentConfig,
    BusLogConfig,
    CommandConfig,
    DeviceConfig,
    ExpectConfig,
    LimitConfig,
    ListenConfig,
    NodeConfig,
    PublishConfig,
    RelativeConfig,
    TriggerConfig,
)
from edge_node.config.runtime_file import (
    BrokerConfig,
    EmbeddingConfig,
    JournalConfig,
    KnowledgeConfig,
    LanguageModelConfig,
    LargerModelConfig,
    LimitsConfig,
    LogConfig,
    MemoryConfig,
    OperatorsConfig,
    RuntimeConfig,
    StopConfig,
    TlsConfig,
)
from edge_node.config.scalars import Identifier, Name

__all__ = [
    "ApprovalConfig",
    "ArgumentConfig",
    "BrokerConfig",
    "BusLogConfig",
    "CommandConfig",
    "DeviceConfig",
    "EmbeddingConfig",
    "ExpectConfig",
    "Identifier",
    "JournalConfig",
    "KnowledgeConfig",
    "LanguageModelConfig",
    "LargerModelConfig",
    "LimitConfig",
    "LimitsConfig",
    "ListenConfig",
    "LogConfig",
    "MemoryConfig",
    "Name",
    "NodeConfig",
    "OperatorsConfig",
    "PublishConfig",
    "RelativeConfig",
    "RuntimeConfig",
    "StopConfig",
    "TlsConfig",
    "TriggerConfig",
]
