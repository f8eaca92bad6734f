/** Draws the gateway's OpenAPI document. Text only ever becomes text nodes. */

function element(name, attributes, ...children) {
  const node = Object.assign(document.createElement(name), attributes);
  node.append(...children);
  return node;
}

function table(rows) {
  const lines = rows.map(cells => element('tr', {}, ...cells.map(cell => element('td', {}, cell))));
  return element('table', {}, ...lines);
}

function drawParameters(parameters) {
  const rows = parameters.map(one => [
    element('code', {}, one.name),
    `${one.in}${one.required ? ', required' : ''}`,
    one.description ?? JSON.stringify(one.schema),
  ]);
  return rows.length === 0 ? '' : table(rows);
}

function drawSchema(schema) {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.split('/').at(-1);
    return element('p', {}, element('a', { href: `#${name}` }, name));
  }
  return element('pre', {}, JSON.stringify(schema, null, 2));
}

function schemaOf(content) {
  return Object.values(content ?? {})[0]?.schema;
}

function drawOperation(path, method, operation) {
  const responses = Object.entries(operation.responses).map(([status, response]) => [
    element('code', {}, status),
    response.description ?? 'an error, as application/problem+json',
  ]);
  const schemas = [
    ['Body', schemaOf(operation.requestBody?.content)],
    ...Object.entries(operation.responses).map(([status, one]) => [status, schemaOf(one.content)]),
  ].filter(([, schema]) => schema !== undefined);
  return element(
    'details',
    { id: operation.operationId },
    element(
      'summary',
      {},
      element('span', { className: 'method' }, method.toUpperCase()),
      element('code', {}, path),
      ` ${operation.summary}`,
    ),
    element('p', { className: 'quiet' }, operation.description ?? 'Needs no token.'),
    drawParameters(operation.parameters ?? []),
    table(responses),
    ...schemas.flatMap(([title, schema]) => [element('h4', {}, title), drawSchema(schema)]),
  );
}

async function draw() {
  const api = await (await fetch('/openapi.json')).json();
  document.getElementById('title').textContent = `${api.info.title} ${api.info.version}`;
  document.getElementById('about').textContent =
    `${api.info.description} Send "Authorization: Bearer <token>" with every call that needs one.`;
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  for (const { name } of api.tags) {
    const mine = operations.filter(({ operation }) => operation.tags.includes(name));
    document
      .getElementById('operations')
      .append(
        element('h2', {}, name),
        ...mine.map(one => drawOperation(one.path, one.method, one.operation)),
      );
  }
  for (const [name, schema] of Object.entries(api.components.schemas)) {
    document
      .getElementById('schemas')
      .append(
        element(
          'details',
          { id: name },
          element('summary', {}, element('code', {}, name)),
          drawSchema(schema),
        ),
      );
  }
}

/** What is said without being asked: one block for each channel of the AsyncAPI document. */
async function drawChannels() {
  const api = await (await fetch('/asyncapi.json')).json();
  const at = reference =>
    reference
      .slice(2)
      .split('/')
      .reduce((node, step) => node[step], api);
  const blocks = Object.entries(api.channels).map(([name, channel]) => {
    const said = Object.values(api.operations)
      .filter(operation => operation.channel.$ref === `#/channels/${name}`)
      .flatMap(({ action, messages }) =>
        messages.map(({ $ref }) => ({ by: action === 'send' ? 'hub' : 'client', ...at(at($ref).$ref) })),
      );
    return element(
      'details',
      { id: `channel-${name}` },
      element('summary', {}, element('code', {}, channel.address ?? name), ` ${channel.description}`),
      table(said.map(one => [one.by, element('code', {}, one.name), one.summary])),
      ...said.flatMap(one => [element('h4', {}, one.name), drawSchema(one.payload)]),
    );
  });
  document
    .getElementById('operations')
    .append(
      element('h2', {}, 'as it happens (', element('a', { href: '/asyncapi.json' }, '/asyncapi.json'), ')'),
      ...blocks,
    );
}

draw()
  .then(drawChannels)
  .catch(error => {
    document.getElementById('about').textContent = `The document cannot be read: ${error.message}`;
  });
