"""A CRM and a job history for the tests of reports, with what strangers may type in it."""

from __future__ import annotations

from crm_rows import add_customer, add_opportunity, add_promotion, execute

#: What a page would run, what a spreadsheet would, and what Plotly would.
SCRIPT = '</script><script>document.title="broken"</script><img src=x onerror="document.title=\'broken\'">'
FORMULA = '=HYPERLINK("http://elsewhere.example","x")'
LINK = '<a href="http://elsewhere.example">x</a>'


def a_hostile_crm() -> None:
    """Won in the week of 2026-03-02: 900 (quoted), 500 and, on the last day, 40; the week before: 300. One is open."""
    add_promotion()
    add_customer("vip", tier="vip", name=f"{FORMULA}{SCRIPT}")
    for name, status, worth, close in (
        ("quoted", "won", "1000", "2026-03-02"), ("plain", "won", "500", "2026-03-04"),
        ("edge", "won", "40", "2026-03-08"), ("after", "won", "7000", "2026-03-09"),
        ("before", "won", "300", "2026-03-01"), ("gone", "lost", "80", "2026-03-05"),
    ):  # fmt: skip
        add_opportunity(name, customer="vip", status=status, value=worth)
        execute("UPDATE opportunities SET expected_close = %s, created_at = '2026-02-01' WHERE id = %s", close, name)
    add_opportunity("open", customer=None, status="qualified", value="70")
    execute("UPDATE opportunities SET title = %s", f"@SUM(A1) {SCRIPT}")
    execute("INSERT INTO offers VALUES ('f', 'quoted', 'p1', 900, 10, '2026-03-01 12:00+00')")


def a_hostile_job_history() -> None:
    """In that week 10 completed and 1 failed of a type that nobody declared, with an error message as bad."""
    execute(
        "INSERT INTO job_metrics (bucket, resolution, job_type, priority, worker_id, completed, failed, retried,"
        " run, wait, run_seconds)"
        " VALUES ('2026-03-03 10:00+00', 60, %s, 5, '', 10, 1, 2, '{\"40\": 13}', '{\"20\": 13}', 9)",
        LINK,
    )
    execute("INSERT INTO background_jobs (id, job_type, status) VALUES ('j', 'note', 'failed')")
    execute(
        "INSERT INTO job_failures (job_id, job_type, attempt, error_class, message, fingerprint, failed_at)"
        " VALUES ('j', 'note', 1, 'Error', %s, 'f', '2026-03-03 10:00+00')",
        f"+1 {SCRIPT}",
    )
