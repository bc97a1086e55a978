/* The settings of a flow beside something else: links and forms stay inside the panel.

   On a page of its own nothing is done: there links and forms lead to whole pages, as without this
   script. A panel is what was asked for with ?panel=1. */
"use strict";

{
    const isPanel = (url) => new URL(url, location.href).searchParams.get("panel") === "1";

    const show = async (root, url, options = {}) => {
        let answer = null;
        try {
            answer = await fetch(url, { credentials: "same-origin", ...options });
        } catch {
            answer = null;
        }
        const page =
            answer !== null && answer.ok
                ? new DOMParser().parseFromString(await answer.text(), "text/html")
                : null;
        const fresh = page?.querySelector("[data-fc-settings]");
        if (!fresh) {
            return false; // logged out, or no right any more: the whole page tells
        }
        root.replaceWith(document.adoptNode(fresh));
        document.dispatchEvent(new CustomEvent("flowcontrol:forms"));
        const wrong = fresh.querySelector(".errornote, .messagelist, h2");
        wrong?.setAttribute("tabindex", "-1");
        wrong?.focus();
        return true;
    };

    document.addEventListener("click", async (event) => {
        const link = event.target.closest("[data-fc-settings] a[data-fc-within]");
        if (link === null || event.ctrlKey || event.metaKey || !isPanel(link.href)) {
            return;
        }
        event.preventDefault();
        if (!(await show(link.closest("[data-fc-settings]"), link.href))) {
            location.assign(link.href.replace("?panel=1", ""));
        }
    });

    document.addEventListener("submit", async (event) => {
        const form = event.target.closest("[data-fc-settings] form");
        if (form === null || !isPanel(form.action)) {
            return;
        }
        event.preventDefault();
        const body = new FormData(form, event.submitter);
        if (!(await show(form.closest("[data-fc-settings]"), form.action, { method: "POST", body }))) {
            form.action = form.action.replace("?panel=1", "");
            form.requestSubmit(event.submitter);
        }
    });
}
