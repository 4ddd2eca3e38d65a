"""The page's routes: a person's wishes in, readable answers out. Errors are JSON, ``{"error": "..."}``, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from redis import RedisError
from starlette.exceptions import HTTPException

from examples.orders.demo import Demo
from examples.orders.guarding import Guard
from examples.orders.team import Refused
from examples.orders.watching import Watch, entry_json
from streamkit import AppendUncertain, InvalidArgument, RedriveFailed, ServerUnavailable, StreamkitError

if TYPE_CHECKING:
    from starlette.types import ExceptionHandler

STATIC = Path(__file__).with_name("static")


def demo_of(request: Request) -> Demo:
    """The demo that this server shows."""
    return cast("Demo", request.app.state.demo)


def watch_of(request: Request) -> Watch:
    """What takes its snapshots."""
    return cast("Watch", request.app.state.watch)


DemoHere = Annotated[Demo, Depends(demo_of)]
WatchHere = Annotated[Watch, Depends(watch_of)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
IdText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)]
Ids = Annotated[list[IdText], Field(min_length=1, max_length=100)]


class Body(BaseModel):
    """What a request says; anything unknown in it is an error."""

    model_config = ConfigDict(extra="forbid")


class ProduceBody(Body):
    """So many events, of one type (None: any), for one customer (None: any)."""

    count: int = Field(ge=1, le=1000)
    type: Literal["order.placed", "order.paid", "order.shipped", "order.cancelled"] | None = None
    customer: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)] | None = None


class RateBody(Body):
    """Events in a second."""

    rate: int = Field(ge=0, le=200)


class ConsumerBody(Body):
    """A consumer of a group."""

    group: Name
    consumer: Name


class CrashBody(ConsumerBody):
    """How many of its deliveries a consumer drops."""

    count: int = Field(default=3, ge=1, le=20)


class IdsBody(Body):
    """Dead letters."""

    ids: Ids


class SwitchBody(Body):
    """On or off."""

    on: bool


class TrimBody(Body):
    """The length to trim to."""

    length: int = Field(ge=0, le=100_000)


router = APIRouter()


def events(count: int) -> str:
    """A number of events, in words."""
    return "1 event" if count == 1 else f"{count} events"


@router.get("/")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(STATIC / "index.html")


@router.get("/api/events")
async def stream(watch: WatchHere) -> StreamingResponse:
    """Snapshots, twice a second."""
    return StreamingResponse(watch.stream(), media_type="text/event-stream")


@router.get("/api/replay")
async def replay(
    demo: DemoHere, start: IdText = "", end: IdText = "", limit: int = 100, *, reverse: bool = False
) -> dict[str, Any]:
    """The entries of a range of IDs."""
    if not 1 <= limit <= 1000:
        raise InvalidArgument(f"limit must be 1 to 1000, not {limit}")
    entries, more = await demo.replay(start, end, limit, reverse=reverse)
    said = f"{events(len(entries))} replayed{'; there are more' if more else ''}."
    return {"message": said, "entries": [entry_json(each) for each in entries], "more": more}


@router.post("/api/produce")
async def produce(demo: DemoHere, body: ProduceBody) -> dict[str, Any]:
    """Append events."""
    written = await demo.producer.produce(body.count, body.type, body.customer)
    return {"message": f"{events(written)} produced."}


@router.post("/api/rate")
async def rate(demo: DemoHere, body: RateBody) -> dict[str, Any]:
    """Produce at a steady rate."""
    demo.producer.rate = body.rate
    return {"message": f"Producing {events(body.rate)} a second." if body.rate else "Producing stopped."}


@router.post("/api/poison")
async def poison(demo: DemoHere) -> dict[str, Any]:
    """Append a poison pill."""
    return {"message": f"The poison pill is {await demo.producer.poison()}."}


@router.post("/api/mend")
async def mend(demo: DemoHere, body: SwitchBody) -> dict[str, Any]:
    """Mend the handler of the notifications, or break it again."""
    demo.work.mended = body.on
    return {"message": "The handler is mended." if body.on else "The handler fails for poison pills again."}


@router.post("/api/consumers/add")
async def add(demo: DemoHere, body: ConsumerBody) -> dict[str, Any]:
    """Have a consumer join."""
    await demo.add(body.group, body.consumer)
    return {"message": f"{body.consumer} joined {body.group}."}


@router.post("/api/consumers/remove")
async def remove(demo: DemoHere, body: ConsumerBody) -> dict[str, Any]:
    """Have a consumer leave."""
    moved, peer = await demo.remove(body.group, body.consumer)
    return {"message": f"{body.consumer} left {body.group}; {moved} pending handed to {peer}.", "moved": moved}


@router.post("/api/crash")
async def crash(demo: DemoHere, body: CrashBody) -> dict[str, Any]:
    """Have a consumer drop its next deliveries."""
    demo.crash(body.group, body.consumer, body.count)
    return {"message": f"{body.consumer} crashes with its next {body.count} deliveries."}


@router.post("/api/reap")
async def reap(demo: DemoHere, body: ConsumerBody) -> dict[str, Any]:
    """Have a consumer take over what nobody handles."""
    taken = await demo.reap(body.group, body.consumer)
    if taken:
        return {"message": f"{body.consumer} took over {events(taken)}.", "taken": taken}
    seconds = demo.settings.min_idle_time.total_seconds()
    return {"message": f"Nothing to reap yet: others' events must be idle for {seconds:g} s.", "taken": 0}


@router.post("/api/timer")
async def timer(demo: DemoHere, body: SwitchBody) -> dict[str, Any]:
    """Switch the timer."""
    demo.sweeping = body.on
    return {"message": f"The timer is {'on' if body.on else 'off'}."}


@router.post("/api/redrive")
async def redrive(demo: DemoHere, body: IdsBody) -> dict[str, Any]:
    """Move dead letters back."""
    return {"message": f"{events(await demo.redrive(body.ids))} redriven."}


@router.post("/api/discard")
async def discard(demo: DemoHere, body: IdsBody) -> dict[str, Any]:
    """Drop dead letters."""
    return {"message": f"{events(await demo.discard(body.ids))} discarded."}


@router.post("/api/trim")
async def trim(demo: DemoHere, body: TrimBody) -> dict[str, Any]:
    """Trim the stream."""
    return {"message": f"Trimmed to {body.length}: {events(await demo.trim(body.length))} removed."}


@router.post("/api/reset")
async def reset(demo: DemoHere) -> dict[str, Any]:
    """Begin anew."""
    await demo.reset()
    return {"message": "Reset: an empty stream, and the consumers of the start."}


# -- errors -----------------------------------------------------------------------------------------------------------


def refusal(status: int, message: str) -> JSONResponse:
    """An error as the page shows it."""
    return JSONResponse({"error": message}, status_code=status)


async def refused(_: Request, error: Refused) -> JSONResponse:
    """What the demo refuses."""
    return refusal(404 if error.missing else 409, str(error))


async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """A request that says what it may not."""
    said = [f"{'.'.join(map(str, each['loc'][1:])) or 'the request'}: {each['msg']}" for each in complaints(error)]
    return refusal(422, "; ".join(said))


def complaints(error: RequestValidationError) -> Sequence[dict[str, Any]]:
    """What is wrong, one by one."""
    return cast("Sequence[dict[str, Any]]", error.errors())


async def failed(_: Request, error: StreamkitError | RedisError) -> JSONResponse:
    """What the library or the server refuses."""
    if isinstance(error, InvalidArgument):
        return refusal(400, str(error))
    if isinstance(error, RedriveFailed):
        return refusal(409, str(error))
    return refusal(503 if isinstance(error, (ServerUnavailable, AppendUncertain)) else 502, str(error))


async def unknown(_: Request, error: HTTPException) -> JSONResponse:
    """No such page, or not by this method."""
    return refusal(error.status_code, str(error.detail))


def make_app(demo: Demo, watch: Watch) -> FastAPI:
    """The application; neither does it begin nor end what it shows."""
    app = FastAPI(title="orders", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.demo, app.state.watch = demo, watch
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    handlers: dict[type[Exception], Callable[[Request, Any], Any]] = {
        Refused: refused,
        RequestValidationError: invalid,
        StreamkitError: failed,
        RedisError: failed,
        HTTPException: unknown,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, cast("ExceptionHandler", handler))
    app.add_middleware(Guard)
    return app
