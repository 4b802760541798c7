"""A gateway in 40 lines: stream a WAV into Kapok as a telephone would, print what comes back.

python docs/examples/client.py ws://127.0.0.1:2700 CALL.wav
"""

import asyncio
import json
import sys

import soundfile
import websockets

BLOCK_S = 0.1


async def call(url: str, path: str) -> None:
    samples, rate_hz = soundfile.read(path, dtype="int16")
    block = round(rate_hz * BLOCK_S)
    async with websockets.connect(url) as line:
        await line.send(json.dumps({"config": {"sample_rate": rate_hz, "call_id": path}}))
        for start in range(0, len(samples), block):
            await line.send(samples[start : start + block].tobytes())
            show(json.loads(await line.recv()))  # exactly one reply a block
            await asyncio.sleep(BLOCK_S)
        await line.send('{"eof" : 1}')
        show(json.loads(await line.recv()))


def show(reply: dict) -> None:
    if "error" in reply:
        print("error:", reply["error"])
    elif "text" in reply:
        print("heard:", reply["language"], reply["text"])
        print("decision:", reply["decision"], reply["queue"] or reply["emergency"] or "")
        print("say to the caller:", reply["call"]["prompt"])


asyncio.run(call(*sys.argv[1:3]))
