/* The settings of a flow in a panel: links and forms stay inside it, beside whatever it stands.

   On a page of its own nothing is done: there links and forms lead to whole pages, as without this
   script. A panel is what was asked for with ?panel=1. Beside the builder a save loads the page
   again, because settings are part of the draft that the builder shows. */
"use strict";

{
    const PANEL = "?panel=1";
    const HASH = "#settings";

    const builder = window.flowcontrol?.builder;
    const isPanel = (url) => new URL(url, location.href).searchParams.get("panel") === "1";

    const ask = async (url, options = {}) => {
        try {
            return await fetch(url, { credentials: "same-origin", ...options });
        } catch {
            return null; // no connection: the whole page tells
        }
    };

    /* Whether the answer is a panel, which is in the place of the old one then. */
    const show = async (root, answer) => {
        if (!answer?.ok) {
            return false;
        }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.querySelector("[data-fc-settings]");
        if (fresh === null) {
            return false; // logged out, or no right any more
        }
        root.replaceWith(document.adoptNode(fresh));
        document.dispatchEvent(new CustomEvent("flowcontrol:forms"));
        const target = fresh.querySelector(".errornote, .messagelist, h2");
        target?.setAttribute("tabindex", "-1");
        target?.focus();
        return true;
    };

    /* Whether it was saved; otherwise the panel tells why not. */
    const send = async (form, submitter = null) => {
        const body = new FormData(form, submitter);
        // A redirect means that it is done; followed, it would show its message here and now.
        const redirect = builder ? "manual" : "follow";
        const answer = await ask(form.action, { method: "POST", body, redirect });
        if (answer?.type === "opaqueredirect") {
            forget();
            history.replaceState(null, "", HASH);
            location.reload();
            return true;
        }
        if (!(await show(form.closest("[data-fc-settings]"), answer))) {
            forget();
            form.action = form.action.replace(PANEL, "");
            form.requestSubmit(submitter);
        }
        return false;
    };

    document.addEventListener("click", async (event) => {
        const link = event.target.closest("[data-fc-settings] a[data-fc-within]");
        if (link === null || event.ctrlKey || event.metaKey || !isPanel(link.href)) {
            return;
        }
        event.preventDefault();
        if (builder && !(await builder.mayLeave())) {
            return;
        }
        if (!(await show(link.closest("[data-fc-settings]"), await ask(link.href)))) {
            location.assign(link.href.replace(PANEL, ""));
        }
    });

    document.addEventListener("submit", (event) => {
        const form = event.target.closest("[data-fc-settings] form");
        if (form !== null && isPanel(form.action)) {
            event.preventDefault();
            send(form, event.submitter);
        }
    });

    // --- beside the builder: what is typed and not saved is not lost to another row ---

    const typedIn = () => document.querySelector("[data-fc-settings] form[data-fc-keep]");

    const typed = () => {
        const form = typedIn();
        return form === null ? "" : new URLSearchParams(new FormData(form)).toString();
    };

    let opened = "";
    let known = null;

    const forget = () => {
        known = typedIn();
        opened = typed();
    };

    document.addEventListener("flowcontrol:forms", () => {
        // Other parts of the page come anew as well; what is typed here meanwhile is still typed.
        if (typedIn() !== known) {
            forget();
        }
    });

    if (builder) {
        const { isDirty, save } = builder;
        builder.isDirty = () => isDirty() || typed() !== opened;
        builder.save = (submitter, options) => {
            const form = typedIn();
            return form === null ? save(submitter, options) : send(form);
        };

        if (location.hash === HASH) {
            history.replaceState(null, "", location.pathname);
            // What came of it is told where one looks, and read out; before anything is in its place.
            const told = document.querySelector("ul.messagelist");
            told?.remove();
            builder.show(`${builder.base}change/${PANEL}`).then(() => {
                builder.panel.querySelector("[data-fc-panel-title]")?.focus();
                if (told !== null) {
                    builder.announce(told.textContent.trim());
                }
            });
        }
    }
}
