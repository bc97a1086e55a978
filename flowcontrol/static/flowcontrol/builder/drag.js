/* Dragging rows, between levels too. Where one is dropped is told to the server, which answers with
   the list as it is then; what it refuses goes back. */
"use strict";

{
    const { builder } = window.flowcontrol;

    if (builder.mayChange) {
        const known = new WeakSet();

        const where = (row) => {
            const before = builder.siblingOf(row, "previous");
            const after = builder.siblingOf(row, "next");
            const parent = builder.parentOf(row);
            if (before !== null) {
                return { target: before.dataset.fcRow, position: "after" };
            }
            if (after !== null) {
                return { target: after.dataset.fcRow, position: "before" };
            }
            return { target: parent?.dataset.fcRow ?? "", position: "first" };
        };

        const drop = async (event) => {
            const row = event.item;
            builder.root.classList.remove("fc-dragging");
            const isSame = event.from === event.to && event.oldIndex === event.newIndex;
            if (isSame) {
                return;
            }
            const selected = builder.selected();
            const isMany = selected.includes(row);
            const others = isMany ? selected.filter((each) => !each.contains(row) || each === row) : [row];
            const place = where(row);
            await builder.post(`${builder.url}move/`, {
                values: () => ({
                    ...place,
                    row: others
                        .filter((each) => each.dataset.fcRow !== place.target)
                        .map((each) => each.dataset.fcRow),
                }),
            });
        };

        // Where rows are many, those that make room jump: to animate them all takes too long.
        const LONG = 150;

        const make = (block) => {
            known.add(block);
            new Sortable(block, {
                group: "flowcontrol-rows",
                handle: ".fc-grip",
                draggable: "[data-fc-row]",
                animation: builder.rows().length > LONG ? 0 : 120,
                fallbackOnBody: true,
                forceFallback: false,
                swapThreshold: 0.6,
                emptyInsertThreshold: 12,
                delay: 120,
                delayOnTouchOnly: true,
                ghostClass: "fc-ghost",
                onStart: () => builder.root.classList.add("fc-dragging"),
                onEnd: drop,
            });
        };

        const makeAll = () => {
            const blocks = [builder.list, ...builder.list.querySelectorAll(".fc-rows")];
            for (const block of blocks.filter((each) => !known.has(each))) {
                make(block);
            }
        };

        // Not before somebody reaches for a row: a long list opens sooner.
        builder.list.addEventListener("pointerover", (event) => {
            if (event.target.closest(".fc-grip") !== null) {
                makeAll();
            }
        });
        builder.list.addEventListener("touchstart", makeAll, { passive: true, once: true });
        builder.makeSortable = makeAll;
    }
}
