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

// Each example sets several conditions at once.
function makeExamples(examples) {
  if (!examples.length) return [];
  const buttons = examples.map((example) => {
    const button = make('button', { type: 'button', textContent: example.title });
    button.addEventListener('click', () => {
      props.value = { ...props.value, values: { ...props.value.values, ...example.conditions } };
      trigger('input');
      draw();
    });
    return button;
  });
  const box = make('div', { className: 'field examples' }, make('span', { textContent: 'Try' }));
  box.append(make('div', { className: 'chips' }, ...buttons));
  return [box];
}

const isTyping = () => form.contains(document.activeElement) && document.activeElement.type === 'number';
const isSameFields = (a, b) => JSON.stringify(a.fields) === JSON.stringify(b.fields);

let shown = '';
function draw() {
  const message = props.value && props.value.fields ? props.value : { fields: [], values: {} };
  const current = JSON.stringify(message);
  // A number that is being typed must keep its cursor.
  if (current === shown || (isTyping() && shown && isSameFields(message, JSON.parse(shown)))) return;
  shown = current;
  form.replaceChildren(...message.fields.map(makeField), ...makeExamples(message.examples || []));
}

watch('value', draw);
draw();
