# SPDX-License-Identifier: Artistic-2.0 OR GPL-2.0-or-later
"""Small messages before large ones among the jobs that a worker was given: the option `small_first`.

The supervisor gives out jobs by their names, oldest first, and no name tells a size: so that is a matter of one
worker and its batch. Jobs of one message stay together, and messages of one size keep their order.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

from mailspool.supervisor.job import Job, Result


def perform_smallest_first(
    jobs: Sequence[Job], size_of: Callable[[Job], int], perform: Callable[[Sequence[Job]], list[Result]]
) -> list[Result]:
    """What `perform` makes of them, one result for each, in the order of `jobs`. size_of: octets."""
    groups = [list(group) for _, group in groupby(range(len(jobs)), key=lambda at: jobs[at].group)]
    if len(groups) > 1:
        groups.sort(key=lambda group: size_of(jobs[group[0]]))
    order = [at for group in groups for at in group]
    results = dict(zip(order, perform([jobs[at] for at in order]), strict=True))
    return [results[at] for at in range(len(jobs))]
