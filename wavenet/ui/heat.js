// Heat maps over layers and steps, in the colours of the other pictures (viridis).
const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];

function colour(share) {
  const place = share * (VIRIDIS.length - 1);
  const n = Math.min(VIRIDIS.length - 2, Math.floor(place));
  return VIRIDIS[n].map((low, c) => low + (place - n) * (VIRIDIS[n + 1][c] - low));
}

// Rows from below, layer 1 at the foot, as sound climbs through them.
function paint(canvas, values, rows, count) {
  canvas.width = count;
  canvas.height = rows;
  const pen = canvas.getContext('2d');
  const image = pen.createImageData(count, rows);
  values.forEach((value, n) => {
    const row = rows - 1 - Math.floor(n / count);
    image.data.set([...colour(value / 255), 255], 4 * (row * count + (n % count)));
  });
  pen.putImageData(image, 0, 0);
}

const span = (row, { share, dilations }) => {
  const [from, to] = [row * share + 1, Math.min((row + 1) * share, dilations.length)];
  return from === to ? `layer ${from} (dilation ${dilations[from - 1].toLocaleString('en')})`
    : `layers ${from}–${to}`;
};

// Names of rows: where the dilations begin anew, and the last, as far as there is room.
function nameRows(box, layers, rows, height) {
  const names = [];
  let free = Infinity; // from the top: the place of the name above
  for (let row = rows - 1; row >= 0; row -= 1) {
    const isMarked = row === rows - 1 || row === 0
      || layers.dilations[row * layers.share] < layers.dilations[row * layers.share - 1];
    const place = (row + 0.5) / rows * height;
    if (isMarked && (free - place >= 14) && (row === 0 || place >= 14 || rows === 1)) {
      const name = document.createElement('span');
      name.textContent = row === rows - 1 ? layers.dilations.length : row * layers.share + 1;
      name.style.bottom = `${place}px`;
      names.push(name);
      free = place;
    }
  }
  box.replaceChildren(...names);
}

// A map with its scale; `times` says what it spans.
function buildMap(figure, name, layers, count, times) {
  const values = layers[name];
  const rows = values.length / count;
  const canvas = figure.querySelector('canvas');
  const height = Math.max(96, Math.min(216, rows * 6));
  canvas.style.height = `${height}px`;
  paint(canvas, values, rows, count);
  canvas.setAttribute('aria-label', `${name === 'gates' ? 'Mean size of the gated outputs'
    : 'Size of the skip contributions'} of ${layers.dilations.length} layers over ${count} steps`);
  nameRows(figure.querySelector('.layers'), layers, rows, height);
  const parts = ['0', null, layers[`${name}Max`].toPrecision(2), times].map((text) => {
    const made = document.createElement(text === null ? 'i' : 'span');
    if (text !== null) made.textContent = text;
    return made;
  });
  parts[1].style.background = `linear-gradient(90deg, ${VIRIDIS.map((c) => `rgb(${c})`).join()})`;
  figure.querySelector('.scale').replaceChildren(...parts);
}

// Moves the cursor to a step and says which layers are strongest and weakest there.
function pointMap(figure, name, layers, count, at) {
  const values = layers[name];
  const rows = values.length / count;
  const column = Array.from({ length: rows }, (_, row) => values[row * count + at]);
  const cursor = figure.querySelector('.cursor');
  cursor.style.left = `${100 * at / count}%`;
  cursor.style.width = `${100 / count}%`;
  const tell = (row) => `${span(row, layers)} ${(column[row] / 255 * layers[`${name}Max`]).toPrecision(2)}`;
  const strongest = column.indexOf(Math.max(...column));
  const weakest = column.indexOf(Math.min(...column));
  figure.querySelector('.now').textContent = `Most: ${tell(strongest)}. Least: ${tell(weakest)}.`;
}
