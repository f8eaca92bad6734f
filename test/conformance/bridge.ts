import { createInterface } from 'node:readline';
import { closeFamilies, commandNamed } from './families.ts';

/*
 * The program that the public conformance suite drives, one process for a test: it says READY, then takes one JSON
 * object a line, `{ id, command, params }`, and answers each in turn, `{ id, success, result }` or
 * `{ id, success, error }`. Bytes are hex, times are epoch seconds. The end of its input ends it.
 */

/** Characters of the longest line: the suite's largest Resource as hex. */
const longestLine = 256 * 1024 * 1024;

/** ms that what the commands left running has to end. */
const patience = 3_000;

interface Request {
  readonly id: string;
  readonly command: string;
  readonly params: Readonly<Record<string, unknown>>;
}

// Stdout is the wire: what anything else would print belongs to stderr.
const answer = process.stdout.write.bind(process.stdout);
console.log = console.info = console.debug = console.warn = console.error;
process.on('unhandledRejection', error => console.error('nobody waited for', error));

// A command that is still at work when the input ends is not waited for.
process.stdin.once('end', () => setTimeout(() => process.exit(0), patience).unref());

answer('READY\n');
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() !== '') answer(`${JSON.stringify(await respond(line))}\n`);
}
await Promise.race([closeFamilies(), new Promise(resolve => setTimeout(resolve, patience))]);
process.exit(0);

async function respond(line: string): Promise<object> {
  let id = 'unknown';
  try {
    const request = decode(line);
    id = request.id;
    const command = await commandNamed(request.command);
    if (command === undefined) throw new Error(`Unknown command: ${request.command}`);
    return { id, success: true, result: await command(request.params) };
  } catch (error) {
    if (process.env.KOS_BRIDGE_TRACE) console.error(error);
    return { id, success: false, error: inWords(error) };
  }
}

function decode(line: string): Request {
  if (line.length > longestLine) throw new Error('the line is too long');
  const request: unknown = JSON.parse(line);
  if (typeof request !== 'object' || request === null) throw new Error('a request is a JSON object');
  const { id, command, params } = request as Record<string, unknown>;
  if (typeof command !== 'string') throw new Error('a request names a command');
  if (params !== undefined && (typeof params !== 'object' || params === null || Array.isArray(params)))
    throw new Error('params are a JSON object');
  return { id: String(id), command, params: { ...params } };
}

/** The code of an error of the stack, the name of any other, and what it says. */
function inWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'code' in error ? String(error.code) : error.name;
  return `${code}: ${error.message}`;
}
