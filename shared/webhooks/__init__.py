"""Webhooks by the Standard Webhooks specification (https://www.standardwebhooks.com): jobs tell their owners' servers.

    job's transition ──(same Lua step)──> facet:outbox ──> deliveries ──> delivery worker ──> receiver
       shared/jobs                        shared/webhooks/lua            in every gateway

A line of the outbox becomes one delivery for each webhook that asks for it, in one atomic step; a worker leases
a due delivery, posts it, and settles it. The workers of several gateways share the work through leases in Redis: of one
that dies, another takes over as soon as the lease is over, so nothing is lost, and a receiver may see a message twice
with the same `webhook-id`.
"""
