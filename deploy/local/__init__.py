"""The supervisor behind `make run`: the processes of docker-compose.yml on this machine, without containers.

ports.py         free and taken ports                 processes.py   one child process: start, end, log
redis_server.py  the Redis of machine or wheel        lifeline.py    ends the children of a killed supervisor
fleet.py         which processes make up Facet        supervisor.py  starts, watches, restarts and stops them
workers.py       which workers the declared jobs need
readyfile.py     tells other programs where everything is
"""
