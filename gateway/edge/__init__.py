"""The edge: everything between a stranger's bytes and a service, in one order, for every path.

A server that others keep (granian, on hyper) reads and writes HTTP: framing, heads, keep-alive and upgrades are its
own. `application.Edge` then does, for each request and in this order:

1. `heads`: sizes and fields of the head, the address, the method;
2. `browsers`: Host, and what pages of other origins may not do;
3. key, scope and quota (`gateway.access`);
4. `admission`: is the service that would work on it full?
5. `bodies`: the whole body, counted, timed, inflated; in memory while it is small, on disk beyond;
6. `gateway.idempotency`, where the request has a key for it;
7. the call: to a service (`gateway.upstream.proxy`) or a route of the gateway's own;
8. the answer, given up when nobody reads it; the audit entry; the memory given back.

What follows from it: a service is asked only once a request is there in full, by a client that others keep (aiohttp)
and that frames what it sends by itself; so a caller's framing never reaches a service, and slow callers hold none.
"""
