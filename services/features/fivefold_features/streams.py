"""Client streams of this service: a header first, then Arrow bytes; and how a whole stream counts as one request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from fivefold.features.v1 import features_pb2 as pb
from fivefold_features.errors import StreamOrder

Part = pb.WriteTableRequest | pb.CreateTrainingSetRequest


@dataclass(slots=True)
class Streamed:
    """A stream that has been read to its end, as what `mutation` takes for a request.

    content  digest of what came after the header: the same request_id with other rows is another request
    made     what the method makes of it
    keys     the files that were stored for it
    taken    whether the method ran; it does not for a call that came before, and then nothing ever names the file
    """

    header: Message
    content: str
    made: Any
    keys: tuple[str, ...]
    taken: bool = False

    def take(self) -> Any:
        """Returns `made`, of which the file is needed from now on."""
        self.taken = True
        return self.made

    @property
    def request_id(self) -> str:
        return self.header.request_id  # type: ignore[attr-defined]

    def SerializeToString(self, *, deterministic: bool) -> bytes:
        return self.header.SerializeToString(deterministic=deterministic) + self.content.encode()


def opened(parts: Iterator[Part]) -> tuple[Any, Iterator[bytes]]:
    """Returns the header of a stream and its bytes, piece by piece. Raises StreamOrder, then or later."""
    first = next(parts, None)
    if first is None or first.WhichOneof("part") != "header":
        raise StreamOrder("the first message of the stream must be its header", expected="header")
    return first.header, _pieces(parts)


def _pieces(parts: Iterator[Part]) -> Iterator[bytes]:
    for part in parts:
        if part.WhichOneof("part") != "arrow":
            raise StreamOrder("after the header every message must carry `arrow`", expected="arrow")
        yield part.arrow
