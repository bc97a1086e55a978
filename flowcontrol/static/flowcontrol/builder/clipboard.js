/* Copy, cut and paste: rows as text, through the clipboard, into another flow too. Where a browser
   lets no page at the clipboard, what was copied here is remembered. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const KEY = "flowcontrol.clipboard";
    const isRows = (text) => text.includes('"flowcontrol.rows"');

    const remember = (text) => {
        try {
            localStorage.setItem(KEY, text);
        } catch {
            // Then the clipboard alone has it.
        }
    };

    const remembered = () => {
        try {
            return localStorage.getItem(KEY) ?? "";
        } catch {
            return "";
        }
    };

    const copy = async (rows) => {
        const data = new FormData();
        for (const row of rows) {
            data.append("row", row.dataset.fcRow);
        }
        const headers = JSON.parse(builder.root.getAttribute("hx-headers"));
        const answer = await fetch(`${builder.url}copy/`, { method: "POST", body: data, headers });
        if (!answer.ok) {
            builder.notice(builder.texts.fcFailed);
            return false;
        }
        const text = await answer.text();
        remember(text);
        try {
            await navigator.clipboard.writeText(text);
        } catch {
            // Not allowed, or no secure page.
        }
        return true;
    };

    builder.actions.copy = async (rowsAsked) => {
        const rows = builder.chosen(rowsAsked);
        if (rows.length > 0 && (await copy(rows))) {
            builder.announce(builder.texts.fcCopied);
        }
    };

    builder.actions.cut = async (rowsAsked) => {
        const rows = builder.chosen(rowsAsked);
        if (rows.length > 0 && (await copy(rows))) {
            await builder.post(`${builder.url}cut/`, {
                values: () => ({ row: rows.map((row) => row.dataset.fcRow) }),
            });
            builder.refreshPanel();
        }
    };

    const paste = (text, position, rowsAsked) => {
        if (!isRows(text)) {
            builder.announce(builder.texts.fcNoRows);
            return undefined;
        }
        const [row] = builder.chosen(rowsAsked);
        const target = row?.dataset.fcRow ?? "";
        return builder.post(`${builder.url}paste/`, {
            values: () => ({ text, target, position: target === "" ? "last" : position }),
        });
    };

    const fromClipboard = async () => {
        let text = "";
        try {
            text = await navigator.clipboard.readText();
        } catch {
            // Not allowed: what was copied here has to do.
        }
        return isRows(text) ? text : remembered();
    };

    builder.actions.paste = async (rows) => paste(await fromClipboard(), "after", rows);
    builder.actions.paste_inside = async (rows) => paste(await fromClipboard(), "last", rows);

    document.addEventListener("paste", (event) => {
        // Not only in the list: an empty one has nothing that could have the focus.
        const isHere = builder.root.contains(event.target) || event.target === document.body;
        const isTyping = event.target.closest("input, textarea, select, dialog[open]") !== null;
        if (builder.mayChange && isHere && !isTyping) {
            event.preventDefault();
            const text = event.clipboardData.getData("text");
            paste(isRows(text) ? text : remembered(), "after", null);
        }
    });
}
