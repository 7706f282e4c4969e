// The records as the page knows them, and how their figures are written.

const data = JSON.parse(document.getElementById("data").textContent);
const { cells, quantities, sets, pool } = data;
const NO_VALUE = "–";
const INTERVAL_DIGITS = 2;
const SIGNIFICANT_DIGITS = 4;
const MOST_DECIMALS = 6;

cells.forEach((cell, place) => {
  cell.key = cell.id ?? `missing-${place}`;
});

const cellOf = new Map(cells.map((cell) => [cell.key, cell]));
const placeOf = new Map(quantities.map((quantity, place) => [quantity.name, place]));

function valueOf(cell, place) {
  return cell.values[place] ?? null;
}

function intervalOf(cell, place) {
  const low = cell.low?.[place] ?? null;
  return low === null ? null : [low, cell.high[place]];
}

function reasonOf(cell, place) {
  return (cell.reasons === undefined ? {} : pool[cell.reasons])[place];
}

function decimals(scale, digits) {
  return scale > 0 ? Math.max(0, digits - 1 - Math.floor(Math.log10(scale))) : 0;
}

// Ties go to the even digit, as in the other boards; what rounds to zero has no sign.
const formats = new Map();

function fixed(value, places) {
  if (!formats.has(places)) {
    const digits = { minimumFractionDigits: places, maximumFractionDigits: places };
    formats.set(places, new Intl.NumberFormat("en", { ...digits, useGrouping: false, roundingMode: "halfEven" }));
  }
  const text = formats.get(places).format(value);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

function number(value) {
  if (value === 0) return "0";
  const places = decimals(Math.abs(value), SIGNIFICANT_DIGITS);
  return places > SIGNIFICANT_DIGITS + MOST_DECIMALS ? value.toExponential(1) : fixed(value, places);
}

const BYTES = ["B", "kB", "MB", "GB", "TB"];

function bytes(value) {
  let unit = 0;
  while (value >= 999.5 && unit < BYTES.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value.toFixed(0) : Number(value.toPrecision(3))} ${BYTES[unit]}`;
}

function percent(value) {
  const shown = 100 * value;
  return shown >= 10 || shown === 0 ? `${shown.toFixed(0)} %` : `${Number(shown.toPrecision(2))} %`;
}

// As many digits as the interval warrants: `value ± half the interval's width`.
function figure(cell, place) {
  const value = valueOf(cell, place);
  if (value === null) return NO_VALUE;
  const { unit } = quantities[place];
  if (unit === "%") return percent(value);
  if (unit === "bytes") return bytes(value);
  if (unit === "bits") return String(Number(value.toPrecision(3)));
  const interval = intervalOf(cell, place);
  const half = interval ? (interval[1] - interval[0]) / 2 : 0;
  const places = decimals(half, INTERVAL_DIGITS);
  if (half <= 0 || places > MOST_DECIMALS) return number(value);
  return `${fixed(value, places)} ± ${fixed(half, places)}`;
}

function heading(quantity) {
  const unit = ["1", "%", "bytes"].includes(quantity.unit) || quantity.unit === quantity.title ? "" : `\u00a0(${quantity.unit})`;
  const arrow = { 1: "\u00a0↑", 0: "", "-1": "\u00a0↓" }[quantity.better];
  return `${quantity.title}${unit}${arrow}`;
}

function nameOf(cell) {
  return `${cell.sae} on ${cell.compressor}`;
}

// What was measured first, facts about the state and the SAE last.
const FACTS = ["state", "SAE"];

function quantityGroups() {
  const groups = [...new Set(quantities.map((quantity) => quantity.group))];
  return [...groups.filter((group) => !FACTS.includes(group)), ...FACTS.filter((group) => groups.includes(group))];
}
