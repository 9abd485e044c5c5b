"""The verbs of ``bundle.py``, one file each; what a verb needs is imported when it is called."""

from __future__ import annotations

from typing import Tuple

import click

from manifests.cli.verbs.attest import attest
from manifests.cli.verbs.build import build
from manifests.cli.verbs.cancel import cancel
from manifests.cli.verbs.clean import clean
from manifests.cli.verbs.compare import compare
from manifests.cli.verbs.completion import completion
from manifests.cli.verbs.data import data
from manifests.cli.verbs.demo import demo
from manifests.cli.verbs.doctor import doctor
from manifests.cli.verbs.init import init
from manifests.cli.verbs.list_ import list_
from manifests.cli.verbs.lock import lock
from manifests.cli.verbs.logs import logs
from manifests.cli.verbs.note import note
from manifests.cli.verbs.plot import plot
from manifests.cli.verbs.report import report
from manifests.cli.verbs.rerun import rerun
from manifests.cli.verbs.resume import resume
from manifests.cli.verbs.show import show
from manifests.cli.verbs.status import status
from manifests.cli.verbs.submit import submit
from manifests.cli.verbs.verify import verify

#: In the order of a run's life.
VERBS: Tuple[click.Command, ...] = (
    doctor,
    build,
    lock,
    init,
    submit,
    resume,
    list_,
    status,
    show,
    note,
    logs,
    plot,
    cancel,
    rerun,
    compare,
    report,
    verify,
    attest,
    demo,
    data,
    clean,
    completion,
)
