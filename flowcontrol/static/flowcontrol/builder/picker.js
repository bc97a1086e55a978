/* The picker: type what should happen, Enter adds it where one stands. */
"use strict";

{
    const { builder } = window.flowcontrol;
    const dialog = document.getElementById("fc-picker");

    if (dialog !== null) {
        const input = document.getElementById("fc-find");
        const body = document.getElementById("fc-picker-body");
        const choices = () => [...body.querySelectorAll(".fc-choice")];
        const shown = () => choices().filter((choice) => !choice.parentElement.hidden);
        let known = [];
        let isAwaited = false;
        let opening = 0;
        const recentKey = "flowcontrol.recent";
        const RECENT = 5;

        // --- how well a choice fits what was typed; 0: not at all ---

        const inOrder = (word, text) => {
            let at = -1;
            let gaps = 0;
            for (const letter of word) {
                const next = text.indexOf(letter, at + 1);
                if (next < 0) {
                    return 0;
                }
                gaps += at < 0 ? 0 : next - at - 1;
                at = next;
            }
            return gaps <= word.length ? 1 / (1 + gaps) : 0;
        };

        const fit = (word, title, name, rest) => {
            if (title === word) {
                return 100;
            }
            if (title.startsWith(word)) {
                return 50;
            }
            if (title.includes(` ${word}`)) {
                return 40;
            }
            if (title.includes(word)) {
                return 30;
            }
            if (name.includes(word)) {
                return 20;
            }
            if (rest.includes(word)) {
                return 10;
            }
            return word.length > 1 ? 5 * inOrder(word, title) : 0;
        };

        const score = (choice, typed) => {
            const title = choice.querySelector(".fc-title").textContent.toLowerCase();
            const group = choice.parentElement.dataset.fcGroup ?? "";
            const about = choice.querySelector(".fc-subtitle").textContent;
            const rest = `${group} ${about}`.toLowerCase();
            const whole = fit(typed, title, choice.value, "");
            const words = typed.split(/\s+/).map((word) => fit(word, title, choice.value, rest));
            return Math.max(whole, words.includes(0) ? 0 : Math.min(...words));
        };

        // --- what is offered, and which one Enter takes ---

        let active = null;

        const setActive = (choice) => {
            active?.classList.remove("fc-active");
            active?.removeAttribute("aria-selected");
            active = choice ?? null;
            active?.classList.add("fc-active");
            active?.setAttribute("aria-selected", "true");
            if (active === null) {
                input.removeAttribute("aria-activedescendant");
            } else {
                input.setAttribute("aria-activedescendant", active.id);
                active.scrollIntoView({ block: "nearest" });
            }
        };

        /* What fits best stands first, in one list; with nothing typed everything is in its group. */
        const filter = () => {
            const typed = input.value.trim().toLowerCase();
            const list = document.getElementById("fc-choices");
            const found = body.querySelector("[data-fc-found]");
            if (list === null || found === null) {
                return; // what is offered is still on its way
            }
            found.replaceChildren();
            found.hidden = typed === "";
            for (const group of list.querySelectorAll("[data-fc-group]")) {
                group.hidden = typed !== "";
            }
            const scored = typed === "" ? [] : known.map((choice) => [score(choice, typed), choice]);
            const fitting = scored.filter(([points]) => points > 0);
            fitting.sort(([one], [other]) => other - one);
            for (const [, choice] of fitting) {
                const copy = choice.cloneNode(true);
                copy.id = `${choice.id}-found`;
                found.append(copy);
            }
            body.querySelector("[data-fc-none]").hidden =
                typed === "" ? known.length > 0 : fitting.length > 0;
            setActive(shown()[0]);
        };

        const move = (steps) => {
            const offered = shown();
            const at = offered.indexOf(active);
            setActive(offered[Math.min(Math.max(at + steps, 0), offered.length - 1)]);
        };

        // --- used lately ---

        const recent = () => {
            try {
                return JSON.parse(localStorage.getItem(recentKey)) ?? [];
            } catch {
                return [];
            }
        };

        const remember = (name) => {
            const names = [name, ...recent().filter((each) => each !== name)].slice(0, RECENT);
            try {
                localStorage.setItem(recentKey, JSON.stringify(names));
            } catch {
                // Then nothing is remembered.
            }
        };

        const offerRecent = () => {
            const list = document.getElementById("fc-choices");
            const byName = new Map(known.map((choice) => [choice.value, choice]));
            const used = recent().filter((name) => byName.has(name));
            if (list === null || used.length === 0) {
                return;
            }
            const group = document.createElement("div");
            group.setAttribute("role", "group");
            group.setAttribute("aria-label", list.dataset.fcRecent);
            group.dataset.fcGroup = "";
            const heading = document.createElement("p");
            heading.className = "fc-group-title";
            heading.setAttribute("role", "presentation");
            heading.textContent = list.dataset.fcRecent;
            group.append(heading);
            used.forEach((name, number) => {
                const copy = byName.get(name).cloneNode(true);
                copy.id = `fc-lately-${number}`;
                group.append(copy);
            });
            list.prepend(group);
        };

        // --- opening and choosing ---

        builder.pick = async (target, position) => {
            if (!(await builder.mayLeave())) {
                return;
            }
            body.replaceChildren();
            input.value = "";
            [known, isAwaited] = [[], false];
            opening += 1;
            const opened = opening;
            setActive(null);
            dialog.showModal();
            input.focus();
            const query = new URLSearchParams({ target, position });
            const address = `${builder.url}add/?${query}`;
            const isOffered = await builder.get(address, { target: body, swap: "innerHTML" });
            if (opened !== opening) {
                return; // opened elsewhere before the answer came
            }
            if (!isOffered || !dialog.open) {
                dialog.close(); // what stands in the way is told on the page
                body.replaceChildren();
                return;
            }
            known = choices();
            offerRecent();
            filter();
            if (isAwaited && active !== null) {
                choose(active); // Enter was faster than the answer
            }
        };

        const choose = async (choice) => {
            const values = Object.fromEntries(new FormData(body.querySelector("form")));
            dialog.close();
            remember(choice.value);
            const isDone = await builder.post(`${builder.url}add/`, {
                values: () => ({ ...values, action: choice.value }),
                swap: "innerHTML",
            });
            if (isDone) {
                builder.opened();
            } else {
                builder.focusRow();
            }
        };

        input.addEventListener("input", filter);
        input.addEventListener("keydown", (event) => {
            const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
            if (steps !== undefined) {
                event.preventDefault();
                move(steps);
            } else if (event.key === "Escape") {
                event.preventDefault(); // a search field would only be emptied
                dialog.close();
            } else if (event.key === "Enter") {
                event.preventDefault();
                if (active !== null) {
                    choose(active);
                } else {
                    isAwaited = known.length === 0;
                }
            }
        });
        body.addEventListener("submit", (event) => event.preventDefault());
        body.addEventListener("click", (event) => {
            const choice = event.target.closest(".fc-choice");
            if (choice !== null) {
                event.preventDefault();
                choose(choice);
            }
        });
        dialog.addEventListener("click", (event) => {
            if (event.target === dialog) {
                dialog.close();
            }
        });
        dialog.addEventListener("close", () => {
            body.replaceChildren();
            setActive(null);
            if (document.activeElement === document.body) {
                builder.focusRow();
            }
        });

        const beside = (position) => (rows) => {
            const [row] = builder.chosen(rows);
            const isInside = position === "last";
            if (row === undefined) {
                return builder.pick("", "last");
            }
            if (isInside && !row.hasAttribute("data-fc-takes")) {
                return builder.announce(builder.texts.fcNowhere);
            }
            return builder.pick(row.dataset.fcRow, position);
        };
        Object.assign(builder.actions, {
            add_before: beside("before"),
            add_after: beside("after"),
            add_inside: beside("last"),
        });

        builder.root.addEventListener("click", (event) => {
            const link = event.target.closest("a[data-fc-add]");
            if (link !== null && !event.ctrlKey && !event.metaKey) {
                event.preventDefault();
                const query = new URL(link.href).searchParams;
                builder.pick(query.get("target"), query.get("position"));
            }
        });
    }
}
