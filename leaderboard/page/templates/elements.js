// Elements from names and texts. Texts become text nodes: nothing from a record is ever read as markup.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Where there is room for a few columns only, a few are shown at first.
const onPhone = window.matchMedia("(max-width: 40rem)").matches;

function byId(id) {
  return document.getElementById(id);
}

// A label with a checkbox; `change` is called with its new state.
function checkbox(text, checked, change, attributes = {}) {
  const input = element("input", { type: "checkbox", onchange: () => change(input.checked), ...attributes });
  input.checked = checked;
  return element("label", {}, input, text);
}

// Text for plotly, which reads a few tags and entities in names and labels.
function plotText(text) {
  return text.replace(/[&<>]/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[mark]);
}
