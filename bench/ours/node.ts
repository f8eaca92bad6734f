import { createInterface } from 'node:readline';
import { fromHex, toHex } from '../../src/lib/bytes.ts';
import { createCompressor } from '../../src/lib/bzip2/pool.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { createSignatureThreads } from '../../src/lib/signature-threads.ts';
import { AccessCode } from '../../src/mesh/reticulum/access-code.ts';
import { generateIdentity, type Identity, type PublicIdentity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import type { MeshStorage } from '../../src/mesh/storage.ts';
import { TcpClient } from '../../src/radio/tcp-client.ts';
import { TcpServer } from '../../src/radio/tcp-server.ts';
import type { Sample, Served, Task } from '../task.ts';

/** A node of ours for one measurement: Transport and Links over one TCP interface, no gateway, nothing on disk. */
export interface Node {
  readonly transport: Transport;
  readonly links: Links;
  readonly identity: Identity;
  readonly counters: Counters;
  /** What it listens on; 0 where it has dialled. */
  readonly port: number;
}

export interface NodeOptions {
  /** Whether it carries packets of others. Default false. */
  readonly forwards?: boolean;
}

/** Whom the measurement is with. */
export interface There {
  /** 16 B. */
  readonly hash: Uint8Array;
  readonly identity: PublicIdentity;
}

/** The access code of measurements that have one. */
export const network = { networkName: 'bench', passphrase: 'bench', size: 16 };

const nothingKept: MeshStorage = { load: () => [], save: async () => {}, remove: async () => {} };

/**
 * Does what the task on stdin asks, as the Python scripts of the reference do: one JSON line in, one out,
 * and it ends with its stdin. `serve` gives the hash of the destination it serves.
 */
export async function run(
  serve: (node: Node) => Uint8Array | Promise<Uint8Array>,
  measure: (node: Node, task: Task) => Promise<Sample>,
  options: NodeOptions = {},
): Promise<void> {
  const lines = createInterface(process.stdin);
  lines.once('close', () => process.exit(0));
  const { promise, resolve } = Promise.withResolvers<string>();
  lines.once('line', resolve);
  const task = JSON.parse(await promise) as Task;
  const node = await startNode(task, options);
  if (task.role === 'serve') {
    say({ port: node.port, destination: toHex(await serve(node)) } satisfies Served);
  } else {
    say(await measure(node, task));
  }
}

/** The destination the task is about, after a path request. */
export async function findThere(node: Node, task: Task): Promise<There> {
  const hash = fromHex(task.destination ?? '');
  await node.transport.requestPath(hash);
  const known = node.transport.recall(hash);
  if (known === undefined) {
    throw new Error('the node that serves has not announced itself');
  }
  return { hash, identity: known.identity };
}

async function startNode(task: Task, { forwards = false }: NodeOptions): Promise<Node> {
  const identity = generateIdentity(systemRandom);
  const counters = new Counters();
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters };
  const threads = createSignatureThreads();
  const transport = new Transport({ ...parts, storage: nothingKept, identity, forwards, threads });
  const links = new Links({
    ...parts,
    transport,
    budget: new IncomingBudget(),
    compressor: createCompressor(),
  });
  transport.useLinks(links);
  const server = new TcpServer({ name: 'tcp', host: '127.0.0.1', port: 0 }, parts);
  const iface =
    task.role === 'serve'
      ? server
      : new TcpClient({ name: 'tcp', host: '127.0.0.1', port: task.port ?? 0 }, parts);
  const up = Promise.withResolvers<void>();
  // As in the config of the reference beside.
  const ingress = { limited: false };
  const policy = { ingress, ...(task.accessCode === true && { accessCode: new AccessCode(network) }) };
  const running = transport.attach(iface, policy).service.run(up.resolve, new AbortController().signal);
  await Promise.race([up.promise, running]);
  return { transport, links, identity, counters, port: server.address?.port ?? 0 };
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
