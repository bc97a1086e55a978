/* The panels of a trial and of the tests: sending their forms, and going to what came of it.

   What was typed for a trial is remembered until the page is left, so that a change of the draft, or
   "run to here" at another row, can be tried with the same. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const { panel } = builder;
    const url = `${builder.base}try/`;
    const form = () => panel.querySelector("#fc-try");

    let typed = null;

    const valuesOf = (sent) => {
        const values = {};
        for (const [name, value] of new FormData(sent)) {
            (values[name] ??= []).push(value);
        }
        delete values.csrfmiddlewaretoken;
        return values;
    };

    const remember = () => {
        if (form() !== null) {
            typed = valuesOf(form());
        }
    };

    const canFocus = (element) => element.offsetParent !== null && element.type !== "hidden";

    /* What is to be read first: a mistake, else what came of it. */
    const goToAnswer = () => {
        const wrong = [...panel.querySelectorAll(".fc-invalid :is(input, select, textarea)")];
        const heard = panel.querySelector("[data-fc-heard]");
        const first = [...panel.querySelectorAll("#fc-try :is(input, select, textarea)")];
        const target = wrong.find(canFocus) ?? heard ?? first.find(canFocus);
        panel.scrollTop = 0;
        (target ?? panel.querySelector("[data-fc-panel-title]")).focus();
    };

    /* Say so while it takes longer than one expects of a click. */
    const working = async (job) => {
        const timer = window.setTimeout(() => builder.announce(builder.texts.fcWorking), 600);
        try {
            return await job;
        } finally {
            window.clearTimeout(timer);
            const live = document.getElementById("fc-live");
            if (live.textContent === builder.texts.fcWorking) {
                live.replaceChildren();
            }
        }
    };

    let isSending = false;

    const send = async (to, values) => {
        if (isSending) {
            return false; // a second click asks for what is on its way
        }
        isSending = true;
        try {
            const asked = builder.post(to, { swap: "innerHTML", values: () => ({ ...values }) });
            if (!(await working(asked))) {
                return false;
            }
        } catch {
            return false; // not reached; the page has said so
        } finally {
            isSending = false;
        }
        document.getElementById("fc-notice").replaceChildren();
        builder.begin();
        remember();
        goToAnswer();
        return true;
    };

    /* Enter in a field would take the first button of all; it takes the one that the field is for. */
    const buttonFor = (sent, submitter) => {
        const field = document.activeElement?.closest("#fc-try :is(input, select, textarea)");
        if (!field) {
            return submitter;
        }
        return sent.querySelector(field.name.startsWith("test-") ? "[name=save]" : "[name=try]");
    };

    panel.addEventListener("submit", (event) => {
        const sent = event.target;
        if (sent.matches("[data-fc-load]")) {
            event.preventDefault();
            builder.show(`${url}?${new URLSearchParams(new FormData(sent))}`);
        } else if (sent.matches("[data-fc-send]")) {
            event.preventDefault();
            const values = valuesOf(sent);
            const button = buttonFor(sent, event.submitter);
            if (button?.name) {
                values[button.name] = [button.value];
            }
            send(sent.getAttribute("action"), values);
        }
    });

    panel.addEventListener("input", (event) => {
        if (event.target.closest("#fc-try") !== null) {
            remember();
        }
    });

    panel.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form() !== null) {
            event.preventDefault();
            form().requestSubmit();
        }
    });

    /* The form of a trial with what it had last. */
    const showAgain = async () => {
        if (!(await builder.mayLeave())) {
            return false;
        }
        const { test, until, ...values } = typed;
        return send(url, { ...values, fill: ["1"] });
    };

    const { show } = builder;
    builder.show = (to) => (to === url && typed !== null ? showAgain() : show(to));

    if (document.querySelector(`#fc-toolbar a[href="${url}"]`) !== null) {
        builder.actions.try = () => builder.show(url);
    }

    /* Try as far as a row: at once with what is known to start with, else one is asked for it. */
    builder.actions.run_here = async (rows) => {
        const [row] = builder.chosen(rows);
        if (row === undefined || !(await builder.mayLeave())) {
            return false;
        }
        const here = row.dataset.fcRow;
        remember();
        if (typed === null) {
            return show(`${url}?here=${encodeURIComponent(here)}`);
        }
        return send(url, { ...typed, here: [here] });
    };
}
