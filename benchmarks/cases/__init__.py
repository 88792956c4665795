"""What `make bench` measures, a file for each kind of question; `benchmarks.bench` runs them."""

from benchmarks.cases import (
    control,
    cost,
    delay,
    growth,
    joins,
    meeting,
    memory,
    overload,
    saturation,
    workers,
)

CASES = {
    case.key: case
    for case in (
        cost.CASE,
        saturation.CASE,
        meeting.CASE,
        delay.CASE,
        growth.CASE,
        memory.CASE,
        joins.CASE,
        control.CASE,
        workers.CASE,
        overload.CASE,
    )
}
