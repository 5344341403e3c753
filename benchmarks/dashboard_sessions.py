"""`python -m benchmarks.dashboard_sessions URL N`: N sessions on the Overview until standard input ends, nothing drawn.

What a browser says to the dashboard, over the same websocket: the first run of the page, then each of its parts again
when its interval has passed. The drawing happens on the viewers' machines, and is left out.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState, ContextInfo
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

LARGEST_MESSAGE = 200 * 2**20


async def main(url: str, sessions: int) -> None:
    opened = [asyncio.Event() for _ in range(sessions)]
    watching = [asyncio.create_task(_watch(url, each)) for each in opened]
    for each in opened:
        await asyncio.wait_for(each.wait(), 60)
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def _watch(url: str, opened: asyncio.Event) -> None:
    stream = f"ws://{urlsplit(url).netloc}/_stcore/stream"
    async with connect(
        stream, subprotocols=[Subprotocol("streamlit")], origin=Origin(url.rstrip("/")), max_size=LARGEST_MESSAGE
    ) as socket:
        await _ask(socket, url)
        repeating: dict[str, asyncio.Task[None]] = {}
        async for message in socket:
            assert isinstance(message, bytes)
            told = ForwardMsg.FromString(message)
            kind = told.WhichOneof("type")
            if kind == "auto_rerun":
                part, interval = told.auto_rerun.fragment_id, told.auto_rerun.interval
                if part not in repeating:
                    repeating[part] = asyncio.create_task(_repeat(socket, url, part, interval))
            elif kind == "script_finished" and repeating:
                opened.set()


async def _repeat(socket: ClientConnection, url: str, part: str, interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        await _ask(socket, url, part)


async def _ask(socket: ClientConnection, url: str, part: str = "") -> None:
    context = ContextInfo(timezone="UTC", timezone_offset=0, locale="en", url=url, is_embedded=False)
    state = ClientState(fragment_id=part, is_auto_rerun=bool(part), context_info=context)
    await socket.send(BackMsg(rerun_script=state).SerializeToString())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
