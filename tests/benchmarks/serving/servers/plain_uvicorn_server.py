"""No product but a reference: what Python's HTTP and onnxruntime reach without batching, validation or a gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn

from tests.benchmarks.serving.servers.common import Model, ports

Message = Mapping[str, Any]


class Application:
    """Answers any request with raw float32; the session runs on the event loop."""

    def __init__(self) -> None:
        self._model = Model()

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """ASGI 3."""
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        answer = self._model.run(self._model.read(b"".join(parts))[None]).tobytes()
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        Application(), port=ports()[0], loop="uvloop", http="httptools", lifespan="off", log_level="error",
        access_log=False,
    )  # fmt: skip
