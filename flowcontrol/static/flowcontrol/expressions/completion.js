/* Completing names, filters and choices while an expression is typed: a combobox on the input.

   An input is an expression or a template as a whole, or (data-fc-inside="json") it is JSON with some
   in its texts. Then it is the text in which the caret stands that is completed and tried. */
"use strict";

{
    const MOST_SHOWN = 50;
    const WORD = /[\p{L}_][\p{L}\p{N}_.]*$/u;
    const COMPARED = /([\p{L}_][\p{L}\p{N}_.]*)\s*(?:==|!=)\s*$/u;

    // --- texts in JSON ---

    /** Where the text of a JSON document begins in which the caret stands; -1 beside all texts. */
    const textAt = (json, caret) => {
        const open = [];
        let isName = false;
        for (let at = 0; at < caret; at += 1) {
            const sign = json[at];
            if (sign === '"') {
                const begin = at + 1;
                at = endOfText(json, begin);
                if (caret <= at) {
                    return isName ? -1 : begin;
                }
            } else if (sign === "{" || sign === "[") {
                open.push(sign);
                isName = sign === "{";
            } else if (sign === "}" || sign === "]") {
                open.pop();
                isName = false;
            } else if (sign === ",") {
                isName = open.at(-1) === "{";
            } else if (sign === ":") {
                isName = false;
            }
        }
        return -1;
    };

    /** Where a text ends: at its quote or, while that is missing, with the line. */
    const endOfText = (json, begin) => {
        let at = begin;
        while (at < json.length && json[at] !== '"' && json[at] !== "\n") {
            at += json[at] === "\\" ? 2 : 1;
        }
        return Math.min(at, json.length);
    };

    /** What a text of JSON means, and where in it each sign of the meaning is written. */
    const readText = (written) => {
        const places = [];
        let meaning = "";
        for (let at = 0; at < written.length; ) {
            const isEscape = written[at] === "\\";
            const length = !isEscape ? 1 : written[at + 1] === "u" ? 6 : 2;
            let sign = written[at];
            if (isEscape) {
                try {
                    sign = JSON.parse(`"${written.slice(at, at + length)}"`);
                } catch {
                    sign = "\ufffd"; // it is still being typed
                }
            }
            meaning += sign;
            places.push(at);
            at += length;
        }
        return { meaning, places: [...places, written.length] };
    };

    /** What can be completed and tried at the caret: `{text, caret, placeOf, write}`, or null. */
    const pieceAt = (input, caret = input.selectionStart) => {
        const { value } = input;
        if (input.dataset.fcInside !== "json") {
            return { text: value, caret, placeOf: (at) => at, write: (text) => text };
        }
        const begin = textAt(value, caret);
        if (begin < 0) {
            return null;
        }
        const { meaning, places } = readText(value.slice(begin, endOfText(value, begin)));
        return {
            text: meaning,
            caret: places.findIndex((place) => place >= caret - begin),
            placeOf: (at) => begin + places[at],
            write: (text) => JSON.stringify(text).slice(1, -1),
        };
    };

    // --- where the caret stands ---

    /** Where the code begins in which the caret stands; -1 in the plain part of a template. */
    const codeStart = (before, isTemplate) => {
        if (!isTemplate) {
            return 0;
        }
        const value = before.lastIndexOf("{{");
        const tag = before.lastIndexOf("{%");
        const open = Math.max(value, tag);
        const closed = Math.max(before.lastIndexOf("}}"), before.lastIndexOf("%}"));
        if (open < 0 || closed > open) {
            return -1;
        }
        if (tag > value) {
            const word = /^\s*[a-z]*/.exec(before.slice(open + 2))[0].length;
            return open + 2 + word < before.length ? open + 2 + word : -1;
        }
        return open + 2;
    };

    /** Where the text in quotes begins that has no end yet, or -1. */
    const openQuote = (code) => {
        let begin = -1;
        for (let at = 0; at < code.length; at += 1) {
            const sign = code[at];
            if (begin < 0 && (sign === '"' || sign === "'")) {
                begin = at;
            } else if (begin >= 0 && sign === "\\") {
                at += 1;
            } else if (begin >= 0 && sign === code[begin]) {
                begin = -1;
            }
        }
        return begin;
    };

    /** What could be completed at the caret: `{kind, begin, word, left}`, or null. */
    const contextAt = (text, caret, isTemplate) => {
        const before = text.slice(0, caret);
        const start = codeStart(before, isTemplate);
        if (start < 0) {
            return null;
        }
        const code = before.slice(start);
        const quote = openQuote(code);
        if (quote >= 0) {
            const compared = COMPARED.exec(code.slice(0, quote));
            return compared === null
                ? null
                : {
                      kind: "choice",
                      begin: start + quote,
                      word: code.slice(quote + 1),
                      left: compared[1],
                  };
        }
        const found = WORD.exec(code);
        const word = found === null ? "" : found[0];
        const prior = code.slice(0, code.length - word.length);
        if (/[\p{L}\p{N}"')]$/u.test(prior)) {
            return null; // right behind a value: an operator comes next
        }
        const begin = caret - word.length;
        if (/(^|[^|])\|\s*$/.test(prior)) {
            return { kind: "filter", begin, word, left: "" };
        }
        const compared = COMPARED.exec(prior);
        return { kind: "name", begin, word, left: compared === null ? "" : compared[1] };
    };

    // --- what fits ---

    const rank = (word, name, label) => {
        const wanted = word.toLowerCase();
        const given = name.toLowerCase();
        if (given.startsWith(wanted)) {
            return 0;
        }
        if (given.split(".").some((part) => part.startsWith(wanted))) {
            return 1;
        }
        const words = label.toLowerCase();
        if (words.split(/\s+/).some((part) => part.startsWith(wanted))) {
            return 2;
        }
        return given.includes(wanted) || words.includes(wanted) ? 3 : -1;
    };

    const fitting = (word, entries) =>
        entries
            .map((entry, order) => ({ entry, order, rank: rank(word, entry.text, entry.detail) }))
            .filter((each) => each.rank >= 0)
            .sort((one, other) => one.rank - other.rank || one.order - other.order)
            .slice(0, MOST_SHOWN)
            .map((each) => each.entry);

    const nameEntry = (name) => ({
        insert: name.name,
        text: name.name,
        type: name.typeWords,
        sample: name.sample,
        detail: name.label || name.source,
    });

    const filterEntry = (filter, texts) => ({
        insert: filter.argument === "needed" ? `${filter.name}:` : filter.name,
        text: filter.name,
        type: filter.argument === "none" ? "" : texts.takesArgument,
        sample: null,
        detail: filter.help,
    });

    const choiceEntry = (choice) => ({
        insert: choice.source,
        text: choice.source,
        type: "",
        sample: null,
        detail: choice.label,
    });

    const choicesOf = (data, name) => {
        const found = data.names.find((each) => each.name === name);
        return found === undefined ? [] : found.choices.map(choiceEntry);
    };

    /** What fits a context, best first. */
    const suggestions = (context, data) => {
        if (context.kind === "filter") {
            return fitting(
                context.word,
                data.filters.map((each) => filterEntry(each, data.texts)),
            );
        }
        const choices = choicesOf(data, context.left);
        if (context.kind === "choice") {
            const wanted = context.word.toLowerCase();
            return choices.filter((each) =>
                `${each.text} ${each.detail}`.toLowerCase().includes(wanted),
            );
        }
        const names = fitting(context.word, data.names.map(nameEntry));
        return context.word === "" ? [...choices, ...names] : names;
    };

    // --- the list below the input ---

    let lists = 0;

    const span = (className, text) => {
        const made = document.createElement("span");
        made.className = className;
        made.textContent = text;
        return made;
    };

    /** The list of suggestions of one input. `load` gives the names, once there are some; `isOff`
        tells that what is typed is no expression now. */
    class SuggestionList {
        constructor(input, place, load, isOff = () => false) {
            this.input = input;
            this.load = load;
            this.isOff = isOff;
            this.isTemplate = input.dataset.fcExpression === "template";
            this.entries = [];
            this.active = -1;
            this.context = null;
            this.piece = null;
            lists += 1;
            this.list = document.createElement("ul");
            this.list.id = `fc-suggestions-${lists}`;
            this.list.className = "fc-x-list";
            this.list.setAttribute("role", "listbox");
            this.list.hidden = true;
            if ("popover" in this.list) {
                this.list.popover = "manual"; // above everything, whatever scrolls or clips around
            }
            this.follow = () => this.position();
            this.count = document.createElement("span");
            this.count.className = "visually-hidden";
            this.count.setAttribute("role", "status");
            place.append(this.list, this.count);
            if (input.tagName === "INPUT") {
                input.setAttribute("role", "combobox");
                input.setAttribute("aria-expanded", "false");
            } else {
                input.setAttribute("aria-haspopup", "listbox");
            }
            input.setAttribute("aria-autocomplete", "list");
            input.setAttribute("aria-controls", this.list.id);
            input.addEventListener("keydown", (event) => this.onKey(event));
            input.addEventListener("input", (event) => this.onInput(event));
            input.addEventListener("blur", () => this.close());
            // Before the input loses the focus to it.
            this.list.addEventListener("mousedown", (event) => {
                event.preventDefault();
                const option = event.target.closest("[role=option]");
                if (option !== null) {
                    this.accept(Number(option.dataset.index));
                }
            });
        }

        get isOpen() {
            return !this.list.hidden;
        }

        async open(isAsked) {
            const data = await this.load();
            if (data === null || document.activeElement !== this.input) {
                return;
            }
            const { selectionStart, selectionEnd } = this.input;
            this.piece = selectionStart === selectionEnd && !this.isOff() ? pieceAt(this.input) : null;
            const context =
                this.piece === null
                    ? null
                    : contextAt(this.piece.text, this.piece.caret, this.isTemplate);
            if (context === null || (!isAsked && context.kind === "name" && context.word === "")) {
                this.close();
                return;
            }
            const entries = suggestions(context, data);
            const isDone = entries.length === 1 && entries[0].text === context.word;
            if (entries.length === 0 || (isDone && !isAsked)) {
                this.close();
                return;
            }
            this.context = context;
            this.show(entries, data.texts);
            this.activate(isAsked ? 0 : -1);
        }

        show(entries, texts) {
            this.entries = entries;
            this.list.setAttribute("aria-label", texts.suggestions);
            this.list.replaceChildren(
                ...entries.map((entry, index) => {
                    const option = document.createElement("li");
                    option.id = `${this.list.id}-${index}`;
                    option.dataset.index = index;
                    option.setAttribute("role", "option");
                    option.setAttribute("aria-selected", "false");
                    option.append(span("fc-x-name", entry.text));
                    if (entry.type) {
                        option.append(" ", span("fc-x-type", entry.type));
                    }
                    if (entry.sample !== null) {
                        option.append(" ", span("fc-x-sample", entry.sample));
                    }
                    if (entry.detail) {
                        option.append(" ", span("fc-x-detail", entry.detail));
                    }
                    return option;
                }),
            );
            this.list.hidden = false;
            if (this.list.popover) {
                this.list.showPopover();
            }
            this.position();
            this.list.scrollTop = 0;
            window.addEventListener("scroll", this.follow, { capture: true, passive: true });
            window.addEventListener("resize", this.follow, { passive: true });
            if (this.input.tagName === "INPUT") {
                this.input.setAttribute("aria-expanded", "true");
            }
            this.count.textContent = texts.suggestion.replace("%(count)s", entries.length);
        }

        /** Below the input; above it where there is more room. */
        position() {
            const box = this.input.getBoundingClientRect();
            const below = window.innerHeight - box.bottom - 8;
            const isBelow = below >= Math.min(200, box.top);
            const { style } = this.list;
            style.insetInlineStart = "auto";
            style.left = `${box.left}px`;
            style.width = `${box.width}px`;
            style.maxHeight = `${Math.min(272, isBelow ? below : box.top - 8)}px`;
            style.top = isBelow ? `${box.bottom + 2}px` : "auto";
            style.bottom = isBelow ? "auto" : `${window.innerHeight - box.top + 2}px`;
        }

        close() {
            if (!this.isOpen) {
                return;
            }
            window.removeEventListener("scroll", this.follow, { capture: true });
            window.removeEventListener("resize", this.follow);
            if (this.list.popover && this.list.matches(":popover-open")) {
                this.list.hidePopover();
            }
            this.list.hidden = true;
            this.count.textContent = "";
            this.active = -1;
            this.input.removeAttribute("aria-activedescendant");
            if (this.input.tagName === "INPUT") {
                this.input.setAttribute("aria-expanded", "false");
            }
        }

        activate(index) {
            for (const option of this.list.children) {
                option.setAttribute("aria-selected", String(Number(option.dataset.index) === index));
            }
            this.active = index;
            if (index < 0) {
                this.input.removeAttribute("aria-activedescendant");
                return;
            }
            const option = this.list.children[index];
            this.input.setAttribute("aria-activedescendant", option.id);
            option.scrollIntoView({ block: "nearest" });
        }

        accept(index) {
            const { insert } = this.entries[index];
            const caret = this.input.selectionStart;
            this.close();
            this.input.focus();
            const begin = this.piece.placeOf(this.context.begin);
            this.input.setRangeText(this.piece.write(insert), begin, caret, "end");
            this.isAccepting = true;
            this.input.dispatchEvent(new Event("input", { bubbles: true }));
            this.isAccepting = false;
        }

        onInput(event) {
            if (this.isAccepting || event.isComposing) {
                return;
            }
            this.open(false);
        }

        onKey(event) {
            if (event.key === " " && (event.ctrlKey || event.metaKey)) {
                event.preventDefault();
                this.open(true);
                return;
            }
            if (!this.isOpen || event.isComposing) {
                return;
            }
            const last = this.entries.length - 1;
            const moves = {
                ArrowDown: this.active >= last ? 0 : this.active + 1,
                ArrowUp: this.active <= 0 ? last : this.active - 1,
                PageDown: Math.min(last, this.active + 8),
                PageUp: Math.max(0, this.active - 8),
            };
            if (event.key in moves) {
                event.preventDefault();
                this.activate(moves[event.key]);
            } else if (event.key === "Escape") {
                event.preventDefault();
                event.stopPropagation();
                this.close();
            } else if ((event.key === "Enter" || event.key === "Tab") && this.active >= 0) {
                if (event.shiftKey || event.altKey) {
                    return;
                }
                event.preventDefault();
                event.stopPropagation();
                this.accept(this.active);
            } else if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) {
                this.close();
            }
        }
    }

    window.flowcontrolExpressions = { contextAt, pieceAt, suggestions, SuggestionList };
}
