// gr.Audio refuses files whose type does not begin with "audio/". The sound of videos is read, too, and
// browsers know no type of some formats, such as CAF: before Gradio sees these files, they get one.
const AUDIO_INPUT = 'input[type="file"][accept*="audio/*"]';

function asAudio(files) {
  const transfer = new DataTransfer();
  for (const file of files) {
    const suffix = file.name.slice(file.name.lastIndexOf('.')).toLowerCase();
    const isRenamed = !file.type.startsWith('audio/') && AUDIO_SUFFIXES.includes(suffix);
    transfer.items.add(isRenamed ? new File([file], file.name, { type: 'audio/x-any' }) : file);
  }
  return [...transfer.files].some((file, n) => file.type !== files[n].type) ? transfer : null;
}

// The dialog for files offers those of `accept`.
document.addEventListener('click', (event) => {
  if (event.target.matches?.(AUDIO_INPUT)) event.target.accept = ['audio/*', ...AUDIO_SUFFIXES].join(', ');
}, true);

document.addEventListener('change', (event) => {
  const transfer = event.target.matches?.(AUDIO_INPUT) && asAudio(event.target.files);
  if (transfer) event.target.files = transfer.files;
}, true);

document.addEventListener('drop', (event) => {
  const zone = event.target.closest?.('button');
  const transfer = event.dataTransfer && zone?.querySelector(AUDIO_INPUT) && asAudio(event.dataTransfer.files);
  if (!transfer) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  event.target.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }));
}, true);
