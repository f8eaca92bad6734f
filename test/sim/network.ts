import { GatewayError } from '../../src/lib/errors.ts';
import type {
  AdapterAddress,
  Adapters,
  DatagramOptions,
  DatagramSource,
  Datagrams,
  Network,
} from '../../src/radio/network.ts';

interface Port {
  readonly machine: SimMachine;
  readonly adapter: string;
  readonly address: string;
  readonly index: number;
}

/** A network segment: what is said to a group reaches every adapter on it, the speaker's own too. */
export class SimLink {
  /** Drops what is said to groups, as a firewall does. */
  dropsMulticast = false;
  readonly #ports = new Set<Port>();

  add(port: Port): void {
    this.#ports.add(port);
  }

  delete(port: Port): void {
    this.#ports.delete(port);
  }

  carry(bytes: Uint8Array, from: Port, to: string, port: number): void {
    const group = to.startsWith('ff');
    if (group && this.dropsMulticast) {
      return;
    }
    for (const there of this.#ports) {
      if (group || there.address === to) {
        const copy = bytes.slice();
        setImmediate(() => there.machine.hear(there, to, port, copy, from));
      }
    }
  }
}

interface SimSocket {
  readonly options: DatagramOptions;
  readonly adapter: string;
  readonly index: number;
  joined: boolean;
}

/** A machine with network adapters that are plugged in and out: IPv6 link-local addresses and UDP, no more. */
export class SimMachine implements Network {
  /** Adapters without a cable that makes a difference. */
  readonly others: Record<string, AdapterAddress[]> = {};
  readonly #ports = new Map<string, { readonly port: Port; readonly link: SimLink }>();
  readonly #sockets = new Set<SimSocket>();
  #plugged = 0;
  #free = 50_000;

  /** Sockets open now. */
  get sockets(): number {
    return this.#sockets.size;
  }

  plug(adapter: string, link: SimLink, address: string): void {
    this.unplug(adapter);
    const port = { machine: this, adapter, address, index: ++this.#plugged };
    this.#ports.set(adapter, { port, link });
    link.add(port);
  }

  unplug(adapter: string): void {
    const plugged = this.#ports.get(adapter);
    this.#ports.delete(adapter);
    plugged?.link.delete(plugged.port);
  }

  /** Every socket of an adapter says that it is broken. */
  breakSockets(adapter: string): void {
    for (const socket of this.#sockets) {
      if (socket.adapter === adapter) {
        socket.options.failed(new GatewayError('radio/offline', 'broken', { retryable: true }));
      }
    }
  }

  adapters(): Adapters {
    const plugged = [...this.#ports].map(([name, { port }]): [string, AdapterAddress[]] => [
      name,
      [{ address: port.address, family: 'IPv6', internal: false, scopeid: port.index }],
    ]);
    return { ...this.others, ...Object.fromEntries(plugged) };
  }

  async open(options: DatagramOptions): Promise<Datagrams> {
    const [bare = '', zone] = options.address.split('%');
    const adapter = zone ?? options.join?.adapter ?? '';
    const index = this.#ports.get(adapter)?.port.index;
    if (index === undefined) {
      throw new GatewayError('radio/offline', 'this machine does not have that address', { retryable: true });
    }
    const port = options.port === 0 ? this.#free++ : options.port;
    const taken = [...this.#sockets].some(
      ({ options: other }) =>
        other.address === options.address && other.port === port && !(other.shared && options.shared),
    );
    if (taken) {
      throw new GatewayError('radio/offline', 'the port is in use by another program', { retryable: true });
    }
    const socket = { options: { ...options, port }, adapter, index, joined: options.join !== undefined };
    this.#sockets.add(socket);
    return {
      address: bare,
      port,
      send: async (bytes, to, where) => this.#send(socket, bytes, to, where),
      rejoin: () => {
        socket.joined = true;
      },
      close: async () => void this.#sockets.delete(socket),
    };
  }

  async route(): Promise<void> {}

  /** Forgets who joined which group, as a kernel may. */
  forgetGroups(): void {
    for (const socket of this.#sockets) {
      socket.joined = false;
    }
  }

  /** A datagram reached an adapter. */
  hear(port: Port, to: string, number: number, bytes: Uint8Array, from: Port): void {
    const source: DatagramSource = { address: `${from.address}%${port.adapter}`, port: number };
    for (const { options, index, joined } of [...this.#sockets]) {
      const [bare = ''] = options.address.split('%');
      if (
        index === port.index &&
        options.port === number &&
        bare === to &&
        (joined || !to.startsWith('ff'))
      ) {
        options.receive(bytes.slice(), source);
      }
    }
  }

  #send(socket: SimSocket, bytes: Uint8Array, port: number, where: string): void {
    const [bare = '', zone = socket.options.multicastBy ?? socket.adapter] = where.split('%');
    const plugged = this.#ports.get(zone);
    if (!this.#sockets.has(socket) || plugged === undefined || plugged.port.index !== socket.index) {
      throw new GatewayError('radio/offline', 'network unreachable', { retryable: true });
    }
    plugged.link.carry(bytes, plugged.port, bare, port);
  }
}
