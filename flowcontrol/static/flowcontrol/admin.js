/* What makes the pages handier. Each of them works without this script. */
"use strict";

{
    // --- the menus of rows: one open at a time, closed by Escape and by a click beside it ---

    const closeMenus = (except = null) => {
        for (const menu of document.querySelectorAll("[data-fc-menu][open]")) {
            if (menu !== except) {
                menu.open = false;
            }
        }
    };

    document.addEventListener("click", (event) => {
        closeMenus(event.target.closest("[data-fc-menu]"));
    });

    document.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") {
            return;
        }
        const menu = event.target.closest("[data-fc-menu][open]");
        closeMenus();
        if (menu !== null) {
            menu.querySelector("summary").focus();
        }
    });

    // --- choosing a type by typing: what does not fit disappears, Enter takes the first ---

    const matches = (choice, words) => {
        const text = choice.textContent.toLowerCase();
        return words.every((word) => text.includes(word));
    };

    for (const input of document.querySelectorAll("[data-fc-filter]")) {
        const root = document.getElementById(input.dataset.fcFilter);
        const none = root.querySelector("[data-fc-none]");

        const filter = () => {
            const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
            let found = 0;
            for (const group of root.querySelectorAll("[data-fc-group]")) {
                const title = group.querySelector("h2").textContent.toLowerCase();
                let shown = 0;
                for (const choice of group.querySelectorAll("[data-fc-choice]")) {
                    const rest = words.filter((word) => !title.includes(word));
                    choice.hidden = !matches(choice, rest);
                    shown += choice.hidden ? 0 : 1;
                }
                group.hidden = shown === 0;
                found += shown;
            }
            none.hidden = found > 0;
        };

        input.addEventListener("input", filter);
        input.form.addEventListener("submit", (event) => {
            const first = root.querySelector("[data-fc-choice]:not([hidden]) :is(a, button)");
            if (input.value.trim() && first !== null) {
                event.preventDefault();
                first.click();
            }
        });
    }
}
