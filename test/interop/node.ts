import assert from 'node:assert/strict';
import { toHex } from '../../src/lib/bytes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../src/mesh/reticulum/incoming-budget.ts';
import type { InterfacePolicy } from '../../src/mesh/reticulum/interface-policy.ts';
import type { Link } from '../../src/mesh/reticulum/link-session.ts';
import { Links } from '../../src/mesh/reticulum/links.ts';
import { Transport } from '../../src/mesh/reticulum/transport.ts';
import { TcpClient } from '../../src/radio/tcp-client.ts';
import { TcpServer } from '../../src/radio/tcp-server.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';

/** A node of ours with links; everything that comes over them is kept. */
export class Node implements AsyncDisposable {
  readonly counters = new Counters();
  readonly transport: Transport;
  readonly links: Links;
  readonly destination: LocalDestination;
  readonly received: string[] = [];
  readonly resources: Uint8Array[] = [];
  /** What others have opened to it. */
  readonly incoming: Link[] = [];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[] = [];

  constructor(forwards: boolean) {
    const identity = generateIdentity(systemRandom);
    const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters: this.counters };
    this.transport = new Transport({ ...parts, storage: new MemoryStorage(), identity, forwards });
    this.links = new Links({ ...parts, transport: this.transport, budget: new IncomingBudget() });
    this.transport.useLinks(this.links);
    this.destination = new LocalDestination({
      identity,
      appName: 'app',
      aspects: ['echo'],
      proofStrategy: 'all',
      onPacket: ({ data }) => this.received.push(toHex(data)),
    });
    this.transport.register(this.destination);
    this.links.accept(this.destination, {
      onLink: link => {
        this.incoming.push(link);
        return {
          onPacket: ({ data, prove }) => {
            this.received.push(toHex(data));
            prove();
          },
          onResourceOffer: () => ({
            onResource: ({ data, prove }) => {
              this.resources.push(data);
              prove();
            },
          }),
        };
      },
    });
  }

  async listen(policy: InterfacePolicy = {}): Promise<number> {
    const parts = { clock: systemClock, counters: this.counters };
    const server = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0 }, parts);
    await this.#run(server, policy);
    assert.ok(server.address);
    return server.address.port;
  }

  async dial(port: number): Promise<void> {
    await this.#run(new TcpClient({ name: 'uplink', host: '127.0.0.1', port }, { clock: systemClock }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.links.close();
    this.#stop.abort();
    await Promise.allSettled(this.#running);
    await this.transport.close();
  }

  async #run(iface: TcpServer | TcpClient, policy: InterfacePolicy = {}): Promise<void> {
    const up = Promise.withResolvers<void>();
    this.#running.push(this.transport.attach(iface, policy).service.run(up.resolve, this.#stop.signal));
    await up.promise;
  }
}
