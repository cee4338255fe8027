"""The state of a store for a person in a hurry: what is wrong and what to do, then a line for each duty.

It reads the document that ``status`` answers, of whatever version the server is: what is not in it is not told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from artifactstore.documents import Document

_UNTIL_MINUTES = len("2026-11-20T10:18")


def lines_of(status: Document) -> Iterator[str]:
    """All of it."""
    wrong = list(what_is_wrong(status))
    yield from [f"! {line}" for line in wrong] or ["nothing is wrong"]
    yield ""
    for duty in _list(status, "duties"):
        yield _line_of(duty)
    for subscription in _list(status, "subscriptions"):
        yield f"{subscription['name']:<14} told up to event {subscription['position']}, {subscription['behind']} wait"
    yield ""
    yield from _figures(status)


def what_is_wrong(status: Document) -> Iterator[str]:
    """A line each, with what to do about it; nothing where all is well."""
    yield from what_is_left_out(status)
    yield from _of_damage(status)
    yield from _of_scrub(_part(status, "scrub"))
    yield from _of_duties(_list(status, "duties"))
    yield from _of_subscriptions(_list(status, "subscriptions"))
    yield from _of_backlog(_part(status, "backlog"))


def what_is_left_out(status: Document) -> Iterator[str]:
    """Plug-ins and webhooks; a server of an older version says nothing of them."""
    for what in ("plugins_left_out", "webhooks_left_out"):
        for error in _list(status, what):
            hint = f"; {error['hint']}" if "hint" in error else ""
            yield f"left out: {error['code']}: {error['message']}{hint}"


def _of_damage(status: Document) -> Iterator[str]:
    damage = _part(status, "damage")
    objects = cast("dict[str, int]", damage.get("objects", {}))
    if objects:
        each = ", ".join(f"{count} of kind {kind}" for kind, count in objects.items())
        yield f"damaged objects: {each}; `artifactstore heal --all` heals what it can"
    elif (total := _part(status, "scrub").get("damaged_objects")) and not damage:
        yield f"damaged objects: {total}; `artifactstore heal --all` heals what it can"
    if damage.get("blobs"):
        yield f"damaged files in packs: {damage['blobs']}; `artifactstore heal --all` heals what it can"


def _of_scrub(scrub: Document) -> Iterator[str]:
    if scrub.get("overdue"):
        yield f"the scrub is overdue: {scrub['coverage']:.0%} was read within {scrub['every_days']} days"
    if scrub.get("paused_at"):
        yield f"the scrub is paused, by {scrub['paused_by']}: `artifactstore storage scrub resume`"


def _of_duties(duties: list[Document]) -> Iterator[str]:
    for duty in duties:
        error = cast("dict[str, str] | None", duty["error"])
        if error is not None:
            hint = f"; {error['hint']}" if error.get("hint") else ""
            yield f"{duty['name']} failed: {error['code']}: {error['message']}{hint}"
        if duty["overdue"]:
            yield f"{duty['name']} is overdue: no server runs, or none of them gets to it"
        if duty.get("paused_by") and duty["name"] != "verify":
            yield f"{duty['name']} is paused, by {duty['paused_by']}: `artifactstore duties resume {duty['name']}`"
    if any(duty["overdue"] for duty in duties):
        yield "Duties run while a server runs; `artifactstore duties run` runs what is due."


def _of_subscriptions(subscriptions: list[Document]) -> Iterator[str]:
    for subscription in subscriptions:
        error = cast("dict[str, str] | None", subscription["error"])
        if error is not None:
            yield f"{subscription['name']} failed: {error['code']}: {error['message']}"
        if not subscription["installed"]:
            yield f"{subscription['name']} is told nothing: no plug-in that is installed here listens under this name"


def _of_backlog(backlog: Document) -> Iterator[str]:
    plan = cast("Document | None", backlog.get("plan"))
    if plan is not None and plan["waits_for"] is not None:
        digest, made_at = plan["plan_digest"], _minute(plan["made_at"])
        more = " --approve" if plan["waits_for"] == "approval" else ""
        yield f"the plan of {made_at} waits for {plan['waits_for']}: `artifactstore retention apply {digest}{more}`"
    if backlog.get("expired_not_planned"):
        yield f"expired and in no plan: {backlog['expired_not_planned']} packages; `artifactstore retention plan`"


def _line_of(duty: Document) -> str:
    did = ", ".join(f"{key} {value}" for key, value in (_part(duty, "detail")).items() if _is_short(value))
    who = f" by {duty['running_by']}" if duty["running_by"] else ""
    state = f"{'overdue' if duty['overdue'] else duty['state']}{who}"
    last, following = _minute(duty["succeeded_at"]), _minute(duty["next_run_at"])
    return f"{duty['name']:<14} {state:<10} done {last:<16}  next {following:<16}  {did}".rstrip()


def _is_short(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _figures(status: Document) -> Iterator[str]:
    backlog, scrub = _part(status, "backlog"), _part(status, "scrub")
    if backlog:
        names = ("packages_due", "packages_expired", "condemned_objects", "unsealed_events", "open_packages")
        yield "waiting        " + ", ".join(f"{name.replace('_', ' ')} {backlog[name]}" for name in names)
    if scrub:
        yield f"read back      {scrub['coverage']:.0%}, all of it {_minute(scrub['last_round_ended_at'])}"


def _minute(moment: object) -> str:
    return str(moment)[:_UNTIL_MINUTES].replace("T", " ") if moment else "never"


def _part(document: Document, name: str) -> Document:
    return cast("Document", document.get(name) or {})


def _list(document: Document, name: str) -> list[Document]:
    return cast("list[Document]", document.get(name) or [])
