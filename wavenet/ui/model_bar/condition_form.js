// One field for each condition of the model. `element`, `props`, `watch` and `trigger` come from
// gr.HTML; condition_form.py builds the message {fields, values}.
const form = element.querySelector('.form');
const ANY = 'any'; // shown for an omitted optional label

function setValue(name, value) {
  props.value = { ...props.value, values: { ...props.value.values, [name]: value } };
  trigger('input');
}

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function options({ options: values, isOptional }) {
  const known = values.map((value) => [value, value]);
  return isOptional ? [['', ANY], ...known] : known;
}

function makeChips(field, current) {
  const box = make('div', { className: 'chips' });
  box.setAttribute('role', 'radiogroup');
  box.setAttribute('aria-label', field.title);
  for (const [value, text] of options(field)) {
    const input = make('input', { type: 'radio', name: `condition-${field.name}`, value, checked: value === current });
    input.addEventListener('change', () => setValue(field.name, value));
    box.append(make('label', {}, input, make('span', { textContent: text })));
  }
  return box;
}

function makeSelect(field, current) {
  const list = options(field).map(([value, text]) => make('option', { value, textContent: text, selected: value === current }));
  const select = make('select', {}, ...list);
  select.addEventListener('change', () => setValue(field.name, select.value));
  return select;
}

function makeNumber(field, current) {
  const input = make('input', { type: 'number', step: 'any', min: field.low, max: field.high, placeholder: field.placeholder, value: current });
  input.addEventListener('input', () => setValue(field.name, input.value === '' ? '' : input.valueAsNumber));
  return input;
}

function makeField(field) {
  const current = props.value.values[field.name];
  const title = make('span', { textContent: field.title });
  const isChips = field.options && field.isChips;
  const control = isChips ? makeChips(field, current)
    : field.options ? makeSelect(field, current) : makeNumber(field, current);
  const box = make(isChips ? 'div' : 'label', { className: 'field' }, title, control);
  box.dataset.condition = field.name;
  return box;
}

let shown = '';
function draw() {
  const message = props.value && props.value.fields ? props.value : { fields: [], values: {} };
  const current = JSON.stringify(message);
  const own = document.activeElement && form.contains(document.activeElement);
  if (current === shown || (own && JSON.stringify(message.fields) === JSON.stringify(JSON.parse(shown || '{}').fields))) return;
  shown = current;
  form.replaceChildren(...message.fields.map(makeField));
}

watch('value', draw);
draw();
