"use strict";
// What the pages of the report do: tables that sort by a click on the head of a column, the filters of the table of
// rows, whose view is kept in the address, and buttons that copy a command. Without this script everything is there.

const collator = new Intl.Collator("en", { numeric: true });

// The order of two cells: numbers as numbers, text as people count, and what is blank last in either direction.
function compare(a, b, descending) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" ? a - b : collator.compare(a, b);
  return descending ? -order : order;
}

// What a cell is sorted by: its number, its text, or null where it is blank.
function sortKey(cell, kind) {
  if (kind === "number") return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  return cell.textContent.trim() || null;
}

function isDescending(head) {
  return head.getAttribute("aria-sort") === "descending";
}

// Sort the lines of a table by a column; without a head they get their first order back.
function sortBy(table, head, descending) {
  const body = table.tBodies[0];
  for (const other of table.tHead.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
  let lines = table.firstOrder;
  if (head) {
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const keys = new Map(lines.map((line) => [line, sortKey(line.cells[head.cellIndex], head.dataset.kind)]));
    lines = [...lines].sort((a, b) => compare(keys.get(a), keys.get(b), descending));
  }
  body.append(...lines);
}

// Make the heads of a table's columns buttons. Numbers begin with the largest.
function makeSortable(table, changed) {
  table.firstOrder = [...table.tBodies[0].rows];
  for (const head of table.tHead.querySelectorAll("th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const sorted = head.getAttribute("aria-sort") !== "none";
      sortBy(table, head, sorted ? !isDescending(head) : head.dataset.kind === "number");
      changed();
    });
  }
}

// The table of rows: its filters, and its view in the address, such as #rows&zoo=mmdet&sort=-box_AP_delta.
function makeView(table, form) {
  const lines = table.firstOrder.map((line) => ({ line, words: line.textContent.toLowerCase(), ...line.dataset }));
  const fields = ["q", "zoo", "verdict", "machine"].map((name) => form.elements.namedItem(name));
  const [find, zoo, verdict, machine] = fields;

  function filter() {
    const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of lines) {
      const fits =
        wanted.every((word) => item.words.includes(word)) &&
        (!zoo.value || item.zoo === zoo.value) &&
        (!verdict.value || item.verdicts.split(" ").includes(verdict.value)) &&
        (!machine.value || item.machine === machine.value);
      item.line.hidden = !fits;
      shown += fits;
    }
    form.querySelector("output").textContent = `${shown} of ${lines.length} lines`;
  }

  function remember() {
    const view = new URLSearchParams();
    for (const field of fields) if (field.value) view.set(field.name, field.value);
    const head = table.tHead.querySelector('[aria-sort="ascending"], [aria-sort="descending"]');
    if (head) view.set("sort", (isDescending(head) ? "-" : "") + head.dataset.key);
    const text = view.toString();
    history.replaceState(null, "", text ? `#rows&${text}` : "#rows");
  }

  function restore() {
    if (!location.hash.startsWith("#rows")) return;
    const view = new URLSearchParams(location.hash.slice("#rows".length));
    for (const field of fields) {
      const value = view.get(field.name) ?? "";
      const known = field.tagName === "INPUT" || [...field.options].some((option) => option.value === value);
      field.value = known ? value : "";
    }
    const sort = view.get("sort") ?? "";
    const heads = [...table.tHead.querySelectorAll("th")];
    sortBy(table, heads.find((head) => head.dataset.key === sort.replace(/^-/, "")), sort.startsWith("-"));
    filter();
    document.getElementById("rows").scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener("input", () => { filter(); remember(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { sortBy(table); filter(); remember(); }));
  window.addEventListener("hashchange", restore);
  filter();
  restore();
  return remember;
}

function makeCopyButton(button) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // not allowed to write there: one key is left to press
      button.textContent = "Selected";
    }
  });
}

for (const link of document.querySelectorAll("a[data-view]")) link.href = `${link.getAttribute("href")}&${link.dataset.view}`;
for (const table of document.querySelectorAll("table.sortable")) {
  let remember = () => {};
  makeSortable(table, () => remember());
  const form = table.id === "table" && document.getElementById("filters");
  if (form) remember = makeView(table, form);
}
for (const button of document.querySelectorAll("button.copy")) makeCopyButton(button);
