/* The state schema as a table. Without this script it is edited as JSON text. */
"use strict";

{
    // Which cells a kind of value has, beside those that all have.
    const withoutDefault = new Set(["json"]);
    const withChoices = new Set([
        "text", "integer", "number", "date", "date-time", "time", "duration", "email",
        "model-reference", "user",
    ]);

    const part = (root, name) => root.querySelector(`[data-fc-part="${name}"]`);

    const showMode = (root, mode) => {
        root.querySelector("[data-fc-mode-input]").value = mode;
        for (const name of ["table", "json"]) {
            part(root, name).hidden = name !== mode;
            const button = root.querySelector(`[data-fc-do-line="${name}"]`);
            if (button !== null) {
                button.hidden = name === mode;
            }
        }
    };

    const showKind = (line) => {
        const kind = line.querySelector("[data-fc-kind]").value;
        const cell = (name) => line.querySelector(`[data-fc-for="${name}"]`);
        cell("flag").hidden = kind !== "boolean";
        cell("plain").hidden = kind === "boolean" || withoutDefault.has(kind);
        const choices = cell("choices");
        // What is filled in is never hidden.
        choices.hidden = !withChoices.has(kind) && !choices.querySelector("textarea").value.trim();
        if (kind === "json") {
            line.querySelector("details").open = true;
        }
    };

    const showNone = (root) => {
        root.querySelector("[data-fc-none]").hidden =
            root.querySelector("[data-fc-list] [data-fc-line]") !== null;
    };

    const addLine = (root) => {
        const count = root.querySelector("[data-fc-lines]");
        const blank = root.querySelector("template[data-fc-blank]").content.cloneNode(true);
        for (const control of blank.querySelectorAll("[name]")) {
            control.name = control.name.replace("__n__", count.value);
        }
        count.value = String(Number(count.value) + 1);
        const list = root.querySelector("[data-fc-list]");
        list.append(blank);
        showKind(list.lastElementChild);
        showNone(root);
        list.lastElementChild.querySelector("input[type=text]").focus();
    };

    const removeLine = (root, line) => {
        const next = line.nextElementSibling ?? line.previousElementSibling;
        line.remove();
        showNone(root);
        const target = next?.querySelector("input[type=text]");
        (target ?? root.querySelector('[data-fc-do-line="add"]')).focus();
    };

    /* Ask the server for the same schema the other way round: it knows what a table can show. */
    const convert = async (root, mode) => {
        const data = new FormData();
        for (const [name, value] of new FormData(root.closest("form"))) {
            if (name === "csrfmiddlewaretoken" || name.startsWith(root.dataset.fcName)) {
                data.append(name, value);
            }
        }
        data.append("to", mode);
        const told = root.querySelector("[data-fc-told]");
        let answer = null;
        try {
            answer = await fetch(root.dataset.fcConvert, { method: "POST", body: data });
        } catch {
            // no connection: told below
        }
        if (answer === null || !answer.ok) {
            told.textContent = answer === null ? "" : `${answer.status} ${answer.statusText}`;
            return;
        }
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = document.adoptNode(page.querySelector("[data-fc-schema]"));
        root.replaceWith(fresh);
        start(fresh, false);
        const button = fresh.querySelector('[data-fc-switch] button:not([hidden])');
        button.focus();
    };

    const start = (root, atFirst = true) => {
        if ("fcLive" in root.dataset) {
            return;
        }
        root.dataset.fcLive = "";
        const mode = root.querySelector("[data-fc-mode-input]").value;
        const isWrong = root.closest(".fc-invalid") !== null;
        // A page begins with the table; what cannot be read as JSON is put right as JSON.
        showMode(root, atFirst && !isWrong && "fcHasTable" in root.dataset ? "table" : mode);
        root.querySelectorAll("[data-fc-list] [data-fc-line]").forEach(showKind);
        const bar = root.querySelector("[data-fc-switch]");
        if (bar !== null) {
            bar.hidden = false;
        }
        root.addEventListener("click", (event) => {
            const button = event.target.closest("[data-fc-do-line]");
            if (button === null) {
                return;
            }
            switch (button.dataset.fcDoLine) {
                case "add":
                    addLine(root);
                    break;
                case "remove":
                    removeLine(root, button.closest("[data-fc-line]"));
                    break;
                default:
                    convert(root, button.dataset.fcDoLine);
            }
        });
        root.addEventListener("change", (event) => {
            if (event.target.matches("[data-fc-kind]")) {
                showKind(event.target.closest("[data-fc-line]"));
            }
        });
    };

    const startAll = () => document.querySelectorAll("[data-fc-schema]").forEach((root) => start(root));

    document.addEventListener("flowcontrol:forms", startAll); // for pages that load forms later
    startAll();
}
