"""Which test holds which promise about a bad day (the checklist of issue 4), and that each of them exists by that name.

The fault matrix (tests/faults/) makes each part fail in each way under load as well; here is where each promise is held alone.
"""

from __future__ import annotations

import ast
import functools
import pathlib

import pytest

TESTS = pathlib.Path(__file__).parents[1]
DAYS: dict[str, tuple[str, str]] = {
    "the store is down": ("evidence/test_delivery.py", "test_store_stopped_for_a_thousand_records_then_started_has_each_once"),
    "the store is frozen": ("evidence/test_connect.py", "test_a_frozen_store_is_a_timeout"),
    "the store is full": ("evidence/test_delivery.py", "test_out_of_memory_is_waited_for"),
    "the store is flushed": ("evidence/test_delivery.py", "test_a_flushed_store_breaks_nothing"),
    "the store has lost an answer": (
        "evidence/test_delivery.py",
        "test_an_answer_that_gets_lost_after_the_store_applied_it_does_not_store_twice",
    ),
    "each of its keys ends": ("evidence/test_delivery.py", "test_every_key_has_a_bound_and_a_retention"),
    "a thousand refusals without it": (
        "end_to_end/test_promises.py",
        "test_a_thousand_refusals_without_redis_are_a_thousand_incidents_once",
    ),
    "the token database is down": ("end_to_end/test_promises.py", "test_the_database_down_at_start_is_a_503_and_heals"),
    "an outage is no revocation": ("core/test_verdict.py", "test_our_own_trouble_is_never_a_refusal"),
    "a known state ends when too old": (
        "sources/test_fresh.py",
        "test_a_source_that_is_down_lets_the_last_state_grow_old_and_then_serves_no_more",
    ),
    "the clock jumps": ("sources/test_fresh.py", "test_the_sources_clock_goes_on_whatever_ours_does"),
    "the backend is down": ("end_to_end/test_promises.py", "test_the_backend_down_is_a_502_with_a_scim_body"),
    "the backend breaks in every way": ("edge/test_findings.py", "test_a14_every_fault_of_the_backend_is_502_or_504"),
    "a break inside a body is visible": ("edge/test_findings.py", "test_no_502_in_the_middle_of_a_body"),
    "SIGTERM with work in flight": ("edge/test_drain.py", "test_uploads_and_downloads_in_flight_end_whole"),
    "SIGTERM with work on its way": (
        "edge/test_drain.py",
        "test_a_request_that_comes_while_draining_is_served_and_the_connection_ends",
    ),
    "SIGTERM with work that does not end": ("edge/test_drain.py", "test_what_does_not_end_in_time_is_cut_visibly"),
    "kill -9": ("end_to_end/test_promises.py", "test_kill_9_right_after_a_401_loses_nothing"),
    "a worker dies": ("supervise/test_no_request_lost.py", "test_a_killed_worker_costs_what_it_held_and_nothing_else"),
    "too many connections": ("edge/test_slowness.py", "test_connection_limit_says_503"),
    "too many handshakes": ("edge/test_tls.py", "test_a_handshake_under_way_counts_as_a_connection"),
    "out of descriptors, in every part": ("faults/test_matrix.py", "test_every_part_and_every_fault_has_a_cell_or_a_reason"),
    "memory at 200 MB each way": ("edge/test_streaming.py", "test_memory_stays_bounded_at_200_mb_each_way"),
    "memory under long lines": ("core/test_framing_properties.py", "test_strangers_cannot_fill_memory_with_long_lines"),
    "slowloris": ("edge/test_slowness.py", "test_head_byte_by_byte_does_not_extend_its_deadline"),
    "slow uploads": ("edge/test_slowness.py", "test_stalled_upload_is_a_408_and_ends_the_backend_request"),
    "clients that do not read": ("edge/test_slowness.py", "test_client_that_does_not_read_is_cut_and_the_backend_with_it"),
    "idle crowds": ("edge/test_slowness.py", "test_five_hundred_idle_connections_do_not_slow_the_others"),
    "idle and busy crowds, on the wired program": ("end_to_end/test_overload.py", "test_idle_crowds_and_busy_ones"),
    "guesses of one address": (
        "edge/test_limits.py",
        "test_refusals_of_an_address_are_limited_and_good_tokens_from_there_are_not",
    ),
    "a flood of guesses": ("floods/test_floods.py", "test_a_hundred_thousand_guesses"),
    "unknown tokens fill no cache": ("sources/test_fresh.py", "test_an_unknown_token_is_remembered_briefly_and_in_bounds"),
    "no token is written": ("end_to_end/test_promises.py", "test_a_planted_token_stands_nowhere"),
    "log lines are one line each": ("observe/test_log.py", "test_what_would_break_a_line_or_a_terminal_is_escaped"),
    "label values are bounded": ("observe/test_metrics.py", "test_any_exchange_renders_in_both_formats"),
}


@functools.cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((TESTS / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("day", DAYS)
def test_the_promise_is_held_by_a_test(day: str):
    path, name = DAYS[day]
    assert name in names_in(path)


def test_every_finding_about_aiohttp_has_its_test():
    """A1 to A20, and three more."""
    names = names_in("edge/test_findings.py")
    missing = [number for number in range(1, 21) if not any(name.startswith(f"test_a{number}_") for name in names)]
    assert [] == missing
    assert {
        "test_trailers_are_not_the_next_request_s_headers",
        "test_a_head_answer_with_a_body_passes",
        "test_no_502_in_the_middle_of_a_body",
    } <= names
