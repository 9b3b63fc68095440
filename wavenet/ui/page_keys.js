// ? lists the keyboard shortcuts of the page.
document.addEventListener('keydown', (event) => {
  if (event.key !== '?' || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, textarea, [contenteditable]')) return;
  document.getElementById('shortcuts-dialog')?.showModal();
  event.preventDefault();
});
// Whether the user has pressed anything on this page; `navigator.userActivation` survives a reload.
for (const kind of ['pointerdown', 'keydown']) {
  document.addEventListener(kind, () => { window.hasBeenUsed = true; }, { capture: true });
}
