import { parseArgs } from 'node:util';
import { formatMistakes } from '../config.ts';
import { isGatewayError } from '../lib/errors.ts';
import type { Command } from './call.ts';
import { commands } from './commands.ts';

const options = {
  json: { type: 'boolean' },
  url: { type: 'string' },
  config: { type: 'string' },
  data: { type: 'string' },
  follow: { type: 'boolean' },
  actor: { type: 'string' },
  action: { type: 'string' },
  limit: { type: 'string' },
  after: { type: 'string' },
  scopes: { type: 'string' },
  role: { type: 'string' },
  rotate: { type: 'boolean' },
  grace: { type: 'string' },
  rooms: { type: 'string' },
  identity: { type: 'string' },
  expires: { type: 'string' },
  entries: { type: 'boolean' },
  force: { type: 'boolean' },
  interface: { type: 'string' },
  lxmf: { type: 'string' },
  via: { type: 'string' },
  hops: { type: 'string' },
  aspect: { type: 'string' },
  node: { type: 'boolean' },
  count: { type: 'string' },
  size: { type: 'string' },
  reason: { type: 'string' },
  recipient: { type: 'string' },
  'passphrase-file': { type: 'string' },
  'no-blobs': { type: 'boolean' },
  resend: { type: 'boolean' },
  resume: { type: 'boolean' },
  settle: { type: 'boolean' },
  check: { type: 'boolean' },
  events: { type: 'string' },
  types: { type: 'string' },
  peers: { type: 'string' },
  since: { type: 'string' },
  open: { type: 'boolean' },
  agreed: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** The control program: exit 0 good, 1 failed, 2 wrong use. */
export async function main({ configFile }: { readonly configFile: string | undefined }): Promise<void> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 2;
    return;
  }
  const { values, positionals } = parsed;
  const [name, second] = positionals;
  const command = commands.get(`${name} ${second}`) ?? commands.get(name ?? '');
  if (values.help === true || command === undefined) {
    const known = name === undefined || values.help === true;
    (known ? process.stdout : process.stderr).write(
      known ? usage() : `kosctl ${name}: no such command\n\n${usage()}`,
    );
    process.exitCode = known && (name !== undefined || values.help === true) ? 0 : 2;
    return;
  }
  // A reader that has seen enough, such as head, is no failure worth a stack.
  process.stdout.on('error', () => process.exit(1));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stop.abort());
  }
  try {
    process.exitCode = await command.run({
      words: positionals.slice(commands.has(`${name} ${second}`) ? 2 : 1),
      json: values.json === true,
      options: values,
      config: configFile,
      environment: process.env,
      signal: stop.signal,
      out: text => write(`${text}\n`),
    });
  } catch (error) {
    if (stop.signal.aborted) {
      return;
    }
    if (isGatewayError(error)) {
      process.stderr.write(`${error.code === 'config/invalid' ? formatMistakes(error) : error.message}\n`);
      process.exitCode = error.code === 'request/invalid' ? 2 : 1;
      return;
    }
    throw error;
  }
}

/** Resolves when the reader has it, and never where the reader has gone away: that ends the program. */
function write(text: string): Promise<void> {
  return new Promise(resolve => {
    process.stdout.write(text, error => {
      if (!error) {
        resolve();
      }
    });
  });
}

function parse() {
  return parseArgs({ options, allowPositionals: true });
}

function usage(): string {
  const rows = [...commands.entries()].map(([name, command]: [string, Command]) => [
    `${name} ${command.words}`.trim(),
    command.does,
  ]);
  const width = Math.max(...rows.map(([left]) => (left ?? '').length));
  return [
    'kosctl [--json] [--data DIR | --config FILE | --url URL] COMMAND',
    '',
    ...rows.map(([left, right]) => `  ${(left ?? '').padEnd(width)}  ${right}`),
    '',
    'Speaks to the gateway of the data folder over its control socket; with --url or KOS_URL to another,',
    'with the token in the file KOS_TOKEN_FILE names.',
    '',
  ].join('\n');
}
