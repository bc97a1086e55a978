/* The builder's page: asking the server, one change after the other, and saying what came of it.

   The server owns the document. Each answer brings the order of all rows and those that look
   different (list.js puts them in place), and the revision that the next change is made from. */
"use strict";

{
    const root = document.getElementById("fc-builder");
    const live = () => document.getElementById("fc-live");
    const texts = root.querySelector(".fc-messages").dataset;

    document.documentElement.classList.add("fc-scripted");

    const builder = {
        root,
        url: root.dataset.fcUrl,
        mayChange: "fcChange" in root.dataset,
        revision: Number(document.getElementById("fc-changes").dataset.fcRevision),
        panel: document.getElementById("fc-panel"),
        list: document.getElementById("fc-list"),
        actions: {},
    };
    window.flowcontrol = Object.assign(window.flowcontrol || {}, { builder });

    // --- saying ---

    builder.announce = (text) => {
        const words = document.createElement("span");
        words.textContent = text;
        live().replaceChildren(words);
        fade();
    };

    // What was said stays long enough to be read and to be taken back, and goes unless one is at it.
    let fading = 0;
    const fade = () => {
        window.clearTimeout(fading);
        fading = window.setTimeout(() => {
            if (live().matches(":hover, :focus-within")) {
                fade();
            } else {
                live().replaceChildren();
            }
        }, 8000);
    };
    document.addEventListener("flowcontrol:changed", fade);

    builder.notice = (text) => {
        const notice = document.getElementById("fc-notice");
        const words = document.createElement("p");
        words.textContent = text;
        notice.replaceChildren(words);
    };

    builder.actions.dismiss = () => {
        document.getElementById("fc-notice").replaceChildren();
        builder.focusRow();
    };

    // --- asking: one request after the other, each with the revision that the last one gave ---

    let last = Promise.resolve();
    let refused = false;

    const ask = (method, url, options = {}) => {
        const { values = {}, source = root, target = builder.panel, swap = "none" } = options;
        const job = async () => {
            refused = false;
            const had = root.contains(document.activeElement);
            const sent = typeof values === "function" ? values() : values;
            if (method === "POST") {
                sent.revision = builder.revision;
                sent.marks = JSON.stringify(builder.marks());
            }
            root.setAttribute("aria-busy", "true");
            try {
                await htmx.ajax(method, url, {
                    source,
                    target,
                    swap,
                    values: sent,
                });
            } finally {
                root.removeAttribute("aria-busy");
            }
            if (refused) {
                builder.restore();
            }
            if (had && document.activeElement === document.body) {
                builder.focusRow(); // what had the focus is gone with the change
            }
            return !refused;
        };
        last = last.then(job, job);
        return last;
    };

    builder.post = (url, options) => ask("POST", url, options);
    builder.get = (url, options) => ask("GET", url, options);

    let presence = "";

    builder.actions.reload = async () => {
        await builder.get(builder.url);
        document.querySelector("#fc-presence .fc-stale")?.remove();
        presence = "";
        document.getElementById("fc-notice").replaceChildren();
        builder.focusRow();
    };

    document.addEventListener("htmx:beforeSwap", (event) => {
        const { target, xhr } = event.detail;
        if (!root.contains(target)) {
            return;
        }
        if (xhr.status === 409) {
            refused = true;
            event.detail.swapOverride = "none";
        } else if (!new URL(xhr.responseURL).pathname.startsWith(builder.base)) {
            refused = true;
            event.detail.shouldSwap = false;
            builder.notice(texts.fcLoggedOut);
        } else if (target.id === "fc-presence" && xhr.status === 200) {
            // Said once: who listens to it, or has the focus in it, is left in peace.
            event.detail.shouldSwap = presence !== xhr.responseText;
            presence = xhr.responseText;
        }
    });
    builder.base = builder.url.replace(/actions\/$/, "");

    document.addEventListener("htmx:responseError", (event) => {
        refused = true;
        builder.notice(event.detail.xhr.status === 403 ? texts.fcForbidden : texts.fcFailed);
    });
    document.addEventListener("htmx:sendError", () => {
        refused = true;
        builder.notice(texts.fcOffline);
    });

    // Whatever asks the server from this page tells which draft it has; while a change is on its way
    // nobody knows.
    document.addEventListener("htmx:configRequest", (event) => {
        if (event.target.id === "fc-presence") {
            if (root.hasAttribute("aria-busy")) {
                event.preventDefault();
            }
            event.detail.parameters.revision = builder.revision;
        }
    });

    // --- undo and redo ---

    const replay = (name) => async () => {
        if (await builder.mayLeave()) {
            await builder.post(`${builder.url}${name}/`);
            builder.refreshPanel();
        }
    };
    builder.actions.undo = replay("undo");
    builder.actions.redo = replay("redo");

    // Others who change the draft (undo, a panel below) ask the page to look again.
    document.addEventListener("flowcontrol:reload", () => builder.actions.reload());

    // --- buttons ---

    document.addEventListener("click", (event) => {
        const button = event.target.closest("[data-fc-do]");
        if (button === null) {
            return;
        }
        event.preventDefault();
        const rows = button.dataset.fcAt ? [builder.row(button.dataset.fcAt)] : null;
        builder.perform(button.dataset.fcDo, rows);
    });

    builder.perform = (name, rows = null) => {
        if (builder.actions[name]) {
            return builder.actions[name](rows);
        }
        return builder.verb(name, rows);
    };

    builder.texts = texts;
}
