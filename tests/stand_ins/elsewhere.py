"""Calls in processes of their own, which start in a moment and can be killed."""

import multiprocessing
import os
from contextlib import contextmanager

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["fieldprep.surveys.sdss"])


def _run(environment, sas_baseurl, calls):
    from astroquery.sdss import conf  # noqa: PLC0415 -- the child's own

    os.environ.clear()
    os.environ.update(environment)
    conf.sas_baseurl = sas_baseurl
    for function, *arguments in calls:
        function(*arguments)


@contextmanager
def process(server, *calls):
    """
    Process that makes calls, one after the other, with this process's environment; killed if still alive at the end.

    Each call is a function and its arguments; both travel by pickle.
    """
    started = _CONTEXT.Process(target=_run, args=(dict(os.environ), f"{server.url}/sas", calls))
    started.start()
    try:
        yield started
    finally:
        started.kill()
        started.join()
        started.close()
