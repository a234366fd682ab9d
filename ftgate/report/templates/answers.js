// The browser of all answers. What models, suites and strangers wrote is shown through textContent alone.
(() => {
  const byId = (id) => document.getElementById(id);
  const ROW = 56; // pixels, as in the style sheet
  const NAMES = ["worse", "better", "same", "failed", "left out"];
  const WORSE = 0, BETTER = 1, SAME = 2, FAILED = 3;
  const STEPS = { j: 1, k: -1 };
  const STEPS_IN_LIST = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
  const state = { outcome: null, measurement: "", tag: "", query: "", sort: "loss", against: "base" };
  let data, items, orders, lowered, shown = [], current = -1;

  /** An element with attributes and children; a child that is a string becomes text. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  const textOf = (place) => data.texts[place];
  const headOf = (item) => (item.prompt.length ? textOf(item.prompt[item.prompt.length - 1][1]) : "").slice(0, 200);
  const measurementOf = (item) => data.measurements[item.in];
  const keyOf = (item) => `${encodeURIComponent(measurementOf(item).name)}/${encodeURIComponent(item.id)}`;

  function scoreText(item, side) {
    if (side.score === undefined) return "—";
    if (measurementOf(item).confidence && side.score < 1) return `wrong, ${(100 * (1 - side.score)).toFixed(0)} % sure`;
    return measurementOf(item).words[String(side.score)] ?? `${(100 * side.score).toFixed(0)} of 100`;
  }

  function changeText(item) {
    if (!Number.isFinite(item.change)) return "";
    const points = 100 * item.change;
    return Math.abs(points) < 0.05 ? "no change" : `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(1)} points`;
  }

  // ---- which items are shown, and in which order

  /** Change and outcome of every item against the base, or against the deployed model. */
  function compare() {
    for (const item of items) {
      const other = item[state.against];
      item.change = (item.candidate.score ?? NaN) - (other?.score ?? NaN);
      item.outcome = state.against === "base" || item.ofBase > SAME ? item.ofBase : outcomeOf(item.change);
    }
    const places = items.map((_, place) => place);
    const by = (value) => [...places].sort((one, other) => value(items[one]) - value(items[other]) || one - other);
    const last = (number) => (Number.isFinite(number) ? number : Infinity);
    orders = {
      loss: by((item) => last(item.change)),
      gain: by((item) => last(-item.change)),
      far: by((item) => last(-item.distance)),
      suite: places,
    };
  }

  function outcomeOf(change) {
    if (!Number.isFinite(change)) return FAILED;
    return Math.abs(change) < data.flip - 1e-9 ? SAME : change < 0 ? WORSE : BETTER;
  }

  function prepare() {
    items = data.items;
    for (const item of items) {
      item.ofBase = item.outcome;
      item.tags ??= [];
      item.choices ??= [];
      item.prompt ??= [];
      item.texts = [...item.prompt.map((turn) => turn[1]), ...item.choices];
      if (item.reference !== undefined) item.texts.push(item.reference);
      for (const side of sidesOf(item)) item.texts.push(...(side.answers ?? []).map((answer) => answer[0]));
    }
    compare();
  }

  const sidesOf = (item) => [item.base, item.candidate, item.incumbent].filter(Boolean);

  /** Whether each text contains the query; null without one. A text is searched once, though many items may have it. */
  function hits() {
    const query = state.query.trim().toLowerCase();
    if (!query) return null;
    lowered ??= data.texts.map((text) => text.toLowerCase());
    const found = new Uint8Array(lowered.length);
    lowered.forEach((text, place) => { if (text.includes(query)) found[place] = 1; });
    return { found, query };
  }

  const matches = (item, { found, query }) =>
    item.texts.some((text) => found[text]) || item.id.toLowerCase().includes(query);

  function filter() {
    const search = hits();
    const counts = new Array(NAMES.length).fill(0);
    shown = [];
    for (const place of orders[state.sort]) {
      const item = items[place];
      if (state.measurement !== "" && item.in !== Number(state.measurement)) continue;
      if (state.tag && !item.tags.includes(state.tag)) continue;
      if (search && !matches(item, search)) continue;
      counts[item.outcome]++;
      if (state.outcome === null || item.outcome === state.outcome) shown.push(place);
    }
    return counts;
  }

  function update() {
    const counts = filter();
    const total = counts.reduce((sum, count) => sum + count, 0);
    for (const button of byId("outcomes").children) {
      const outcome = button.dataset.outcome === "" ? null : Number(button.dataset.outcome);
      button.setAttribute("aria-pressed", String(outcome === state.outcome));
      button.lastElementChild.textContent = (outcome === null ? total : counts[outcome]).toLocaleString("en");
    }
    byId("count").textContent = `${shown.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} items`;
    byId("rows").style.height = `${shown.length * ROW}px`;
    select(0, false);
  }

  // ---- the list: only the rows in sight are in the document

  function draw() {
    const list = byId("list"), first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(shown.length, first + Math.ceil(list.clientHeight / ROW) + 8);
    const rows = [];
    for (let i = first; i < last; i++) rows.push(rowOf(i));
    byId("rows").replaceChildren(...rows);
    if (current >= first && current < last) list.setAttribute("aria-activedescendant", `row-${current}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function rowOf(i) {
    const item = items[shown[i]];
    const attributes = {
      role: "option", id: `row-${i}`, class: `row o-${item.outcome}`, "aria-selected": String(i === current),
      "aria-posinset": i + 1, "aria-setsize": shown.length,
    };
    const row = make(
      "div", attributes,
      make("div", { class: "first" },
        make("span", { class: "outcome" }, NAMES[item.outcome]), make("span", { class: "id", dir: "auto" }, item.id),
        make("span", { class: "change" }, changeText(item))),
      make("div", { class: "second", dir: "auto" }, headOf(item)),
    );
    row.style.top = `${i * ROW}px`;
    row.addEventListener("click", () => select(i, true));
    return row;
  }

  function select(i, byHand) {
    current = shown.length ? Math.min(Math.max(i, 0), shown.length - 1) : -1;
    const list = byId("list");
    if (current >= 0) {
      if (current * ROW < list.scrollTop) list.scrollTop = current * ROW;
      const below = (current + 1) * ROW - list.clientHeight;
      if (below > list.scrollTop) list.scrollTop = below;
    }
    draw();
    const item = items[shown[current]];
    byId("item").replaceChildren(...(item ? detail(item) : [make("p", {}, "No item has all of this.")]));
    if (byHand && item) history.replaceState(null, "", `#item=${keyOf(item)}`);
  }

  // ---- one item

  function detail(item) {
    const prompt = item.prompt.map(([role, text]) => block(`Prompt: ${role}`, textOf(text)));
    const parts = [heading(item), facts(item), ...prompt];
    if (item.choices.length) parts.push(optionTable(item));
    else if (item.reference !== undefined) parts.push(block("Reference", textOf(item.reference)));
    return [...parts, ...answers(item), gradeTable(item)].filter(Boolean);
  }

  function heading(item) {
    const link = make("a", { href: `#item=${keyOf(item)}` }, "link to this item");
    const other = item[state.against];
    const scores = `${other ? scoreText(item, other) : "—"} → ${scoreText(item, item.candidate)}`;
    return make("div", {},
      make("h3", {}, make("span", { class: `outcome o-${item.outcome}` }, NAMES[item.outcome]), " ",
        make("code", { dir: "auto" }, item.id), " ", make("small", {}, measurementOf(item).title)),
      make("p", {}, make("b", {}, scores), ` ${changeText(item)} · `, link));
  }

  function facts(item) {
    const rows = [
      [`${NAMES[item.outcome]}, because`, item.why],
      ["tags", item.tags.join(", ")],
      ["distance from the training data", item.distance === undefined ? "" : item.distance.toFixed(3)],
      ["line in the suite", item.line ? String(item.line) : ""],
      state.against === "base" ? ["deployed model", item.incumbent ? scoreText(item, item.incumbent) : ""]
        : ["base", scoreText(item, item.base)],
    ].filter(([, value]) => value);
    const lines = rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto" }, value)]);
    return lines.length ? make("dl", {}, ...lines) : null;
  }

  function block(label, ...content) {
    return make("div", {}, make("p", { class: "label" }, label), make("pre", { dir: "auto" }, ...content));
  }

  function answers(item) {
    const base = item.base.answers ?? [], candidate = item.candidate.answers ?? [], pairs = [];
    const most = Math.max(base.length, candidate.length), mark = byId("marks").checked;
    for (let i = 0; i < most; i++) {
      const number = most > 1 ? ` (answer ${i + 1})` : "", both = base[i] && candidate[i];
      const marked = mark && both ? wordDiff(textOf(base[i][0]), textOf(candidate[i][0])) : null;
      const sides = [["Base", base[i], 0, "del"], ["Candidate", candidate[i], 1, "ins"]].filter(([, answer]) => answer);
      pairs.push(make("div", { class: "pair" }, ...sides.map(([name, answer, side, tag]) =>
        block(name + number + (answer[1] ? `: ${answer[1]}` : ""), ...content(answer, marked && marked[side], tag)))));
    }
    for (const [place, note] of (item.incumbent && item.incumbent.answers) || []) {
      pairs.push(block(`Deployed model${note ? `: ${note}` : ""}`, textOf(place) || "(nothing)"));
    }
    return pairs;
  }

  function content([place], runs, tag) {
    const text = textOf(place);
    if (!text) return ["(nothing)"];
    return runs ? runs.map((run) => (run.same ? run.text : make(tag, {}, run.text))) : [text];
  }

  function optionTable(item) {
    const sides = sidesOf(item), best = sides.map((side) => highest(side.options ?? []));
    const cell = (side, k, i) => make("td", { class: "n" }, optionText(side, i), best[k] === i ? " ◀ chosen" : "");
    const rows = item.choices.map((choice, i) => make("tr", {},
      make("td", { dir: "auto" }, textOf(choice), choice === item.reference ? make("b", {}, " ✓ right") : null),
      ...sides.map((side, k) => cell(side, k, i))));
    return table("Options", ["option", "base", "candidate", "deployed model"].slice(0, 1 + sides.length), rows);
  }

  const atLeast = (value) => value ?? -Infinity; // null is a probability of zero
  const highest = (values) =>
    values.reduce((best, value, i) => (atLeast(value) > atLeast(values[best]) ? i : best), values.length ? 0 : -1);

  function optionText(side, i) {
    const value = (side.options ?? [])[i];
    if (side.likelihoods) return value === null || value === undefined ? "—" : value.toFixed(2);
    return side.options ? `${(100 * Math.exp(value ?? -Infinity)).toFixed(1)} %` : "—";
  }

  function gradeTable(item) {
    const grades = [item.base.grades ?? {}, item.candidate.grades ?? {}];
    const names = [...new Set(grades.flatMap(Object.keys))];
    if (!names.length) return null;
    const text = (value) => (Number.isFinite(value) ? `${(100 * value).toFixed(0)} %` : "—");
    return table("The judge's grades", ["criterion", "base", "candidate"],
      names.map((name) => make("tr", {},
        make("td", {}, name), ...grades.map((of) => make("td", { class: "n" }, text(of[name]))))));
  }

  function table(caption, header, rows) {
    const names = header.map((name) => make("th", { scope: "col" }, name));
    return make("table", {}, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...names)), make("tbody", {}, ...rows));
  }

  // ---- what the reader does

  function controls() {
    const outcomes = [["", "all"], ...NAMES.map((name, i) => [i, name])];
    byId("outcomes").replaceChildren(...outcomes.map(([outcome, name]) => {
      const button = make("button", { type: "button", "data-outcome": outcome }, `${name} `, make("span", {}));
      button.addEventListener("click", () => { state.outcome = outcome === "" ? null : outcome; update(); });
      return button;
    }));
    options("measurement", "all", data.measurements.map((m, i) => [String(i), m.title]));
    tagOptions();
    byId("against").value = state.against;
    byId("against").parentElement.hidden = !items.some((item) => item.incumbent);
    if (!items.some((item) => item.distance !== undefined)) byId("sort").querySelector("[value=far]").remove();
    for (const id of ["measurement", "tag", "sort", "against"]) {
      byId(id).addEventListener("change", () => {
        state[id] = byId(id).value;
        if (id === "measurement") tagOptions();
        if (id === "against") compare();
        update();
      });
    }
    byId("query").addEventListener("input", () => { state.query = byId("query").value; update(); });
    byId("marks").addEventListener("change", () => select(current, false));
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("list").addEventListener("scroll", draw, { passive: true });
    addEventListener("resize", draw);
    addEventListener("hashchange", follow);
    document.addEventListener("keydown", press);
  }

  /** Offer the tags and slices of the measurement that is chosen, and let go of one that it has not. */
  function tagOptions() {
    const inside = items.filter((item) => state.measurement === "" || item.in === Number(state.measurement));
    const { compare: order } = new Intl.Collator("en", { numeric: true });
    const tags = [...new Set(inside.flatMap((item) => item.tags))].sort(order);
    if (!tags.includes(state.tag)) state.tag = "";
    options("tag", "all", tags.map((tag) => [tag, tag]));
    byId("tag").value = state.tag;
    byId("tag").parentElement.hidden = !tags.length;
  }

  function options(id, all, entries) {
    byId(id).replaceChildren(...[["", all], ...entries].map(([value, text]) => make("option", { value }, text)));
  }

  function press(event) {
    const typing = event.target.closest("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && typing) {
      event.preventDefault(); // or the browser would empty the field, and say so to nobody
      byId("list").focus();
      return;
    }
    const inList = event.target === byId("list");
    if (typing || !(inList || byId("shortcuts").checked)) return;
    const moves = inList ? { ...STEPS, ...STEPS_IN_LIST } : STEPS;
    if (Object.hasOwn(moves, event.key)) select(current + moves[event.key], true);
    else if (event.key === "/") byId("query").focus();
    else if (event.key === "o" || (inList && event.key === "Enter")) toggle();
    else return;
    event.preventDefault();
  }

  /** From the list to the item, and back. */
  function toggle() {
    const item = byId("item"), target = document.activeElement === item ? byId("list") : item;
    target.focus({ preventScroll: true });
    target.scrollIntoView({ block: "nearest" });
  }

  /** Show the item that the address names, whatever is filtered; say so if this report has none of that name. */
  function follow() {
    const wanted = location.hash.startsWith("#item=") ? location.hash.slice(6) : "";
    const place = wanted ? items.findIndex((item) => keyOf(item) === wanted) : -1;
    const unknown = wanted !== "" && place < 0;
    byId("answers-problem").textContent =
      unknown ? `The link names an item that this page does not have: ${named(wanted)}` : "";
    if (unknown) {
      current = -1;
      draw();
      byId("item").replaceChildren(make("p", {}, "Choose an item from the list."));
      byId("answers-problem").scrollIntoView();
    }
    if (place < 0) return false;
    if (!shown.includes(place)) {
      Object.assign(state, { outcome: null, measurement: "", tag: "", query: "" });
      for (const id of ["measurement", "query"]) byId(id).value = "";
      tagOptions();
      update();
    }
    select(shown.indexOf(place), false);
    byId("answers").scrollIntoView();
    return true;
  }

  /** The name in an address, as its reader wrote it where that can be told. */
  function named(key) {
    try {
      return decodeURIComponent(key).slice(0, 200);
    } catch {
      return key.slice(0, 200);
    }
  }

  /** At first: what got worse in the measurement that the verdict is about, if something did. */
  function first() {
    const isWorse = (item) => item.outcome === WORSE;
    const about = items.filter((item) => item.in === data.about);
    if (about.some(isWorse)) state.measurement = byId("measurement").value = String(data.about);
    tagOptions();
    if (items.some(isWorse)) state.outcome = WORSE;
  }

  async function start() {
    try {
      data = await unpack(byId("answers-data").textContent.trim());
    } catch (error) {
      byId("answers-problem").textContent =
        `This browser cannot unpack the answers (${error.name}): the worst examples are below.`;
      return;
    }
    if (data.byDeployed) state.against = "incumbent";
    prepare();
    controls();
    document.documentElement.classList.add("browsable");
    byId("answers").hidden = false;
    first();
    update();
    follow();
    document.documentElement.dataset.ready = String(Math.round(performance.now())); // milliseconds, for tests
  }

  // Paper has no folds: what is folded is opened for it.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const fold of closed) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of closed) fold.open = false; });

  start();
})();
