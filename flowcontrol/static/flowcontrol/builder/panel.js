/* The panel beside the list: the form of a row, what is typed in it, saving it. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const { panel } = builder;
    const question = document.getElementById("fc-unsaved");
    const emptyPanel = document.getElementById("fc-panel-empty");
    const form = () => panel.querySelector("[data-fc-form]");

    // --- what was typed and not saved ---

    let opened = "";

    const typed = () => {
        const found = form();
        if (found === null) {
            return "";
        }
        const data = new FormData(found);
        ["revision", "seen", "csrfmiddlewaretoken"].forEach((each) => data.delete(each));
        return new URLSearchParams(data).toString();
    };

    builder.isDirty = () => builder.mayChange && form() !== null && typed() !== opened;

    const ask = () =>
        new Promise((resolve) => {
            const answer = (event) => {
                const button = event.target.closest("[data-fc-answer]");
                if (button !== null) {
                    question.close(button.dataset.fcAnswer);
                }
            };
            question.addEventListener("click", answer);
            question.addEventListener(
                "close",
                () => {
                    question.removeEventListener("click", answer);
                    resolve(question.returnValue || "stay");
                },
                { once: true }
            );
            question.returnValue = "";
            question.showModal();
        });

    /* Whether the panel may be given to something else: what was typed is saved first. If it cannot
       be, one is asked. */
    const mayLeave = async () => {
        if (!builder.isDirty() || (await builder.save(null, { stay: true }))) {
            return true;
        }
        const anyway = form()?.querySelector("[name=anyway]") ?? null;
        question.querySelector("[data-fc-answer=save]").hidden = anyway === null;
        const answer = await ask();
        if (answer === "save") {
            return builder.save(anyway, { stay: true });
        }
        if (answer === "stay" && form() !== null) {
            fieldToFocus()?.focus();
        }
        return answer === "discard";
    };
    builder.mayLeave = mayLeave;

    window.addEventListener("beforeunload", (event) => {
        if (builder.isDirty()) {
            event.preventDefault();
        }
    });

    // --- what is shown ---

    const canFocus = (element) =>
        !element.disabled && element.type !== "hidden" && element.offsetParent !== null;

    const firstField = (within = form()) =>
        within === null
            ? null
            : [...within.querySelectorAll("input, select, textarea")].find(
                  (element) => canFocus(element) && !element.closest(".fc-switch, .fc-more")
              );

    const fieldToFocus = () => {
        const found = form();
        const wrong = found.querySelector(".fc-invalid, .fc-field:has(> .errorlist)");
        const asked = found.dataset.fcFieldId;
        const named = asked && found.querySelector(`[id^="${CSS.escape(asked)}"]`);
        const field = named ? named.closest(".fc-field") : null;
        for (const place of [field, wrong]) {
            place?.closest("details")?.setAttribute("open", "");
            const element = place && [...place.querySelectorAll("input, select, textarea")];
            const control = element?.find((each) => canFocus(each) && !each.closest(".fc-switch"));
            if (control) {
                return control;
            }
        }
        return firstField();
    };

    let openRow = null;

    const markOpen = () => {
        const uid = form()?.dataset.fcOf;
        const row = uid === undefined ? null : builder.row(uid);
        if (row !== openRow) {
            openRow?.classList.remove("fc-open-row");
            openRow = row;
        }
        openRow?.classList.add("fc-open-row");
        builder.root.classList.toggle("fc-has-panel", panel.querySelector(".fc-panel-head") !== null);
    };

    const begin = () => {
        document.dispatchEvent(new CustomEvent("flowcontrol:forms", { detail: { isOurs: true } }));
        opened = typed();
        markOpen();
    };

    builder.afterArranging = markOpen;

    /* Focus a field, with its row in sight; on a narrow screen above the sheet that has come up. */
    const bringIntoView = (target) => {
        const isSheet = getComputedStyle(panel).position === "sticky";
        const line = builder.row(form()?.dataset.fcOf)?.querySelector(":scope > .fc-line");
        target?.focus({ preventScroll: true });
        line?.scrollIntoView({ block: isSheet ? "start" : "nearest" });
        if (!isSheet) {
            panel.scrollIntoView({ block: "nearest" });
        }
        panel.scrollTop = 0;
        if (target && !target.matches("h2")) {
            const box = target.getBoundingClientRect();
            const frame = panel.getBoundingClientRect();
            if (box.bottom > frame.bottom - 64) {
                panel.scrollTop = box.top - frame.top - 80;
            }
        }
    };

    builder.begin = begin;

    builder.show = async (url) => {
        if (!(await mayLeave())) {
            return false;
        }
        if (!(await builder.get(url, { swap: "innerHTML" }))) {
            return false;
        }
        begin();
        const control = form() === null ? firstField(panel) : fieldToFocus();
        const target = control ?? panel.querySelector("[data-fc-panel-title]");
        bringIntoView(target);
        return true;
    };

    // Links from the panel to a row of the list.
    builder.root.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-fc-go]");
        const row = link && builder.row(link.dataset.fcGo);
        if (row && !event.ctrlKey && !event.metaKey) {
            event.preventDefault();
            builder.focusRow(row);
        }
    });

    builder.open = (row) => builder.show(`${builder.url}row/${row.dataset.fcRow}/`);
    builder.actions.open = (rows) => {
        const [row] = builder.chosen(rows);
        return row ? builder.open(row) : undefined;
    };

    builder.actions.close = async () => {
        if (!(await mayLeave())) {
            return;
        }
        panel.replaceChildren(emptyPanel.content.cloneNode(true));
        begin();
        builder.focusRow();
    };

    /* The form of a row that something else has changed is shown anew, unless one is typing in it. */
    builder.refreshPanel = async () => {
        const found = form();
        if (found === null || builder.isDirty()) {
            return;
        }
        const row = builder.row(found.dataset.fcOf);
        if (row === null) {
            panel.replaceChildren(emptyPanel.content.cloneNode(true));
            begin();
        } else if (await builder.get(`${builder.url}row/${found.dataset.fcOf}/`, { swap: "innerHTML" })) {
            begin();
        }
    };

    // Links to what has its place in the panel: a row's form, a trial, the tests.
    builder.root.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-fc-open]");
        if (link !== null && !event.ctrlKey && !event.metaKey) {
            event.preventDefault();
            builder.show(link.getAttribute("href"));
        }
    });

    // Other things that have a place beside the list: trying, triggers.
    document.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-fc-panel]");
        if (link !== null && !event.ctrlKey && !event.metaKey) {
            event.preventDefault();
            builder.show(link.getAttribute("href") + link.dataset.fcPanel);
        }
    });

    // They may change the flow as well: what the page says of it is brought up to date.
    document.addEventListener("flowcontrol:forms", (event) => {
        if (!event.detail?.isOurs && panel.querySelector("[data-fc-settings]") !== null) {
            markOpen();
            builder.get(builder.url);
        }
    });

    // A link that leads away takes one along when what was typed is saved.
    document.addEventListener("click", async (event) => {
        const link = event.target.closest("a[href]");
        const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
        if (link === null || event.defaultPrevented || !isPlain || !builder.isDirty()) {
            return;
        }
        if (link.target === "" && !link.getAttribute("href").startsWith("#")) {
            event.preventDefault();
            if (await mayLeave()) {
                opened = typed();
                location.assign(link.href);
            }
        }
    });

    // --- saving ---

    builder.save = async (submitter = null, { stay = false } = {}) => {
        const sent = form();
        const values = {};
        if (submitter?.name) {
            values[submitter.name] = submitter.value;
        }
        const isDone = await builder.post(sent.getAttribute("action"), {
            source: sent,
            swap: "innerHTML",
            values: () => ({ ...values }),
        });
        if (!isDone) {
            return false;
        }
        const answered = form();
        const isSaved = answered !== null && "fcSaved" in answered.dataset;
        if (isSaved) {
            begin();
            if (!stay) {
                builder.focusRow(builder.row(answered.dataset.fcOf));
            }
        } else if (answered !== null) {
            document.dispatchEvent(new CustomEvent("flowcontrol:forms", { detail: { isOurs: true } }));
            markOpen();
            fieldToFocus()?.focus();
        }
        return isSaved;
    };

    panel.addEventListener("submit", (event) => {
        if (event.target.matches("[data-fc-form]")) {
            event.preventDefault();
            builder.save(event.submitter);
        }
    });

    panel.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form() !== null) {
            event.preventDefault();
            builder.save();
        } else if (event.key === "Escape" && !event.defaultPrevented) {
            event.preventDefault();
            builder.actions.close();
        }
    });

    /* A row was added: its form is in the panel already. */
    builder.opened = () => {
        begin();
        const row = builder.row(form()?.dataset.fcOf);
        const field = firstField();
        if (row !== null) {
            builder.focusRow(row);
        }
        if (field) {
            bringIntoView(field);
        }
    };

    begin();
    if (form() !== null) {
        (fieldToFocus() ?? panel.querySelector("[data-fc-panel-title]"))?.focus();
    }
}
