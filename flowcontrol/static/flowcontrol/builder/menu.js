/* The menu of a row, and the keys of the list. Both go by the verbs that the page names. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const { list } = builder;
    const menu = document.getElementById("fc-menu");
    const buttons = menu === null ? [] : [...menu.querySelectorAll("[data-fc-verb]")];
    const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

    // --- verbs ---

    const suits = (button, row) => {
        const before = builder.siblingOf(row, "previous");
        switch (button.dataset.fcNeeds) {
            case "previous":
                return before !== null;
            case "next":
                return builder.siblingOf(row, "next") !== null;
            case "block-before":
                return before !== null && before.hasAttribute("data-fc-takes");
            case "parent":
                return builder.parentOf(row) !== null;
            case "block":
                return row.hasAttribute("data-fc-takes");
            case "full-block":
                return row.querySelector(":scope > .fc-rows > [data-fc-row]") !== null;
            case "on":
                return row.querySelector(":scope > .fc-line .fc-off") === null;
            case "off":
                return row.querySelector(":scope > .fc-line .fc-off") !== null;
            default:
                return true;
        }
    };

    const sent = (button) =>
        Object.fromEntries(
            Object.entries(button.dataset)
                .filter(([key]) => key.startsWith("fcSend"))
                .map(([key, value]) => [key.slice(6).toLowerCase(), value])
        );

    const withoutInner = (rows) =>
        rows.filter((row) => !rows.some((other) => other !== row && other.contains(row)));

    builder.withoutInner = withoutInner;

    /* Do something with the chosen rows: all of them, or the first if it is for one only. */
    builder.verb = async (name, rowsAsked = null) => {
        const button = buttons.find((each) => each.dataset.fcVerb === name);
        const rows = withoutInner(builder.chosen(rowsAsked));
        if (button === undefined || rows.length === 0) {
            return false;
        }
        const about = "fcSingle" in button.dataset ? rows.slice(0, 1) : rows;
        if (!suits(button, about[0])) {
            builder.announce(builder.texts.fcNowhere);
            return false;
        }
        const touched = about.map((row) => row.dataset.fcRow);
        const isDone = await builder.post(button.dataset.fcPost, {
            values: () => ({ ...sent(button), row: touched }),
        });
        if (isDone) {
            builder.refreshPanel();
        }
        if (isDone && name.startsWith("wrap_")) {
            await builder.actions.open([builder.here()]);
        }
        return isDone;
    };

    builder.actions.select = (rows) => builder.toggleSelected(rows?.[0] ?? builder.here());

    // --- the menu ---

    let opener = null;

    const place = (button) => {
        const frame = builder.root.getBoundingClientRect();
        const box = button.getBoundingClientRect();
        const { offsetWidth: width, offsetHeight: height } = menu;
        const isLeft = getComputedStyle(menu).direction === "rtl";
        const wanted = isLeft ? box.left : box.right - width;
        const left = Math.min(Math.max(wanted, 4), document.documentElement.clientWidth - width - 4);
        const top = Math.max(Math.min(box.bottom + 2, window.innerHeight - height - 8), 8);
        menu.style.left = `${left - frame.left}px`;
        menu.style.top = `${top - frame.top}px`;
    };

    const openMenu = (row) => {
        const selected = builder.selected();
        const isMany = selected.length > 1 && selected.includes(row);
        for (const button of buttons) {
            const isOffered = !(isMany && "fcSingle" in button.dataset);
            button.hidden = !isOffered || !suits(button, row);
        }
        for (const line of menu.querySelectorAll("hr")) {
            const next = [];
            for (let each = line.nextElementSibling; each && each.tagName !== "HR"; ) {
                next.push(each);
                each = each.nextElementSibling;
            }
            line.hidden = next.every((each) => each.hidden);
        }
        opener = row.querySelector(":scope > .fc-line .fc-more-button");
        opener.setAttribute("aria-expanded", "true");
        menu.hidden = false;
        place(opener);
        menu.querySelector("[role=menuitem]:not([hidden])").focus();
    };

    const closeMenu = (andFocus = false) => {
        if (menu === null || menu.hidden) {
            return;
        }
        menu.hidden = true;
        opener?.removeAttribute("aria-expanded");
        if (andFocus) {
            opener?.focus();
        }
    };

    if (menu !== null) {
        list.addEventListener("click", (event) => {
            const button = event.target.closest(".fc-more-button");
            if (button !== null) {
                const wasOpen = !menu.hidden && opener === button;
                closeMenu();
                if (!wasOpen) {
                    builder.focusRow(button.closest("[data-fc-row]"));
                    openMenu(button.closest("[data-fc-row]"));
                }
            }
        });
        list.addEventListener("contextmenu", (event) => {
            const row = event.target.closest("[data-fc-row]");
            if (row !== null && event.target.closest(".fc-line") && !event.target.closest("a")) {
                event.preventDefault();
                builder.focusRow(row);
                openMenu(row);
            }
        });
        document.addEventListener("click", (event) => {
            if (!event.target.closest("#fc-menu, .fc-more-button")) {
                closeMenu();
            }
        });
        menu.addEventListener("click", (event) => {
            const button = event.target.closest("[data-fc-verb]");
            if (button !== null) {
                const row = opener.closest("[data-fc-row]");
                const isMany = builder.selected().includes(row);
                closeMenu();
                builder.focusRow(row);
                builder.perform(button.dataset.fcVerb, isMany ? null : [row]);
            }
        });
        menu.addEventListener("keydown", (event) => {
            const items = buttons.filter((button) => !button.hidden);
            const at = items.indexOf(document.activeElement);
            const to = {
                ArrowDown: (at + 1) % items.length,
                ArrowUp: (at - 1 + items.length) % items.length,
                Home: 0,
                End: items.length - 1,
            }[event.key];
            if (to !== undefined) {
                event.preventDefault();
                items[to].focus();
            } else if (event.key === "Escape" || event.key === "Tab") {
                event.preventDefault();
                closeMenu(true);
            }
        });
    }

    // --- keys ---

    const keysOf = (event) => {
        const parts = [];
        if (isMac ? event.metaKey : event.ctrlKey) {
            parts.push("Ctrl");
        }
        if (event.altKey) {
            parts.push("Alt");
        }
        const isLetter = event.key.length === 1;
        if (event.shiftKey && (!isLetter || /[a-z]/i.test(event.key))) {
            parts.push("Shift");
        }
        let key = event.key === " " ? "Space" : isLetter ? event.key.toUpperCase() : event.key;
        // Into a block is towards its rows, wherever the page begins.
        if (getComputedStyle(list).direction === "rtl") {
            key = { ArrowLeft: "ArrowRight", ArrowRight: "ArrowLeft" }[key] ?? key;
        }
        return [...parts, key === "Backspace" ? "Delete" : key].join("+");
    };

    const sideways = (isOut) => {
        const row = builder.here();
        const block = row?.querySelector(":scope > .fc-rows");
        if (block && row.classList.contains("fc-folded") !== isOut) {
            builder.fold(row, isOut);
            builder.announce(builder.texts[isOut ? "fcFolded" : "fcUnfolded"]);
        } else if (isOut && row && builder.parentOf(row)) {
            builder.focusRow(builder.parentOf(row));
        }
    };

    const nextProblem = () => {
        const links = [...document.querySelectorAll("#fc-problems a[data-fc-open]")];
        const at = links.findIndex((link) => link.dataset.fcVisited === "");
        links.forEach((link) => delete link.dataset.fcVisited);
        const link = links[(at + 1) % links.length];
        if (link !== undefined) {
            link.dataset.fcVisited = "";
            builder.show(link.getAttribute("href"));
        }
    };

    const OWN = {
        ArrowUp: () => builder.step("up"),
        ArrowDown: () => builder.step("down"),
        "Shift+ArrowUp": () => builder.mayChange && builder.step("up", true),
        "Shift+ArrowDown": () => builder.mayChange && builder.step("down", true),
        Home: () => builder.step("first"),
        End: () => builder.step("last"),
        ArrowLeft: () => sideways(true),
        ArrowRight: () => sideways(false),
        "Ctrl+ArrowLeft": () => builder.actions.fold_all(),
        "Ctrl+ArrowRight": () => builder.actions.unfold_all(),
        "Ctrl+A": () => builder.mayChange && builder.actions.selectAll(),
        M: () => menu !== null && openMenu(builder.here()),
        P: nextProblem,
        T: () => builder.actions.try?.(),
        H: () => builder.actions.hide_traces(),
        Escape: () => builder.actions.deselect(),
    };

    builder.actions.help = () => document.getElementById("fc-help-dialog").showModal();

    list.addEventListener("keydown", (event) => {
        const row = event.target.closest("[data-fc-row]");
        const isTitle = event.target.matches(".fc-title");
        if (row === null || event.defaultPrevented) {
            return;
        }
        const keys = keysOf(event);
        if (keys === "Ctrl+V") {
            return; // the browser brings what is in the clipboard, see clipboard.js
        }
        if (!isTitle && /^(Enter|Space)$/.test(keys)) {
            return; // the button or link that has the focus
        }
        const fitting = buttons.filter((button) => button.dataset.fcKeys === keys);
        const verb = fitting.find((button) => suits(button, row)) ?? fitting[0];
        if (OWN[keys] !== undefined) {
            event.preventDefault();
            OWN[keys]();
        } else if (verb !== undefined) {
            event.preventDefault();
            const isMany = builder.selected().length > 0 && keys !== "Space";
            builder.perform(verb.dataset.fcVerb, isMany ? null : [row]);
        } else if (keys === "Enter") {
            event.preventDefault();
            builder.open(row);
        }
    });

    // Wherever one is on the page: also when the last row is gone, and with it what had the focus.
    const EVERYWHERE = {
        "Ctrl+Z": () => builder.actions.undo(),
        "Ctrl+Shift+Z": () => builder.actions.redo(),
        "Ctrl+Y": () => builder.actions.redo(),
    };

    document.addEventListener("keydown", (event) => {
        const isTyping = event.target.closest("input, select, textarea, dialog[open]") !== null;
        const replay = builder.mayChange ? EVERYWHERE[keysOf(event)] : undefined;
        if (isTyping || event.defaultPrevented) {
            return;
        }
        if (event.key === "?") {
            event.preventDefault();
            builder.actions.help();
        } else if (replay !== undefined) {
            event.preventDefault();
            replay();
        }
    });
}
