/* Expression fields: completion, what an expression gives, conditions, the object to try with.
   Inputs are found by data-fc-expression. Without this script they are plain inputs. */
"use strict";

{
    const { SuggestionList, ConditionBuilder, pieceAt } = window.flowcontrolExpressions;
    const PAUSE = 350;
    const PREFERENCE = "flowcontrol.conditions";

    let made = 0;
    const fields = new Map();

    // --- the server ---

    const answers = new Map();

    const token = () => {
        const field = document.querySelector("input[name=csrfmiddlewaretoken]");
        return field === null ? "" : field.value;
    };

    const ask = async (url, options = {}) => {
        const answer = await fetch(url, {
            credentials: "same-origin",
            headers: { Accept: "application/json", "X-CSRFToken": token() },
            ...options,
        });
        const isJSON = (answer.headers.get("Content-Type") ?? "").includes("json");
        if (!answer.ok || answer.redirected || !isJSON) {
            throw new Error(String(answer.status));
        }
        return answer.json();
    };

    /** The names at a place; asked once for all fields that stand there. */
    const loadNames = (base, place) => {
        const url = `${base}names/?${place}`;
        if (!answers.has(url)) {
            answers.set(
                url,
                ask(url).catch(() => {
                    answers.delete(url);
                    return null;
                }),
            );
        }
        return answers.get(url);
    };

    const forget = (base) => {
        for (const url of [...answers.keys()]) {
            if (url.startsWith(base)) {
                answers.delete(url);
            }
        }
    };

    const prefersConditions = () => {
        try {
            return localStorage.getItem(PREFERENCE) === "1";
        } catch {
            return false;
        }
    };

    const prefer = (conditions) => {
        try {
            localStorage.setItem(PREFERENCE, conditions ? "1" : "0");
        } catch {
            // A browser that keeps nothing still works.
        }
    };

    const element = (tag, className, text = "") => {
        const node = document.createElement(tag);
        node.className = className;
        node.textContent = text;
        return node;
    };

    const button = (className, text) => {
        const node = element("button", className, text);
        node.type = "button";
        return node;
    };

    // --- one field ---

    class ExpressionField {
        constructor(input) {
            made += 1;
            this.input = input;
            this.kind = input.dataset.fcExpression;
            this.base = input.dataset.fcBase;
            this.checks = 0;
            this.drawing = undefined;
            this.builder = null;
            this.box = element("div", "fc-x");
            this.status = element("p", "fc-x-status");
            this.status.id = `fc-x-status-${made}`;
            this.status.setAttribute("role", "status");
            this.tools = element("div", "fc-x-tools");
            input.after(this.box);
            this.isJSON = input.dataset.fcInside === "json";
            this.tried = null;
            const isOff = () => this.isOff;
            this.list = new SuggestionList(input, this.box, () => this.names(), isOff);
            this.box.append(this.status, this.tools);
            const described = input.getAttribute("aria-describedby");
            input.setAttribute(
                "aria-describedby",
                described ? `${described} ${this.status.id}` : this.status.id,
            );
            input.addEventListener("input", () => this.typed());
            input.addEventListener("focus", () => this.wake());
            if (this.triggerField !== null) {
                this.triggerField.addEventListener("change", () => this.check());
            }
            this.switchField?.addEventListener("change", () => this.check());
            if (this.isJSON) {
                for (const moved of ["keyup", "click", "focus"]) {
                    input.addEventListener(moved, () => this.moved());
                }
            } else if (input.value.trim() !== "" || this.kind === "condition") {
                this.wakeWhenSeen();
            }
        }

        /** The checkbox that says whether the texts in this JSON are expressions, if one does. */
        get switchField() {
            const name = this.input.dataset.fcIf;
            return name === undefined ? null : (this.input.form?.elements.namedItem(name) ?? null);
        }

        get isOff() {
            return this.switchField !== null && !this.switchField.checked;
        }

        /** What is tried: all of it, or of JSON the text at the caret; empty beside all texts. */
        get text() {
            return this.isOff ? "" : (pieceAt(this.input)?.text ?? "");
        }

        /** The caret may stand in another text by now. */
        moved() {
            if (this.text !== this.tried) {
                this.typed();
            }
        }

        /** The field of the same form that says which trigger the condition is about. */
        get triggerField() {
            const name = this.input.dataset.fcTriggerField;
            if (name === undefined || this.input.form === null) {
                return null;
            }
            const prefix = this.input.name.replace(/[^-]*$/, "");
            return this.input.form.elements.namedItem(prefix + name);
        }

        get place() {
            const trigger = this.triggerField;
            return trigger === null
                ? this.input.dataset.fcPlace
                : new URLSearchParams({ triggers: trigger.value }).toString();
        }

        names() {
            return loadNames(this.base, this.place);
        }

        /** Begin once the field is in sight: a form may hold many that are never looked at. */
        wakeWhenSeen() {
            const watcher = new IntersectionObserver((entries) => {
                if (entries.some((entry) => entry.isIntersecting)) {
                    watcher.disconnect();
                    this.wake();
                }
            });
            watcher.observe(this.input);
        }

        async wake() {
            if (this.isAwake) {
                return;
            }
            this.isAwake = true;
            const data = await this.names();
            if (data === null) {
                this.isAwake = false; // perhaps the next time
                return;
            }
            this.showTools(data);
            await this.check();
            if (this.kind === "condition" && prefersConditions() && this.canDraw()) {
                this.showConditions(data);
            }
        }

        typed() {
            clearTimeout(this.timer);
            this.timer = setTimeout(() => this.check(), PAUSE);
        }

        // --- what it gives ---

        async check() {
            clearTimeout(this.timer);
            this.checks += 1;
            const { checks, text } = this;
            this.tried = text;
            if (text.trim() === "") {
                this.drawing = null;
                this.input.classList.remove("fc-x-wrong");
                this.tell("", "");
                return;
            }
            const data = await this.names();
            if (data === null) {
                return;
            }
            const body = new FormData();
            body.append("text", text);
            body.append("kind", this.kind);
            for (const [name, value] of new URLSearchParams(this.place)) {
                body.append(name, value);
            }
            let answer;
            try {
                answer = await ask(`${this.base}check/`, { method: "POST", body });
            } catch {
                if (checks === this.checks) {
                    this.tell("is-trouble", data.texts.connection);
                }
                return;
            }
            if (checks !== this.checks) {
                return; // something else has been typed meanwhile
            }
            this.drawing = answer.drawing ?? null;
            this.showAnswer(answer, data.texts);
            this.showTools(data);
        }

        showAnswer(answer, texts) {
            this.input.classList.toggle("fc-x-wrong", Boolean(answer.mistake));
            if (answer.mistake) {
                this.tell("is-mistake", answer.mistake);
            } else if (answer.strange.length > 0) {
                this.tell("is-trouble", [...answer.strange, answer.trouble].join(" ").trim());
            } else if (answer.trouble) {
                this.tell("is-trouble", answer.trouble);
            } else {
                const isCondition = answer.holds !== null;
                const shown = isCondition ? texts[answer.holds ? "yes" : "no"] : answer.shown;
                this.tell(
                    "is-fine",
                    `${texts.gives}: `,
                    shown === "" ? texts.emptyText : shown,
                    this.readsOf(answer),
                );
            }
        }

        readsOf(answer) {
            return answer.reads
                .filter(([name]) => name !== this.tried.trim())
                .map(([name, value]) => `${name} = ${value}`)
                .join(", ");
        }

        tell(className, text, value = "", reads = "") {
            this.status.className = `fc-x-status ${className}`.trim();
            const parts = [text];
            if (this.isJSON && text) {
                parts.unshift(element("code", "fc-x-which", this.tried), " ");
            }
            if (value) {
                parts.push(element("b", "fc-x-value", value));
            }
            if (reads) {
                parts.push(" ", element("span", "fc-x-reads", reads));
            }
            this.status.replaceChildren(...parts);
        }

        // --- the tools below the field ---

        canDraw() {
            return this.input.value.trim() === "" || Boolean(this.drawing);
        }

        showTools(data) {
            const { texts } = data;
            if (this.kind === "condition" && this.switch === undefined) {
                this.switch = button("fc-x-tool", texts.asConditions);
                this.switch.addEventListener("click", () => this.toggle());
                this.tools.append(this.switch);
            }
            if (this.switch !== undefined && this.builder === null) {
                const text = this.input.value.trim() !== "";
                const isUndrawable = text && this.drawing === null;
                const isWrong = this.status.classList.contains("is-mistake");
                this.switch.disabled = isUndrawable;
                this.switch.title = isUndrawable && !isWrong ? texts.cannotDraw : "";
            }
            this.showSample(data);
        }

        async toggle() {
            const data = await this.names();
            if (data === null) {
                return;
            }
            if (this.builder !== null) {
                prefer(false);
                this.showText(data);
                this.input.focus();
                return;
            }
            await this.check(); // what is drawn is what stands there now
            if (this.canDraw()) {
                prefer(true);
                this.showConditions(data);
                this.builder.element.querySelector("select, button").focus();
            }
        }

        showConditions(data) {
            if (this.builder !== null) {
                return; // it was asked for twice while the server answered
            }
            this.list.close();
            const drawing = this.input.value.trim() === "" ? null : this.drawing;
            this.builder = new ConditionBuilder(data, drawing, (text) => {
                this.input.value = text;
                this.input.dispatchEvent(new Event("input", { bubbles: true }));
                this.input.dispatchEvent(new Event("change", { bubbles: true }));
            });
            const label = this.labelText();
            this.builder.element.setAttribute("role", "group");
            this.builder.element.setAttribute("aria-label", label);
            this.input.hidden = true;
            this.box.prepend(this.builder.element);
            this.switch.textContent = data.texts.asText;
        }

        showText(data) {
            this.builder.element.remove();
            this.builder = null;
            this.input.hidden = false;
            this.switch.textContent = data.texts.asConditions;
            this.check();
        }

        labelText() {
            const [label] = this.input.labels ?? [];
            return this.input.getAttribute("aria-label") ?? (label ? label.textContent.trim() : "");
        }

        // --- the object to try with ---

        showSample(data) {
            const { sample, texts } = data;
            if (this.sample === undefined) {
                this.sample = button("fc-x-tool fc-x-sample-button", "");
                this.sample.setAttribute("aria-expanded", "false");
                this.sample.addEventListener("click", () => this.toggleChooser());
                this.note = element("span", "fc-x-note");
                this.tools.append(this.sample, this.note);
            }
            this.sample.hidden = sample.chosen === null;
            this.sample.textContent =
                sample.chosen === null ? "" : `${texts.triedWith}: ${sample.chosen.label}`;
            this.note.textContent = sample.note;
        }

        async toggleChooser() {
            if (this.chooser) {
                this.closeChooser();
                return;
            }
            const data = await this.names();
            if (data === null) {
                return;
            }
            const { texts } = data;
            this.chooser = element("div", "fc-x-chooser");
            const search = element("input", "fc-x-search");
            search.type = "search";
            search.placeholder = texts.search;
            search.setAttribute("aria-label", texts.search);
            const found = element("ul", "fc-x-found");
            this.chooser.append(search, found);
            this.chooser.addEventListener("keydown", (event) => {
                if (event.key === "Escape") {
                    event.preventDefault();
                    event.stopPropagation();
                    this.closeChooser();
                    this.sample.focus();
                } else if (event.key === "Enter" && event.target === search) {
                    event.preventDefault(); // the form around it is not sent by a search
                }
            });
            this.sample.setAttribute("aria-expanded", "true");
            this.box.append(this.chooser);
            search.addEventListener("input", () => {
                clearTimeout(this.searchTimer);
                this.searchTimer = setTimeout(() => this.search(search.value, found, texts), PAUSE);
            });
            search.focus();
            await this.search("", found, texts);
        }

        closeChooser() {
            this.chooser.remove();
            this.chooser = null;
            this.sample.setAttribute("aria-expanded", "false");
        }

        async search(query, found, texts) {
            let answer;
            try {
                const wanted = new URLSearchParams({ q: query });
                answer = await ask(`${this.base}sample/?${wanted}`);
            } catch {
                answer = { found: [] };
            }
            const entries = answer.found.map((each) => {
                const item = document.createElement("li");
                const choice = button("fc-x-choice", each.label);
                choice.addEventListener("click", () => this.choose(each.key));
                if (answer.chosen !== null && each.key === answer.chosen.key) {
                    choice.setAttribute("aria-current", "true");
                }
                item.append(choice);
                return item;
            });
            const newest = document.createElement("li");
            const forgetting = button("fc-x-choice", texts.newest);
            forgetting.addEventListener("click", () => this.choose(""));
            newest.append(forgetting);
            const nothing = element("li", "fc-x-note", texts.nothingFound);
            found.replaceChildren(...(query ? [] : [newest]), ...entries);
            if (entries.length === 0) {
                found.append(nothing);
            }
        }

        async choose(key) {
            const body = new FormData();
            body.append("key", key);
            try {
                await ask(`${this.base}sample/`, { method: "POST", body });
            } catch {
                return;
            }
            this.closeChooser();
            this.sample.focus();
            forget(this.base);
            for (const field of fields.values()) {
                if (field.base === this.base && field.isAwake) {
                    field.names().then((data) => data !== null && field.showTools(data));
                    field.check();
                }
            }
        }
    }

    // --- all of them ---

    const start = (input) => {
        // Django's admin keeps an empty form from which it copies new ones.
        const isPattern = input.name.includes("__prefix__") || input.closest(".empty-form");
        const isForReading = input.disabled && !("fcDisabled" in input.dataset);
        if (!fields.has(input) && !isPattern && !isForReading && input.dataset.fcBase) {
            fields.set(input, new ExpressionField(input));
        }
    };

    const startAll = () => {
        for (const input of [...fields.keys()]) {
            if (!input.isConnected) {
                fields.delete(input);
            }
        }
        document.querySelectorAll("[data-fc-expression]").forEach(start);
    };

    document.addEventListener("flowcontrol:forms", startAll); // for pages that load forms later
    document.addEventListener("formset:added", startAll);
    startAll();
}
