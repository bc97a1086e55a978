/* Traces: what a trial did, or what the tests reach, below the lines of the rows.

   The server makes them. They come with its answer in #fc-traces, which also tells how to be rid of
   them, and are put at their rows here. They stay while rows are moved and changed, marked as old. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const bar = () => document.getElementById("fc-traces");
    const traceOf = (row) => row.querySelector(":scope > .fc-trace");
    const titleOf = (row) => row.querySelector(":scope > .fc-line .fc-title");

    const clear = () => {
        for (const row of builder.rows()) {
            traceOf(row)?.remove();
            titleOf(row).removeAttribute("aria-describedby");
        }
    };

    /* Lines that came anew are described by their traces again; those of another draft look old. */
    const refresh = () => {
        const isShown = bar().dataset.fcRevision !== undefined;
        const isOld = isShown && Number(bar().dataset.fcRevision) !== builder.revision;
        builder.list.classList.toggle("fc-old-traces", isOld);
        bar().querySelector("[data-fc-old]")?.toggleAttribute("hidden", !isOld);
        if (isShown) {
            for (const row of builder.rows()) {
                const trace = traceOf(row);
                if (trace !== null) {
                    titleOf(row).setAttribute("aria-describedby", trace.id);
                }
            }
        }
    };

    const show = () => {
        const traces = bar().querySelector("template");
        if (traces === null) {
            return; // they are shown already: htmx tells of a part again after each later one
        }
        clear();
        for (const trace of traces.content.children) {
            const row = builder.row(trace.dataset.fcAt);
            row?.querySelector(":scope > .fc-line").after(document.importNode(trace, true));
        }
        traces.remove();
        refresh();
        builder.passOverNewRows();
    };

    document.addEventListener("htmx:oobAfterSwap", (event) => {
        if (event.target.id === "fc-traces" || event.detail.elt?.id === "fc-traces") {
            show();
        }
    });

    const { afterArranging } = builder;
    builder.afterArranging = () => {
        afterArranging();
        refresh();
    };

    builder.actions.hide_traces = () => {
        clear();
        bar().replaceChildren();
        bar().hidden = true;
        delete bar().dataset.fcRevision;
        refresh();
        builder.focusRow();
    };
}
