"""Dependable building blocks over Redis Streams: the asyncio half, and the source of the synchronous one."""

from __future__ import annotations

from streamkit._core.checkpoints import Checkpoint
from streamkit._core.codecs import Codec, DataclassCodec, Fields, FieldsIn, JsonCodec, RawCodec, TextCodec
from streamkit._core.dead_letters import Cause, DeadLetter
from streamkit._core.entries import Entry
from streamkit._core.errors import (
    AheadOfTime,
    AppendError,
    AppendUncertain,
    CheckpointConflict,
    CheckpointError,
    CheckpointMismatch,
    CommandFailed,
    DecodeError,
    EffectFailed,
    EncodeError,
    GroupError,
    InvalidArgument,
    InvalidEntryId,
    LeaseLost,
    NaiveDatetime,
    NewerStateVersion,
    NotAPartition,
    NotEntered,
    OutOfOrder,
    PermissionDenied,
    RedriveFailed,
    ReservedFieldName,
    RetentionExceeded,
    ServerError,
    ServerTooOld,
    ServerUnavailable,
    StateError,
    StreamkitError,
    UnknownStateFields,
    UnsupportedType,
    WrongKeyType,
)
from streamkit._core.groups import PendingEntry, Reject, Retry, RetryPolicy, exponential
from streamkit._core.ids import NEW, Beginning, EntryId
from streamkit._core.infos import StreamInfo
from streamkit._core.observers import EntryOfGroup, Gap, GapCause, LateEntries, LoggingObserver, Observer, Position
from streamkit._core.periods import Period
from streamkit._core.protocol import Scalar
from streamkit._core.states import Migration
from streamkit._core.trimming import Trimmed
from streamkit.asyncio.capped import CappedStream
from streamkit.asyncio.dead_letter_queue import DeadLetterQueue
from streamkit.asyncio.deliveries import Delivery
from streamkit.asyncio.group_consumer import GroupConsumer
from streamkit.asyncio.partitioned import PartitionedStream
from streamkit.asyncio.reader import CheckpointedReader
from streamkit.asyncio.replayer import Replayer
from streamkit.asyncio.running_once import once
from streamkit.asyncio.sharded import ShardedStream
from streamkit.asyncio.sharded_reader import ShardedReader
from streamkit.asyncio.sources import Appendable, Source, Stream
from streamkit.signals import stop_on_signals

__all__ = [
    "NEW",
    "AheadOfTime",
    "AppendError",
    "AppendUncertain",
    "Appendable",
    "Beginning",
    "CappedStream",
    "Cause",
    "Checkpoint",
    "CheckpointConflict",
    "CheckpointError",
    "CheckpointMismatch",
    "CheckpointedReader",
    "Codec",
    "CommandFailed",
    "DataclassCodec",
    "DeadLetter",
    "DeadLetterQueue",
    "DecodeError",
    "Delivery",
    "EffectFailed",
    "EncodeError",
    "Entry",
    "EntryId",
    "EntryOfGroup",
    "Fields",
    "FieldsIn",
    "Gap",
    "GapCause",
    "GroupConsumer",
    "GroupError",
    "InvalidArgument",
    "InvalidEntryId",
    "JsonCodec",
    "LateEntries",
    "LeaseLost",
    "LoggingObserver",
    "Migration",
    "NaiveDatetime",
    "NewerStateVersion",
    "NotAPartition",
    "NotEntered",
    "Observer",
    "OutOfOrder",
    "PartitionedStream",
    "PendingEntry",
    "Period",
    "PermissionDenied",
    "Position",
    "RawCodec",
    "RedriveFailed",
    "Reject",
    "Replayer",
    "ReservedFieldName",
    "RetentionExceeded",
    "Retry",
    "RetryPolicy",
    "Scalar",
    "ServerError",
    "ServerTooOld",
    "ServerUnavailable",
    "ShardedReader",
    "ShardedStream",
    "Source",
    "StateError",
    "Stream",
    "StreamInfo",
    "StreamkitError",
    "TextCodec",
    "Trimmed",
    "UnknownStateFields",
    "UnsupportedType",
    "WrongKeyType",
    "exponential",
    "once",
    "stop_on_signals",
]
