// Definitions: one hover, or one step with the keyboard, away from whatever has `data-definition`.

const tooltip = byId("tooltip");
const GAP = 6;

function showTooltip(target) {
  tooltip.textContent = target.dataset.definition;
  tooltip.hidden = false;
  const around = target.getBoundingClientRect();
  const { width, height } = tooltip.getBoundingClientRect();
  const left = Math.min(Math.max(GAP, around.left), window.innerWidth - width - GAP);
  const above = around.top - height - GAP;
  tooltip.style.left = `${Math.max(GAP, left)}px`;
  tooltip.style.top = `${above > GAP ? above : around.bottom + GAP}px`;
}

function hideTooltip() {
  tooltip.hidden = true;
}

for (const kind of ["mouseover", "focusin"]) {
  document.addEventListener(kind, (event) => {
    const target = event.target.closest?.("[data-definition]");
    if (target) showTooltip(target);
    else if (!tooltip.contains(event.target)) hideTooltip();
  });
}
document.addEventListener("focusout", hideTooltip);
document.addEventListener("scroll", hideTooltip, true);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTooltip();
});

// The definition for screen readers, which read descriptions and not hovers.
function describe(target, definition) {
  if (!definition) return;
  target.dataset.definition = definition;
  target.setAttribute("aria-description", definition);
}
