/* A condition as groups and rows. What is drawn comes from the server; what is written here is the
   text of the drawing, by the patterns that came with the names. The text is what is posted. */
"use strict";

{
    // --- from a drawing to its text ---

    const quoted = (text) => `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

    const listed = (items, separators) => {
        const free = separators.find((each) => !items.some((item) => item.includes(each)));
        return free === undefined ? "" : `${quoted(items.join(free))}|split:${quoted(free)}`;
    };

    const rowText = (row, patterns) =>
        patterns[row.operator].pattern
            .split(/(\{left\}|\{value\})/)
            .map((part) => {
                if (part === "{left}") {
                    return row.left;
                }
                return part === "{value}" ? (row.value ? row.value.source : "") : part;
            })
            .join("")
            .trim();

    const isBlank = (node) =>
        "items" in node
            ? node.items.every(isBlank)
            : "left" in node
              ? node.left === ""
              : node.text.trim() === "";

    const write = (node, patterns) => {
        if ("text" in node) {
            return node.isEdited ? `(${node.text})` : node.text;
        }
        if ("left" in node) {
            return rowText(node, patterns);
        }
        const items = node.items.filter((item) => !isBlank(item));
        if (items.length === 0) {
            return "";
        }
        const isNegated = node.join === "none" || node.join === "not_all";
        const word = node.join === "all" || node.join === "not_all" ? " and " : " or ";
        const inside = (item) => {
            const text = write(item, patterns);
            const isJoined =
                "items" in item &&
                (item.join === "all" || item.join === "any") &&
                item.items.filter((each) => !isBlank(each)).length > 1;
            return isJoined ? `(${text})` : text;
        };
        const text =
            items.length === 1 ? write(items[0], patterns) : items.map(inside).join(word);
        return isNegated ? `not (${text})` : text;
    };

    // --- small makers ---

    const element = (tag, className, text = "") => {
        const made = document.createElement(tag);
        made.className = className;
        made.textContent = text;
        return made;
    };

    const button = (className, text, label = "") => {
        const made = element("button", `fc-c-button ${className}`.trim(), text);
        made.type = "button";
        if (label) {
            made.setAttribute("aria-label", label);
        }
        return made;
    };

    const option = (value, text, chosen) => {
        const made = element("option", "", text);
        made.value = value;
        made.selected = value === chosen;
        return made;
    };

    const select = (label, options) => {
        const made = element("select", "fc-c-select");
        made.setAttribute("aria-label", label);
        made.append(...options);
        return made;
    };

    const OTHER = "\u0000other";
    const JOINS = ["all", "any", "none", "not_all"];
    const DEFAULT_VALUE = { kind: "text", source: '""', plain: "" };

    /** The inputs that a type's values are typed into, and what such an input can show. */
    const INPUTS = {
        integer: { type: "number", fits: /^-?\d+$/ },
        number: { type: "number", fits: /^-?\d+(\.\d+)?$/ },
        date: { type: "date", fits: /^\d{4}-\d\d-\d\d$/ },
        datetime: { type: "datetime-local", fits: /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/ },
        time: { type: "time", fits: /^\d\d:\d\d(:\d\d)?$/ },
    };
    const NUMBER = /^-?\d+(\.\d+)?$/;

    class ConditionBuilder {
        /** `data` as the server gave it; `change` is called with each new text. */
        constructor(data, drawing, change) {
            this.data = data;
            this.texts = data.texts;
            this.change = change;
            this.byName = new Map(data.names.map((each) => [each.name, each]));
            this.root =
                drawing !== null && "items" in drawing
                    ? drawing
                    : { join: "all", items: drawing === null ? [] : [drawing] };
            this.element = element("div", "fc-c");
            this.render();
        }

        changed() {
            this.change(write(this.root, this.data.patterns));
        }

        render() {
            this.element.replaceChildren(this.group(this.root, null));
        }

        typeOf(left) {
            const known = this.byName.get(left);
            return known === undefined ? "any" : known.type;
        }

        // --- groups ---

        group(group, parent) {
            const made = element("fieldset", "fc-c-group");
            made.append(element("legend", "visually-hidden", this.texts.group));
            const head = element("div", "fc-c-head");
            const label = element("label", "fc-c-join", `${this.texts.holds} `);
            const join = select(
                this.texts.holds,
                JOINS.map((name) => option(name, this.texts[name], group.join)),
            );
            join.addEventListener("change", () => {
                group.join = join.value;
                this.changed();
            });
            label.append(join);
            head.append(label);
            if (parent !== null) {
                head.append(this.removal(parent, group));
            }
            const items = element("ul", "fc-c-items");
            items.append(...group.items.map((item) => this.item(item, group)));
            const empty = element("p", "fc-c-empty", this.texts.emptyGroup);
            empty.hidden = group.items.length > 0;
            const adding = element("div", "fc-c-buttons");
            const addRow = button("fc-c-add", `+ ${this.texts.add}`);
            const addGroup = button("fc-c-add", `+ ${this.texts.addGroup}`);
            addRow.addEventListener("click", () => this.add(group, this.newRow(), items, empty));
            addGroup.addEventListener("click", () =>
                this.add(group, { join: "any", items: [this.newRow()] }, items, empty),
            );
            adding.append(addRow, addGroup);
            made.append(head, items, empty, adding);
            return made;
        }

        newRow() {
            return { left: "", operator: "==", value: { ...DEFAULT_VALUE } };
        }

        add(group, item, items, empty) {
            group.items.push(item);
            const made = this.item(item, group);
            items.append(made);
            empty.hidden = true;
            made.querySelector(".fc-c-items select, select").focus();
            this.changed();
        }

        item(item, parent) {
            const made = element("li", "fc-c-item");
            if ("items" in item) {
                made.append(this.group(item, parent));
            } else if ("left" in item) {
                this.fillRow(made, item, parent);
            } else {
                this.fillPiece(made, item, parent);
            }
            return made;
        }

        removal(parent, item) {
            const made = button("fc-c-remove", "×", this.texts.remove);
            made.title = this.texts.remove;
            made.addEventListener("click", () => {
                const place = made.closest(".fc-c-item");
                const list = place.parentElement;
                const next = place.nextElementSibling ?? place.previousElementSibling;
                const group = list.closest(".fc-c-group");
                parent.items.splice(parent.items.indexOf(item), 1);
                place.remove();
                group.querySelector(":scope > .fc-c-empty").hidden = parent.items.length > 0;
                const focused =
                    next === null
                        ? group.querySelector(":scope > .fc-c-buttons button")
                        : next.querySelector(".fc-c-remove");
                focused.focus();
                this.changed();
            });
            return made;
        }

        // --- pieces: what only their text shows ---

        fillPiece(place, piece, parent) {
            const input = element("input", "fc-code fc-c-piece");
            input.type = "text";
            input.value = piece.text;
            input.spellcheck = false;
            input.setAttribute("aria-label", this.texts.piece);
            input.addEventListener("input", () => {
                piece.text = input.value;
                piece.isEdited = true; // it may be of any form now, so it gets parentheses
                this.changed();
            });
            place.replaceChildren(input, this.removal(parent, piece));
        }

        // --- rows ---

        fillRow(place, row, parent, focus = "") {
            const parts = [
                this.fieldControl(place, row, parent),
                ...(row.left === "" ? [] : [this.operatorControl(place, row, parent)]),
                ...(row.left === "" ? [] : this.valueControls(place, row, parent)),
                this.removal(parent, row),
            ];
            place.replaceChildren(...parts);
            if (focus) {
                place.querySelector(focus).focus();
            }
        }

        names(chosen, blank) {
            const groups = new Map();
            for (const name of this.data.names) {
                if (!groups.has(name.source)) {
                    const made = document.createElement("optgroup");
                    made.label = name.source;
                    groups.set(name.source, made);
                }
                const words = name.label ? `${name.label} · ${name.name}` : name.name;
                groups.get(name.source).append(option(name.name, words, chosen));
            }
            const own =
                chosen && !this.byName.has(chosen) ? [option(chosen, chosen, chosen)] : [];
            return [
                option("", blank, chosen),
                ...own,
                ...groups.values(),
                option(OTHER, this.texts.other, ""),
            ];
        }

        fieldControl(place, row, parent) {
            const made = select(
                this.texts.field,
                this.names(row.left, this.texts.chooseField),
            );
            made.classList.add("fc-c-field");
            made.addEventListener("change", () => {
                if (made.value === OTHER) {
                    const piece = { text: row.left };
                    parent.items[parent.items.indexOf(row)] = piece;
                    this.fillPiece(place, piece, parent);
                    place.querySelector("input").focus();
                    return;
                }
                const before = this.typeOf(row.left);
                row.left = made.value;
                const type = this.typeOf(row.left);
                const offered = this.operatorsOf(type).map(([name]) => name);
                if (!offered.includes(row.operator)) {
                    row.operator = offered[0];
                }
                if (type !== before || type === "choice") {
                    row.value = null;
                }
                this.settleValue(row);
                this.fillRow(place, row, parent, ".fc-c-field");
                this.changed();
            });
            return made;
        }

        operatorsOf(type) {
            return this.data.operators[type] ?? this.data.operators.any;
        }

        operatorControl(place, row, parent) {
            const offered = this.operatorsOf(this.typeOf(row.left));
            const options = offered.map(([name, words]) => option(name, words, row.operator));
            if (!offered.some(([name]) => name === row.operator)) {
                const { words } = this.data.patterns[row.operator];
                options.unshift(option(row.operator, words, row.operator));
            }
            const made = select(this.texts.operator, options);
            made.classList.add("fc-c-operator");
            made.addEventListener("change", () => {
                row.operator = made.value;
                this.settleValue(row);
                this.fillRow(place, row, parent, ".fc-c-operator");
                this.changed();
            });
            return made;
        }

        /** Give a row the kind of value that its operator takes. */
        settleValue(row) {
            const pattern = this.data.patterns[row.operator];
            if (!pattern.pattern.includes("{value}")) {
                row.value = null;
                return;
            }
            const isList = row.value !== null && row.value.kind === "list";
            const isCode = row.value !== null && row.value.kind === "code";
            if (row.value === null || (pattern.list !== isList && !isCode)) {
                row.value = pattern.list
                    ? { kind: "list", source: "", plain: [] }
                    : this.emptyValue(row);
            }
        }

        emptyValue(row) {
            const name = this.byName.get(row.left);
            if (name !== undefined && name.choices.length > 0) {
                const [first] = name.choices;
                return { kind: "text", source: first.source, plain: first.plain };
            }
            return this.typeOf(row.left) in INPUTS
                ? { kind: "text", source: "", plain: "" }
                : { ...DEFAULT_VALUE };
        }

        valueControls(place, row, parent) {
            if (row.value === null) {
                return [];
            }
            const isCode = row.value.kind === "code" || row.value.kind === "word";
            const kind = select(this.texts.compareWith, [
                option("value", this.texts.fixedValue, isCode ? "" : "value"),
                option("code", this.texts.otherField, isCode ? "code" : ""),
            ]);
            kind.classList.add("fc-c-kind");
            kind.addEventListener("change", () => {
                row.value =
                    kind.value === "code" ? { kind: "code", source: "", plain: "" } : null;
                this.settleValue(row);
                this.fillRow(place, row, parent, ".fc-c-kind");
                this.changed();
            });
            return [kind, isCode ? this.codeControl(place, row, parent) : this.plainControl(row)];
        }

        codeControl(place, row, parent) {
            const { source } = row.value;
            const made =
                row.value.isTyped || (source !== "" && !this.byName.has(source))
                    ? element("input", "fc-code fc-c-value")
                    : select(this.texts.value, this.names(source, this.texts.chooseField));
            made.classList.add("fc-c-value");
            made.setAttribute("aria-label", this.texts.value);
            if (made.tagName === "INPUT") {
                made.type = "text";
                made.value = source;
            }
            made.addEventListener(made.tagName === "INPUT" ? "input" : "change", () => {
                const isTyped = made.value === OTHER;
                const text = isTyped ? "" : made.value;
                row.value = { kind: "code", source: text, plain: text, isTyped: row.value.isTyped };
                if (isTyped) {
                    row.value.isTyped = true;
                    this.fillRow(place, row, parent, ".fc-c-value");
                }
                this.changed();
            });
            return made;
        }

        plainControl(row) {
            const name = this.byName.get(row.left);
            const choices = name === undefined ? [] : name.choices;
            const { value } = row;
            if (value.kind === "list") {
                return this.listControl(row, choices);
            }
            const isChoice = choices.some((each) => each.plain === value.plain);
            if (choices.length > 0 && isChoice) {
                const made = select(
                    this.texts.value,
                    choices.map((each) => option(each.plain, each.label, value.plain)),
                );
                made.classList.add("fc-c-value");
                made.addEventListener("change", () => {
                    const chosen = choices.find((each) => each.plain === made.value);
                    row.value = { kind: "text", source: chosen.source, plain: chosen.plain };
                    this.changed();
                });
                return made;
            }
            return this.inputControl(row);
        }

        inputControl(row) {
            const type = this.typeOf(row.left);
            const known = INPUTS[type];
            const isFitting =
                known !== undefined && (row.value.plain === "" || known.fits.test(row.value.plain));
            const made = element("input", "fc-c-value");
            made.type = isFitting ? known.type : "text";
            made.step = "any";
            made.value = row.value.plain;
            made.setAttribute("aria-label", this.texts.value);
            made.addEventListener("input", () => {
                const plain = made.value;
                const wantsNumber = type === "integer" || type === "number";
                // Of a field whose type nobody knows, what looks like a number is one.
                const isNumber = NUMBER.test(plain) && (wantsNumber || type === "any");
                const isEmpty = plain === "" && known !== undefined;
                row.value = {
                    kind: isNumber ? "number" : "text",
                    source: isEmpty ? "" : isNumber ? plain : quoted(plain),
                    plain,
                };
                this.changed();
            });
            return made;
        }

        listControl(row, choices) {
            const setItems = (items) => {
                row.value = {
                    kind: "list",
                    source: items.length > 0 ? listed(items, this.data.separators) : "",
                    plain: items,
                };
                this.changed();
            };
            const isChoices =
                choices.length > 0 &&
                row.value.plain.every((item) => choices.some((each) => each.plain === item));
            if (isChoices) {
                const made = element("span", "fc-c-value fc-c-choices");
                made.setAttribute("role", "group");
                made.setAttribute("aria-label", this.texts.value);
                for (const choice of choices) {
                    const label = element("label", "fc-c-choice");
                    const box = document.createElement("input");
                    box.type = "checkbox";
                    box.value = choice.plain;
                    box.checked = row.value.plain.includes(choice.plain);
                    label.append(box, ` ${choice.label}`);
                    made.append(label);
                }
                made.addEventListener("change", () => {
                    const boxes = [...made.querySelectorAll("input:checked")];
                    setItems(boxes.map((box) => box.value));
                });
                return made;
            }
            const made = element("input", "fc-c-value");
            made.type = "text";
            made.value = row.value.plain.join(", ");
            made.placeholder = this.texts.items;
            made.setAttribute("aria-label", this.texts.items);
            made.addEventListener("input", () => {
                setItems(
                    made.value
                        .split(",")
                        .map((item) => item.trim())
                        .filter(Boolean),
                );
            });
            return made;
        }
    }

    Object.assign(window.flowcontrolExpressions, { ConditionBuilder, writeCondition: write });
}
