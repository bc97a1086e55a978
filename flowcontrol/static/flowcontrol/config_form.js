/* Config forms: show what a switch chooses, hide the rest. Without this script both stay in sight
   and the switch is read when the form is posted. */
"use strict";

{
    const setHidden = (part, hidden) => {
        part.hidden = hidden;
        // A hidden input is neither posted nor checked by the browser.
        for (const control of part.querySelectorAll("input, select, textarea")) {
            if (hidden && !control.disabled) {
                control.disabled = true;
                control.dataset.fcDisabled = "";
            } else if (!hidden && "fcDisabled" in control.dataset) {
                control.disabled = false;
                delete control.dataset.fcDisabled;
            }
        }
    };

    const ownParts = (field, selector) =>
        [...field.querySelectorAll(selector)].filter(
            (part) => part.closest("[data-fc-field]") === field
        );

    const modeOf = (field) => {
        const chosen = field.querySelector(":scope > .fc-head .fc-switch input:checked");
        return chosen ? chosen.value : "fixed";
    };

    const isUsed = (field) => {
        const box = field.querySelector(":scope > .fc-head .fc-check input[type=checkbox]");
        return box === null || box.checked;
    };

    const refresh = (field) => {
        const computed = modeOf(field) === "computed";
        field.dataset.fcMode = computed ? "computed" : "fixed";
        for (const part of ownParts(field, ".fc-computed")) {
            setHidden(part, !computed);
        }
        for (const part of ownParts(field, ".fc-fixed")) {
            const isContent = part.classList.contains("fc-children");
            setHidden(part, computed || (isContent && !isUsed(field)));
        }
    };

    const start = (root) => {
        if (root.classList.contains("fc-live")) {
            return;
        }
        root.classList.add("fc-live");
        // Only these: a field inside a group would enable again what its group has disabled.
        root.querySelectorAll("[data-fc-mode], .fc-group").forEach(refresh);
        root.addEventListener("change", (event) => {
            const field = event.target.closest("[data-fc-field]");
            if (field !== null && field.matches("[data-fc-mode], .fc-group")) {
                refresh(field);
            }
        });
    };

    const startAll = () => document.querySelectorAll("[data-fc-config]").forEach(start);

    document.addEventListener("flowcontrol:forms", startAll); // for pages that load forms later
    startAll();
}
