"""`facet`, or `python -m deploy.operator`: the operator's command line.

Exit status: 0 done, 1 something is wrong, 2 the command line is, 3 Redis or a worker is missing, 4 there is no such
thing, 5 its state does not allow it.
"""

from __future__ import annotations

import click

from deploy.operator.audit import audit
from deploy.operator.jobs import jobs
from deploy.operator.keys import keys
from deploy.operator.status import status
from deploy.operator.webhooks import webhooks


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="facet")
def main() -> None:
    """Look after a Facet fleet.

    Speaks with its Redis: the one that FACET_REDIS_URL names, or the local fleet's. `webhooks` speaks with its gateway.
    """


main.add_command(audit)
main.add_command(jobs)
main.add_command(keys)
main.add_command(status)
main.add_command(webhooks)

if __name__ == "__main__":
    main(prog_name="facet")
