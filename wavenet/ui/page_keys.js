// Keys that work on the whole page: space plays the visible clip, ? lists all shortcuts.
document.addEventListener('keydown', (event) => {
  const isField = event.target.closest('input, textarea, select, button, summary, a, dialog, [contenteditable], [role="tab"], .viewer');
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '?' && !event.target.closest('input, textarea, [contenteditable]')) {
    document.getElementById('shortcuts-dialog')?.showModal();
    event.preventDefault();
  } else if (event.key === ' ' && !isField) {
    const buttons = [...document.querySelectorAll('.viewer:not([data-state="empty"]) [data-action="play"]')];
    const visible = buttons.find((button) => button.offsetParent !== null);
    if (visible) { visible.click(); event.preventDefault(); }
  }
});
