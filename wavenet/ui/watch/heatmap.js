// Heat maps over layers and steps, in the colours of the other plots (viridis).
const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];

function colour(share) {
  const position = share * (VIRIDIS.length - 1);
  const n = Math.min(VIRIDIS.length - 2, Math.floor(position));
  return VIRIDIS[n].map((low, c) => low + (position - n) * (VIRIDIS[n + 1][c] - low));
}

// Layer 1 is the bottom row.
function paint(canvas, values, rows, count) {
  canvas.width = count;
  canvas.height = rows;
  const context = canvas.getContext('2d');
  const image = context.createImageData(count, rows);
  values.forEach((value, n) => {
    const row = rows - 1 - Math.floor(n / count);
    image.data.set([...colour(value / 255), 255], 4 * (row * count + (n % count)));
  });
  context.putImageData(image, 0, 0);
}

const rowName = (row, { layersPerRow, dilations }) => {
  const [from, to] = [row * layersPerRow + 1, Math.min((row + 1) * layersPerRow, dilations.length)];
  return from === to ? `layer ${from} (dilation ${dilations[from - 1].toLocaleString('en')})`
    : `layers ${from}–${to}`;
};

// Labels of rows: the last, and the first of each dilation cycle, if there is space.
function labelRows(box, layers, rows, height) {
  const labels = [];
  let previous = Infinity; // position of the label above
  for (let row = rows - 1; row >= 0; row -= 1) {
    const isMarked = row === rows - 1 || row === 0
      || layers.dilations[row * layers.layersPerRow] < layers.dilations[row * layers.layersPerRow - 1];
    const position = (row + 0.5) / rows * height;
    if (isMarked && (previous - position >= 14) && (row === 0 || position >= 14 || rows === 1)) {
      const label = document.createElement('span');
      label.textContent = row === rows - 1 ? layers.dilations.length : row * layers.layersPerRow + 1;
      label.style.bottom = `${position}px`;
      labels.push(label);
      previous = position;
    }
  }
  box.replaceChildren(...labels);
}

// Draws a map with its scale; `times` is the text of its time span.
function buildMap(figure, name, layers, count, times) {
  const values = layers[name];
  const rows = values.length / count;
  const canvas = figure.querySelector('canvas');
  const height = Math.max(96, Math.min(216, rows * 6));
  canvas.style.height = `${height}px`;
  paint(canvas, values, rows, count);
  canvas.setAttribute('aria-label', `${name === 'gates' ? 'Mean magnitude of the gated outputs'
    : 'RMS of the skip connections'} of ${layers.dilations.length} layers over ${count} steps`);
  labelRows(figure.querySelector('.layers'), layers, rows, height);
  const parts = ['0', null, layers[`${name}Max`].toPrecision(2), times].map((text) => {
    const made = document.createElement(text === null ? 'i' : 'span');
    if (text !== null) made.textContent = text;
    return made;
  });
  parts[1].style.background = `linear-gradient(90deg, ${VIRIDIS.map((c) => `rgb(${c})`).join()})`;
  figure.querySelector('.scale').replaceChildren(...parts);
}

// Moves the cursor to a step and describes the highest and the lowest row at that step.
function moveMapCursor(figure, name, layers, count, step) {
  const values = layers[name];
  const rows = values.length / count;
  const column = Array.from({ length: rows }, (_, row) => values[row * count + step]);
  const cursor = figure.querySelector('.cursor');
  cursor.style.left = `${100 * step / count}%`;
  cursor.style.width = `${100 / count}%`;
  const describeRow = (row) => `${rowName(row, layers)} ${(column[row] / 255 * layers[`${name}Max`]).toPrecision(2)}`;
  const highest = column.indexOf(Math.max(...column));
  const lowest = column.indexOf(Math.min(...column));
  figure.querySelector('.now').textContent = `Highest: ${describeRow(highest)}. Lowest: ${describeRow(lowest)}.`;
}
