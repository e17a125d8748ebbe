"""A reverse proxy as operators put in front of the gateway: it serves it below a path, which it takes away."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, DummyCookieJar, web

_NOT_PASSED_ON = frozenset(
    {"host", "connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
)


@contextmanager
def reverse_proxy(upstream: str, *, prefix: str, told: bool = True) -> Iterator[str]:
    """Serve an upstream below a prefix; yields the public address, prefix included.

    Args:
        upstream: URL of the gateway.
        prefix: such as /facet; what is not below it is 404 of the proxy's own.
        told: whether the gateway is told by X-Forwarded-Prefix.
    """
    started: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()
    serving = _serve(upstream, prefix, told, started)
    thread = threading.Thread(target=asyncio.run, args=(serving,))
    thread.start()
    port, stop = started.get(timeout=20)
    try:
        yield f"http://127.0.0.1:{port}{prefix}"
    finally:
        stop()
        thread.join()


async def _serve(
    upstream: str, prefix: str, told: bool, started: queue.Queue[tuple[int, Callable[[], object]]]
) -> None:
    async with ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar()) as session:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            if not request.raw_path.startswith(f"{prefix}/"):
                return web.Response(status=404, text="the proxy knows nothing there")
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
            headers |= {"X-Forwarded-For": str(request.remote)} | ({"X-Forwarded-Prefix": prefix} if told else {})
            target = upstream + request.raw_path.removeprefix(prefix)
            body = await request.read()
            async with session.request(
                request.method, target, headers=headers, data=body or None, allow_redirects=False
            ) as answer:
                passed = [pair for pair in answer.headers.items() if pair[0].lower() not in _NOT_PASSED_ON]
                response = web.StreamResponse(status=answer.status, headers=dict(passed))
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response

        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        started.put((runner.addresses[0][1], lambda: loop.call_soon_threadsafe(stopping.set)))
        await stopping.wait()
        await runner.cleanup()
