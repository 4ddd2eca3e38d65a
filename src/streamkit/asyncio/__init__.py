"""Dependable building blocks over Redis Streams: the asyncio half, and the source of the synchronous one."""

from __future__ import annotations

from streamkit._core.checkpoints import Checkpoint
from streamkit._core.codecs import Codec, DataclassCodec, Fields, FieldsIn, JsonCodec, RawCodec, TextCodec
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
    InvalidArgument,
    InvalidEntryId,
    NaiveDatetime,
    NewerStateVersion,
    NotAPartition,
    NotEntered,
    OutOfOrder,
    PermissionDenied,
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
from streamkit._core.ids import NEW, Beginning, EntryId
from streamkit._core.infos import StreamInfo
from streamkit._core.observers import Gap, GapCause, LateEntries, LoggingObserver, Observer, Position
from streamkit._core.periods import Period
from streamkit._core.protocol import Scalar
from streamkit._core.states import Migration
from streamkit.asyncio.capped import CappedStream
from streamkit.asyncio.partitioned import PartitionedStream
from streamkit.asyncio.reader import CheckpointedReader
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
    "Checkpoint",
    "CheckpointConflict",
    "CheckpointError",
    "CheckpointMismatch",
    "CheckpointedReader",
    "Codec",
    "CommandFailed",
    "DataclassCodec",
    "DecodeError",
    "EffectFailed",
    "EncodeError",
    "Entry",
    "EntryId",
    "Fields",
    "FieldsIn",
    "Gap",
    "GapCause",
    "InvalidArgument",
    "InvalidEntryId",
    "JsonCodec",
    "LateEntries",
    "LoggingObserver",
    "Migration",
    "NaiveDatetime",
    "NewerStateVersion",
    "NotAPartition",
    "NotEntered",
    "Observer",
    "OutOfOrder",
    "PartitionedStream",
    "Period",
    "PermissionDenied",
    "Position",
    "RawCodec",
    "ReservedFieldName",
    "RetentionExceeded",
    "Scalar",
    "ServerError",
    "ServerTooOld",
    "ServerUnavailable",
    "Source",
    "StateError",
    "Stream",
    "StreamInfo",
    "StreamkitError",
    "TextCodec",
    "UnknownStateFields",
    "UnsupportedType",
    "WrongKeyType",
    "stop_on_signals",
]
