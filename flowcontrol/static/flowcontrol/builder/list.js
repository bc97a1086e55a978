/* The list: putting rows in place, folding, the one row that has the focus, the selection. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const { list } = builder;
    const changes = () => document.getElementById("fc-changes");

    const rows = () => [...list.querySelectorAll("[data-fc-row]")];
    const name = (row) => row.dataset.fcRow;
    const title = (row) => row.querySelector(":scope > .fc-line .fc-title");
    const blockOf = (row) => row.querySelector(":scope > .fc-rows");
    const parentOf = (row) => row.parentElement.closest("[data-fc-row]");
    const siblingOf = (row, way) => {
        const next = row[`${way}ElementSibling`];
        return next !== null && next.matches("[data-fc-row]") ? next : null;
    };

    builder.rows = rows;
    builder.parentOf = parentOf;
    builder.siblingOf = siblingOf;
    builder.row = (quoted) => document.getElementById(`row-${quoted}`);
    builder.marks = () =>
        Object.fromEntries(rows().map((row) => [name(row), row.dataset.fcMark]));

    // --- putting rows in place ---

    let outline = [];

    /* A line for each row: depth, mark, name. */
    const readOutline = () =>
        changes()
            .dataset.fcOutline.split("\n")
            .filter(Boolean)
            .map((line) => {
                const [depth, mark, ...quoted] = line.split(" ");
                return [quoted.join(" "), Number(depth), mark];
            });

    const takeOver = (fresh) => {
        // The line is new; the block with the rows in it stays, unless the row has just come.
        const row = builder.row(name(fresh));
        if (row === null) {
            return fresh;
        }
        const line = fresh.querySelector(":scope > .fc-line");
        row.querySelector(":scope > .fc-line").replaceWith(line);
        const block = blockOf(fresh);
        if (block !== null && blockOf(row) === null) {
            row.append(block);
        } else if (block === null && blockOf(row) !== null) {
            blockOf(row).remove();
        }
        const state = [...row.classList].filter((each) => /^fc-(folded|selected-row|here|open-row)$/.test(each));
        row.className = [fresh.className, ...state].join(" ");
        row.dataset.fcMark = fresh.dataset.fcMark;
        row.toggleAttribute("data-fc-takes", fresh.hasAttribute("data-fc-takes"));
        return row;
    };

    const arrange = (order, known) => {
        const blocks = [list];
        const filled = new Map();
        const numbers = [];
        for (const [quoted, depth] of order) {
            const row = known.get(quoted);
            const block = blocks[depth];
            const before = filled.get(block) ?? null;
            const place = before === null ? block.firstElementChild : before.nextElementSibling;
            if (place !== row && place?.nextElementSibling === row) {
                // One row has gone elsewhere: it steps aside, so that not all the others move up.
                block.append(place);
            } else if (place !== row) {
                block.insertBefore(row, place);
            }
            filled.set(block, row);
            blocks.length = depth + 1;
            const inside = blockOf(row);
            if (inside !== null) {
                blocks.push(inside);
            }
            numbers.length = depth + 1;
            numbers[depth] = (numbers[depth] ?? 0) + 1;
            const told = row.querySelector(":scope > .fc-line .fc-place");
            const number = numbers.join(".");
            if (told.textContent !== number) {
                told.textContent = number;
            }
        }
    };

    const settle = () => {
        document.getElementById("fc-nothing").hidden = outline.length > 0;
        paintFolds();
        paintSelection();
        passOverNewRows();
        builder.afterArranging?.();
    };

    builder.update = () => {
        const known = new Map();
        for (const fresh of changes().content.children) {
            const row = builder.row(name(fresh));
            // A list that is sent as a whole is mostly as it was.
            if (row === null || row.dataset.fcMark !== fresh.dataset.fcMark) {
                const taken = takeOver(document.importNode(fresh, true));
                known.set(name(taken), taken);
            }
        }
        const next = readOutline();
        const kept = new Set(next.map(([quoted]) => quoted));
        for (const row of rows()) {
            known.set(name(row), row);
        }
        // First, or all the rows behind one that is gone would be put before it one by one. What
        // stays of the rows inside it is known, and is put in its place.
        for (const row of rows()) {
            if (!kept.has(name(row))) {
                row.remove();
            }
        }
        arrange(next, known);
        outline = next;
        builder.revision = Number(changes().dataset.fcRevision);
        changes().content.replaceChildren();
        settle();
    };

    /* Show the rows again as the server has them, after a change that it refused. */
    builder.restore = () => {
        arrange(outline, new Map(rows().map((row) => [name(row), row])));
        settle();
    };

    document.addEventListener("htmx:oobAfterSwap", (event) => {
        const isChanges = [event.target.id, event.detail.elt?.id].includes("fc-changes");
        // htmx tells of it again after each other part that the answer brings.
        if (isChanges && !("fcTaken" in changes().dataset)) {
            changes().dataset.fcTaken = "";
            const at = changes().dataset.fcFocus;
            builder.update();
            if (at !== undefined && document.activeElement.closest("#fc-undo") !== null) {
                // Who undoes by the button goes on there, step by step.
                reveal(builder.row(at));
            } else if (at !== undefined) {
                builder.focusRow(builder.row(at));
            }
        }
    });

    // --- folding, remembered for each flow ---

    const storageKey = `flowcontrol.folded.${builder.root.dataset.fcFlow}`;
    const remembered = () => {
        try {
            return new Set(JSON.parse(localStorage.getItem(storageKey)) ?? []);
        } catch {
            return new Set();
        }
    };
    const folded = remembered();

    const remember = () => {
        try {
            localStorage.setItem(storageKey, JSON.stringify([...folded]));
        } catch {
            // Without a memory it is folded until the page is left.
        }
    };

    const paintFold = (row) => {
        const block = blockOf(row);
        if (block === null) {
            return;
        }
        const isFolded = folded.has(name(row));
        row.classList.toggle("fc-folded", isFolded);
        const button = row.querySelector(":scope > .fc-line .fc-fold");
        button.setAttribute("aria-expanded", String(!isFolded));
        if (isFolded) {
            button.dataset.fcInside = block.querySelectorAll("[data-fc-row]").length;
        }
    };

    const foldAllButton = document.getElementById("fc-fold-all");

    const paintFoldAll = () => {
        const blocks = [...list.querySelectorAll(":scope > .fc-is-block")];
        const areFolded = blocks.length > 0 && blocks.every((row) => folded.has(name(row)));
        const { fcFoldAll, fcUnfoldAll } = builder.texts;
        foldAllButton.hidden = blocks.length === 0;
        foldAllButton.textContent = areFolded ? fcUnfoldAll : fcFoldAll;
        foldAllButton.dataset.fcDo = areFolded ? "unfold_all" : "fold_all";
    };

    const paintFolds = () => {
        rows().forEach(paintFold);
        paintFoldAll();
    };

    builder.fold = (row, isFolded) => {
        if (blockOf(row) === null || folded.has(name(row)) === isFolded) {
            return;
        }
        folded[isFolded ? "add" : "delete"](name(row));
        remember();
        paintFold(row);
        paintFoldAll();
    };

    const foldAll = (isFolded) => {
        for (const row of rows().filter((each) => blockOf(each) !== null)) {
            folded[isFolded ? "add" : "delete"](name(row));
        }
        remember();
        paintFolds();
        const hadFocus = list.contains(document.activeElement);
        roam(outermost(here, isFolded));
        if (hadFocus) {
            builder.focusRow();
        }
    };

    /* The row that stays to be seen when all blocks are folded. */
    const outermost = (row, isFolded) => {
        while (isFolded && row !== null && parentOf(row) !== null) {
            row = parentOf(row);
        }
        return row;
    };

    builder.actions.fold_all = () => foldAll(true);
    builder.actions.unfold_all = () => foldAll(false);

    builder.unfoldTo = (row) => {
        for (let around = parentOf(row); around !== null; around = parentOf(around)) {
            builder.fold(around, false);
        }
    };

    list.addEventListener("click", (event) => {
        const button = event.target.closest(".fc-fold");
        if (button !== null) {
            const row = button.closest("[data-fc-row]");
            builder.fold(row, !folded.has(name(row)));
            roam(row);
        }
    });

    // --- one + for all rows: it stands above the one that the mouse is at ---

    const plus = document.getElementById("fc-plus");

    list.addEventListener("pointerover", (event) => {
        const line = event.target.closest(".fc-line");
        if (line !== null && plus !== null && event.pointerType !== "touch") {
            const row = line.parentElement;
            // Nothing goes between an If and its Else, or next to nothing.
            plus.hidden = row.classList.contains("fc-continues");
            plus.dataset.fcAt = name(row);
            line.append(plus);
        }
    });
    list.addEventListener("pointerleave", () => {
        if (plus !== null) {
            plus.hidden = true;
            builder.root.append(plus);
        }
    });

    // --- one row has the focus; Tab goes past the others ---

    let here = null;

    const visible = () => rows().filter((row) => row.parentElement.closest(".fc-folded") === null);

    const CONTROLS = ":is(a, button, summary):not(#fc-plus)";

    const OWN = ":is(.fc-line, .fc-trace)";

    const setHere = (row, isHere) => {
        row.classList.toggle("fc-here", isHere);
        for (const control of row.querySelectorAll(`:scope > ${OWN} ${CONTROLS}`)) {
            control.tabIndex = isHere ? 0 : -1;
        }
    };

    const roam = (row = here) => {
        const next = row !== null && list.contains(row) ? row : (rows()[0] ?? null);
        if (here !== null && here !== next) {
            setHere(here, false);
        }
        here = next;
        if (here !== null) {
            setHere(here, true);
        }
    };

    /* Rows that have just come are passed over by Tab like all the others. */
    const passOverNewRows = () => {
        for (const control of list.querySelectorAll(`${OWN} ${CONTROLS}:not([tabindex="-1"])`)) {
            control.tabIndex = -1;
        }
        roam();
    };

    builder.passOverNewRows = passOverNewRows;
    builder.here = () => here;

    /* Bring a row into sight, and make it the one that the focus comes to next. */
    const reveal = (row) => {
        if (row !== null) {
            builder.unfoldTo(row);
            roam(row);
            row.querySelector(":scope > .fc-line").scrollIntoView({ block: "nearest" });
        }
    };

    builder.focusRow = (row = here) => {
        if (row === null || !list.contains(row)) {
            row = here !== null && list.contains(here) ? here : (rows()[0] ?? null);
        }
        if (row === null) {
            document.querySelector("#add a")?.focus();
            return;
        }
        reveal(row);
        title(row).focus();
        row.querySelector(":scope > .fc-line").scrollIntoView({ block: "nearest" });
    };

    list.addEventListener("focusin", (event) => {
        const row = event.target.closest("[data-fc-row]");
        if (row !== null && row !== here) {
            roam(row);
        }
    });

    /* The rows that can be seen around one, found from where it stands: there may be many. */
    const firstInside = (row) =>
        row.classList.contains("fc-folded")
            ? null
            : row.querySelector(":scope > .fc-rows > [data-fc-row]");
    const lastOf = (block) => [...block.children].findLast((each) => each.matches("[data-fc-row]"));
    const lastInside = (row) => {
        while (firstInside(row) !== null) {
            row = lastOf(blockOf(row));
        }
        return row;
    };
    const STEPS = {
        up: (row) => {
            const before = siblingOf(row, "previous");
            return before === null ? parentOf(row) : lastInside(before);
        },
        down: (row) => {
            let next = firstInside(row);
            for (let at = row; next === null && at !== null; at = parentOf(at)) {
                next = siblingOf(at, "next");
            }
            return next;
        },
        first: () => rows()[0],
        last: () => lastInside(lastOf(list)),
    };

    builder.step = (way, select) => {
        const to = here === null ? null : STEPS[way](here);
        if (to === null) {
            return;
        }
        if (select) {
            setSelection(new Set([...selection, name(here), name(to)]));
        }
        builder.focusRow(to);
    };

    // --- the selection ---

    let selection = new Set();
    const bar = document.getElementById("fc-selected");

    const paintSelection = () => {
        for (const row of list.querySelectorAll(".fc-selected-row")) {
            row.classList.toggle("fc-selected-row", selection.has(name(row)));
        }
        const chosen = [...selection].map(builder.row).filter((row) => list.contains(row));
        chosen.forEach((row) => row.classList.add("fc-selected-row"));
        selection = new Set(chosen.map(name));
        if (bar !== null) {
            bar.hidden = selection.size === 0;
            bar.querySelector("[data-fc-number]").textContent = selection.size;
        }
    };

    const setSelection = (chosen) => {
        selection = chosen;
        paintSelection();
        builder.announce(`${selection.size} ${builder.texts.fcRowsSelected}`);
    };

    builder.selected = () => rows().filter((row) => selection.has(name(row)));

    /* What a verb is about: the selection if there is one, else the row that has the focus. */
    builder.chosen = (rowsAsked = null) => {
        if (rowsAsked !== null) {
            return rowsAsked;
        }
        const chosen = builder.selected();
        return chosen.length > 0 ? chosen : [here].filter(Boolean);
    };

    builder.toggleSelected = (row) => {
        const chosen = new Set(selection);
        chosen[chosen.has(name(row)) ? "delete" : "add"](name(row));
        setSelection(chosen);
    };

    builder.selectTo = (row) => {
        const shown = visible();
        const [from, to] = [shown.indexOf(here), shown.indexOf(row)].sort((a, b) => a - b);
        setSelection(new Set(shown.slice(Math.max(from, 0), to + 1).map(name)));
    };

    builder.actions.selectAll = () => setSelection(new Set(visible().map(name)));
    builder.actions.deselect = () => {
        if (selection.size > 0) {
            setSelection(new Set());
        }
        builder.focusRow();
    };

    list.addEventListener("click", (event) => {
        const row = event.target.closest("[data-fc-row]");
        if (row === null || event.target.closest("button, .fc-count, .fc-chip")) {
            return;
        }
        if (!event.target.closest(".fc-line")) {
            return;
        }
        const isTitle = event.target.closest(".fc-title") !== null;
        if (builder.mayChange && event.shiftKey) {
            event.preventDefault();
            builder.selectTo(row);
        } else if (builder.mayChange && (event.ctrlKey || event.metaKey || selection.size > 0)) {
            event.preventDefault();
            builder.toggleSelected(row);
        } else {
            if (isTitle) {
                event.preventDefault();
            }
            builder.open(row);
        }
        roam(row);
    });

    outline = readOutline();
    settle();
    if (location.hash.startsWith("#row-")) {
        builder.focusRow(document.getElementById(decodeURIComponent(location.hash.slice(1))));
    }
}
