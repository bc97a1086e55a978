/* Rows that become a flow of their own: what it is to be called is asked before anything is done. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const dialog = document.getElementById("fc-ask");
    const body = document.getElementById("fc-ask-body");

    if (dialog !== null) {
        let typed = ""; // what was typed for a change that was refused

        builder.actions.extract = async (rowsAsked) => {
            const rows = builder.withoutInner(builder.chosen(rowsAsked));
            if (rows.length === 0 || !(await builder.mayLeave())) {
                return;
            }
            const query = new URLSearchParams(rows.map((row) => ["row", row.dataset.fcRow]));
            const url = `${builder.url}extract/?${query}`;
            if (await builder.get(url, { target: body, swap: "innerHTML" })) {
                dialog.showModal();
                const name = body.querySelector("[name=name]");
                name.value = typed || name.value;
                name.select();
            } else {
                builder.focusRow();
            }
        };

        body.addEventListener("submit", async (event) => {
            event.preventDefault();
            const values = new FormData(event.target);
            dialog.close();
            typed = values.get("name");
            const isDone = await builder.post(event.target.getAttribute("action"), {
                values: () => ({ name: values.get("name"), row: values.getAll("row") }),
            });
            if (isDone) {
                typed = "";
                builder.refreshPanel();
            }
        });
        body.addEventListener("click", (event) => {
            if (event.target.closest("[data-fc-answer]") !== null) {
                event.preventDefault();
                dialog.close();
            }
        });
        dialog.addEventListener("close", () => {
            if (document.activeElement === document.body) {
                builder.focusRow();
            }
        });
    }
}
