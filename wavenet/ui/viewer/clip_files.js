// Files of what the viewer shows: one PNG of all visible panels, and their values as .npz. The page
// loads it before viewer.js, which calls `window.clipFiles`.
window.clipFiles = (() => {
  const GAP = 6; // px between panels

  function save(blob, name) {
    const link = document.createElement('a');
    link.download = name;
    link.href = URL.createObjectURL(blob);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  // Writes the names of the curves of a panel after its caption, each after a line of its colour.
  function drawLegend(drawing, { spec, caption }, colours, top, line) {
    if (spec.kind !== 'line' || spec.rows < 2) return;
    let left = GAP + drawing.measureText(caption).width + line;
    spec.names.forEach((name, n) => {
      drawing.fillStyle = colours.lines[n];
      drawing.fillRect(left, top + 0.45 * line, line, line / 9);
      drawing.fillStyle = colours.text;
      drawing.fillText(name, left + 1.3 * line, top + 0.75 * line);
      left += drawing.measureText(name).width + 2.3 * line;
    });
  }

  // `panels` have a plot and a caption; `colours` has lines, text and background.
  function savePng(name, panels, colours) {
    const line = 18 * devicePixelRatio;
    const canvases = panels.map(({ plot }) => plot.ctx.canvas);
    const picture = document.createElement('canvas');
    picture.width = Math.max(...canvases.map((canvas) => canvas.width));
    picture.height = canvases.reduce((sum, canvas) => sum + canvas.height + line + GAP, 2 * line);
    const drawing = picture.getContext('2d');
    drawing.fillStyle = colours.background;
    drawing.fillRect(0, 0, picture.width, picture.height);
    drawing.fillStyle = colours.text;
    drawing.font = `${13 * devicePixelRatio}px system-ui, sans-serif`;
    drawing.fillText(name, GAP, line);
    let top = 2 * line;
    canvases.forEach((canvas, n) => {
      drawing.fillText(panels[n].caption, GAP, top + 0.75 * line);
      drawLegend(drawing, panels[n], colours, top, line);
      drawing.drawImage(canvas, 0, top + line);
      top += canvas.height + line + GAP;
    });
    picture.toBlob((blob) => save(blob, `${name}.png`), 'image/png');
  }

  const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
    let c = n;
    for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    return c;
  });

  function crc32(bytes) {
    let c = 0xffffffff;
    for (const byte of bytes) c = CRC_TABLE[(c ^ byte) & 255] ^ (c >>> 8);
    return (c ^ 0xffffffff) >>> 0;
  }

  function join(parts) {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) { bytes.set(part, offset); offset += part.length; }
    return bytes;
  }

  // Little-endian integers; each item is [number of bytes, value].
  const pack = (...items) => Uint8Array.from(items.flatMap(([size, value]) => (
    Array.from({ length: size }, (_, k) => Math.floor(value / 256 ** k) & 255))));

  const TYPES = [[Float32Array, '<f4'], [Int32Array, '<i4']];

  // NPY 1.0 of {data, shape}; texts become arrays of Unicode strings.
  function toNpy({ data, shape }) {
    let type = TYPES.find(([kind]) => data instanceof kind)?.[1];
    let values = data;
    if (!type) {
      const size = Math.max(1, ...data.map((text) => text.length));
      values = Uint32Array.from(data.flatMap((text) => Array.from({ length: size }, (_, k) => text.charCodeAt(k) || 0)));
      type = `<U${size}`;
    }
    const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
    const header = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
    const padded = `${header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11)}\n`;
    const start = [0x93, ...Array.from('NUMPY', (c) => c.charCodeAt(0)), 1, 0];
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return join([Uint8Array.from(start), pack([2, padded.length]), new TextEncoder().encode(padded), bytes]);
  }

  // ZIP without compression.
  function toZip(files) {
    const [locals, centrals] = [[], []];
    let offset = 0;
    for (const [name, bytes] of Object.entries(files)) {
      const file = new TextEncoder().encode(name);
      const facts = [[2, 20], [2, 0], [2, 0], [2, 0], [2, 33], [4, crc32(bytes)], [4, bytes.length],
        [4, bytes.length], [2, file.length], [2, 0]];
      const local = join([pack([4, 0x04034b50], ...facts), file, bytes]);
      centrals.push(pack([4, 0x02014b50], [2, 20], ...facts, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), file);
      locals.push(local);
      offset += local.length;
    }
    const count = locals.length;
    const central = join(centrals);
    const end = pack([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, central.length], [4, offset], [2, 0]);
    return join([...locals, central, end]);
  }

  // Values, times and row names of the visible panels; the samples if the waveform is visible.
  function saveNpz(name, panels, audio) {
    const arrays = {};
    for (const { spec, values } of panels) {
      const key = spec.title.toLowerCase().replace(/[^a-z0-9]+/g, '_').replace(/_$/, '');
      if (spec.kind === 'waveform') {
        if (!audio) continue;
        arrays[key] = { data: audio.getChannelData(0), shape: [audio.length] };
        arrays.sample_rate = { data: Int32Array.of(audio.sampleRate), shape: [1] };
        continue;
      }
      const columns = values.length / spec.rows;
      arrays[key] = { data: values, shape: spec.rows === 1 ? [columns] : [spec.rows, columns] };
      const seconds = Float32Array.from({ length: columns }, (_, k) => spec.start + (k + 0.5) * spec.step);
      arrays[`${key}_seconds`] = { data: seconds, shape: [columns] };
      if (spec.names.length) arrays[`${key}_rows`] = { data: spec.names, shape: [spec.rows] };
    }
    const files = Object.fromEntries(Object.entries(arrays).map(([key, array]) => [`${key}.npy`, toNpy(array)]));
    save(new Blob([toZip(files)]), `${name}.npz`);
  }

  return { savePng, saveNpz };
})();
