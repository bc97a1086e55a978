"""Rows of a draft that become a flow of their own, with a row in their place that starts it.

The new flow has to do what the rows did where they stood. It begins with a copy of the state and
with what they read of the variables of the blocks around them; what they set is taken over when it
has ended. What means something only where it stands, such as a way out of a block that stays
behind, is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from flowcontrol.dataflow import reads_names, sets_computed_names
from flowcontrol.documents import JSONObject, walk
from flowcontrol.drafting import create_flow, replace_draft
from flowcontrol.drafts import Draft, as_document, draft_document, editing
from flowcontrol.exceptions import DraftRefused
from flowcontrol.findings import ENDS_THE_RUN, LEAVES_THE_BLOCK
from flowcontrol.models import Flow
from flowcontrol.names import Place, bound_by, names_at, set_inside
from flowcontrol.registry import actions
from flowcontrol.sentences import title_of
from flowcontrol.shaping import new_row, together
from flowcontrol.trees import TOP, RowTree

LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Extraction:
    """What making rows a flow of their own comes to.

    Attributes:
        rows: the rows, side by side, chains whole; as a document has them.
        name: a name for the new flow, which no other flow has.
        hands_over: what they read of the variables of the blocks around them.
        takes_over: the names in the state that they may set.
        differences: what will not be quite as it was, a sentence each.
    """

    rows: Sequence[JSONObject]
    name: str
    hands_over: Sequence[str]
    takes_over: Sequence[str]
    differences: Sequence[str]


def plan_extraction(flow: Flow, uids: Sequence[str]) -> Extraction:
    """What :func:`extract_to_flow` would do.

    Raises:
        DraftRefused: it would refuse.
    """
    return _plan(Draft.of(flow, draft_document(flow)), uids)


def extract_to_flow(
    flow: Flow,
    uids: Sequence[str],
    name: str,
    *,
    revision: int | None = None,
    user: Any = None,
) -> Flow:
    """Make a selection a flow of its own, with a row in its place that starts it and waits.

    The new flow is about the same objects. It is a draft: publish it and switch it on before the
    flow that starts it. Undoing brings the rows back and leaves the new flow where it is.

    Raises:
        StaleDraft: see :func:`flowcontrol.drafts.editing`.
        DraftRefused: the rows do not stand together, or what one of them does it can do only where
            it stands: lead out of a block around them, stop the run, read what the trigger brought
            or an object that a loop has come to.
    """
    with editing(flow, revision, verb="extract", user=user) as draft:
        plan = _plan(draft, uids)
        chosen = [row["uid"] for row in plan.rows]
        place = draft.tree.parents[chosen[0]], draft.tree.index(chosen[0])
        document = as_document(draft.flow, draft.tree)
        made = create_flow(name)
        replace_draft(made, {**document, "actions": plan.rows, "condition": ""})
        config = _start_config(made, plan, is_tried=_is_tried(draft.tree, chosen[0]))
        for uid in chosen:
            draft.tree.remove(uid)
        draft.tree.insert(*place, [new_row("start_flow", config)])
        draft.about = chosen
    return made


def _start_config(flow: Flow, plan: Extraction, *, is_tried: bool) -> JSONObject:
    """Start it with everything, wait for it, and take over what its rows may have set."""
    config: JSONObject = {
        "flow": flow.slug,
        "pass_object": True,
        "pass_state": "all",
        "wait": True,
        "take_keys": list(plan.takes_over),
    }
    if plan.hands_over:
        config |= {"state": {name: name for name in plan.hands_over}, "evaluate": True}
    if is_tried:
        # What failed in the rows was for the On error behind the Try around them.
        config["on_failure"] = "fail"
    return config


# --- what it comes to -----------------------------------------------------------------------------


def _plan(draft: Draft, uids: Sequence[str]) -> Extraction:
    chosen = together(draft, uids)
    rows = [draft.tree.subtree(uid) for uid in chosen]
    for row, blocks in _with_blocks(rows):
        if reason := _why_not(row, blocks):
            raise DraftRefused(reason % {"row": title_of(row)})
    around = _around(draft.tree, chosen[0])
    bound = set().union(*(bound_by(block) for block in around))
    read = {name.split(".")[0] for row, _blocks in _with_blocks(rows) for name in _read_by(row)}
    _refuse_objects_of_loops(draft, around, read)
    return Extraction(
        rows=rows,
        name=_name_for(draft.flow, rows),
        hands_over=sorted(read & bound),
        takes_over=sorted(set_inside(rows)),
        differences=list(_differences(rows)),
    )


def _with_blocks(
    rows: Sequence[JSONObject], blocks: tuple[JSONObject, ...] = ()
) -> Iterator[tuple[JSONObject, tuple[JSONObject, ...]]]:
    """Each row, with the blocks around it that are among them."""
    for row in rows:
        yield row, blocks
        yield from _with_blocks(row["children"], (*blocks, row))


def _around(tree: RowTree, uid: str) -> list[JSONObject]:
    """The blocks around a row, the nearest first."""
    found = []
    while (uid := tree.parents[uid]) != TOP:
        found.append({"uid": uid, **tree.rows[uid], "children": []})
    return found


def _is_tried(tree: RowTree, uid: str) -> bool:
    return any(block["action"] == "try" for block in _around(tree, uid))


def _read_by(row: JSONObject) -> set[str]:
    return set().union(*reads_names(row).values())


def _why_not(row: JSONObject, blocks: Sequence[JSONObject]) -> str:
    """Why a row cannot be in a flow of its own with only these blocks around it, if it cannot."""
    if row["action"] in ENDS_THE_RUN:
        return _("“%(row)s” would stop the new flow alone. Leave it out of the selection.")
    if _leads_out(row, blocks):
        return _(
            "“%(row)s” leads out of the block around these rows, which another flow cannot do. "
            "Leave it out of the selection, or take the block with it."
        )
    reads_trigger = any(name.split(".")[0] == "trigger" for name in _read_by(row))
    if reads_trigger and not _has_trigger_of_its_own(row):
        return _(
            "“%(row)s” reads what the trigger brought, which another flow does not get. Keep it "
            "in the state first (Update state), and read it from there."
        )
    return ""


def _leads_out(row: JSONObject, blocks: Sequence[JSONObject]) -> bool:
    policy = row["on_error"]
    if isinstance(policy, Mapping) and policy.get("then") in LEAVES_THE_BLOCK and not blocks:
        return True
    if row["action"] not in LEAVES_THE_BLOCK:
        return False
    if row["config"].get("target", "parent") == "loop":
        return not any(_is_loop(block) for block in blocks)
    return not blocks


def _is_loop(row: JSONObject) -> bool:
    action_type = actions.find(row["action"])
    return action_type is not None and action_type.is_loop


def _has_trigger_of_its_own(row: JSONObject) -> bool:
    """Whether it waits for a trigger: then that is the one which its condition speaks of."""
    action_type = actions.find(row["action"])
    schemas = action_type.config_schema.get("properties", {}) if action_type is not None else {}
    return any(sub.get("format") == "trigger" for sub in schemas.values())


def _refuse_objects_of_loops(draft: Draft, around: Sequence[JSONObject], read: set[str]) -> None:
    """State is JSON: an object that a loop walks to cannot be handed over in it.

    Raises:
        DraftRefused: the rows read one.
    """
    content_type = draft.flow.content_type
    model = content_type.model_class() if content_type is not None else None
    for block in around:
        items = block["config"].get("items")
        objects = read & bound_by(block) - {"index", "first", "last"}
        if not objects or not isinstance(items, str) or not _is_loop(block):
            continue
        document = as_document(draft.flow, draft.tree)
        names = names_at(document, Place(uid=block["uid"]), model=model)
        if any(name.name == items.strip() and name.type == "rows" for name in names):
            message = _(
                "“%(name)s” is an object of its own, which the state of another flow cannot hold. "
                "“Start flow for each item” starts a flow about each of %(items)s."
            )
            raise DraftRefused(message % {"name": min(objects), "items": items.strip()})


def _differences(rows: Sequence[JSONObject]) -> Iterator[str]:
    for placed in walk({"actions": rows}, only_enabled=True):
        row, told = placed.row, {"row": title_of(placed.row)}
        if sets_computed_names(row):
            yield (
                _("What “%(row)s” sets is known only when it runs, so it is not taken over.") % told
            )
        elif row["action"] in ("set_state", "remove_keys"):
            yield (
                _("What “%(row)s” takes out of the state is taken out there, and stays here.")
                % told
            )
        elif row["config"].get("becomes_object"):
            yield (
                _("The run here stays about the object that it has, whatever “%(row)s” makes.")
                % told
            )


def _name_for(flow: Flow, rows: Sequence[JSONObject]) -> str:
    """The label of the only row, else the flow and its first row; with a number if it is taken."""
    title = title_of(rows[0])
    if len(rows) > 1 or not rows[0]["label"]:
        title = _("%(flow)s: %(row)s") % {"flow": flow.name, "row": title}
    name, number = title[: LONGEST_NAME - 5].rstrip(), 1
    while Flow.objects.filter(name=_numbered(name, number)).exists():
        number += 1
    return _numbered(name, number)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} {number}"
