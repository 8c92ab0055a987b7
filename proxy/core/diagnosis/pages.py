"""The pages on causes and reasons, made from the catalogue and the verdict's table. Pure; docs/generate.py writes them."""

from __future__ import annotations

import re

from proxy.core.diagnosis.catalogue import CATALOGUE
from proxy.core.diagnosis.cause import Confidence, Rule
from proxy.core.verdict import MEANINGS

_NOTE = "<!-- Made by docs/generate.py from the code. Change the code, not this page. -->"


def causes_page() -> str:
    """Return docs/causes.md."""
    parts = [_NOTE, "# Causes", _CAUSES, "| code | meaning |\n|---|---|\n" + "\n".join(_row(rule) for rule in CATALOGUE)]
    return "\n\n".join([*parts, *(_section(rule) for rule in CATALOGUE)]) + "\n"


def reasons_page() -> str:
    """Return docs/reasons.md."""
    rows = [
        f"| `{reason}` | {meaning.status} | {f'`{meaning.error}`' if meaning.error else '-'} | {meaning.sentence} |"
        for reason, meaning in MEANINGS.items()
    ]
    table = "| reason | status | `error` (RFC 6750) | meaning |\n|---|---|---|---|\n" + "\n".join(rows)
    return f"{_NOTE}\n\n# Reasons\n\n{_REASONS}\n\n{table}\n"


def _row(rule: Rule) -> str:
    return f"| [`{rule.code}`](#{rule.code}) | {rule.meaning} |"


def _section(rule: Rule) -> str:
    return "\n\n".join(
        [
            f"## {rule.code}",
            rule.meaning,
            f"**What proves it.** {rule.proof}",
            f"**For the operator.** {_blanks(rule.operator)}",
            f"**For the customer.** {_blanks(rule.customer)}",
        ]
    )


def _blanks(template: str) -> str:
    """Placeholders as italics, as they are filled case by case."""
    return re.sub(r"\{(\w+)\}", r"*(\1)*", template)


_CAUSES = f"""A diagnosis names one cause for an incident, with the evidence for and against it and what is missing.
Codes are stable. The order below is rank: a special cause stands before the general one of which it is a case.

- `{Confidence.CERTAIN}`: the evidence leaves nothing else.
- `{Confidence.LIKELY}`: nothing speaks against it.
- `{Confidence.POSSIBLE}`: not excluded. Such a cause is never the answer; it is listed as a candidate of `undetermined`.

What a source says now is never taken for what it said at the incident. The same evidence always gives the same cause.
Words in *(italics)* are filled in for each incident; *(steps)* tells on which page of the client the token is set, *(signin)*
where the connection is authorized anew. Where these words would be wrong in a case, others take their place."""

_REASONS = """Every request gets one reason. It stands in the log, in metrics, in the incident and in the `detail` of the SCIM
error. A reason says what was decided; [causes](causes.md) say why it came to that."""
