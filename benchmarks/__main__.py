"""`make bench`, or `python -m benchmarks [workloads] [mails] [throughput] [reads] [dashboard_load]`."""

from __future__ import annotations

import sys

from deployments.prefect_settings import apply_prefect_settings

apply_prefect_settings()

from benchmarks.surroundings import machine, surroundings  # noqa: E402


def main(names: list[str]) -> int:
    with surroundings():
        # Imported late: Prefect reads its API's address when it is imported.
        from benchmarks import dashboard_load, mails, processors, reads, throughput, workloads

        assert processors
        sections = {
            "workloads": workloads.measure,
            "mails": mails.measure,
            "throughput": throughput.measure,
            "reads": reads.measure,
            "dashboard_load": dashboard_load.measure,
        }
        unknown = [name for name in names if name not in sections]
        if unknown:
            print(f"expected some of {', '.join(sections)}, got {unknown[0]!r}", file=sys.stderr)
            return 2
        print(machine())
        for name in names or sections:
            sections[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
