"""The container program of this host, as jobs find it; asked ahead where a verb soon needs it"""

from __future__ import annotations

from dataclasses import replace

from container.ahead import Ahead
from container.runtime import Runtime, find_runtime
from jobtemplates.local import inherited
from manifests.host.context import HostContext


def container_program(host: HostContext) -> Runtime:
    """Tried in a job's environment. Raises Trouble where there is none that works."""
    if host.program_ahead is not None:
        return host.program_ahead.answer()
    return find_runtime(host.project, host.environ, inherited(host.environ))


def ask_ahead(host: HostContext) -> HostContext:
    """``host``, whose container program is being asked while this one goes on."""
    return replace(host, program_ahead=Ahead(lambda: container_program(host)))
