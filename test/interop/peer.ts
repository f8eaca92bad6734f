import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureVenv, type ReferenceVersion } from '../venv.ts';
import { PeerProcess } from './process.ts';
import type {
  Announce,
  Answer,
  DeliveryState,
  LinkState,
  Payload,
  PeerEvent,
  PeerEventOf,
  Proven,
  ReceivedMessage,
  ResourceEnd,
  SentMessage,
  Wire,
} from './wire.ts';

/** One interface of a Python peer. A server with no port takes a free one; `options` go into its config section. */
export type PeerInterface =
  | {
      readonly type: 'server';
      readonly port?: number;
      readonly options?: Readonly<Record<string, string | number>>;
    }
  | {
      readonly type: 'client';
      readonly host?: string;
      readonly port: number;
      readonly options?: Readonly<Record<string, string | number>>;
    }
  | {
      readonly type: 'lan' | 'udp';
      readonly options?: Readonly<Record<string, string | number>>;
    }
  | {
      readonly type: 'rnode' | 'serial' | 'kiss' | 'pipe';
      readonly options: Readonly<Record<string, string | number>>;
    };

export interface PeerOptions {
  readonly version?: ReferenceVersion;
  /** The first connect of a client happens inside start: what it dials must listen already, or 5 s pass. */
  readonly interfaces?: readonly PeerInterface[];
  readonly transport?: boolean;
  readonly displayName?: string;
  readonly stampCost?: number;
  readonly enforceStamps?: boolean;
  readonly ratchets?: boolean;
  /** Largest message this peer accepts over a link, kB. */
  readonly deliveryLimit?: number;
  /** Where identity, paths and ratchets are kept; without one a temporary directory, removed at the end. */
  readonly directory?: string;
  /** The 64-byte private key file; `identity` in the directory without one. Made if it does not exist. */
  readonly identityFile?: string;
  /** Seconds until a lost connection is dialled again; the reference's own is 5. */
  readonly reconnectWait?: number;
  /** Seconds between attempts to deliver a message; the reference's own is 10. */
  readonly retryWait?: number;
  /** More keys of the `[reticulum]` section. */
  readonly reticulum?: Readonly<Record<string, string | number>>;
  /** 0 critical … 7 extreme; 4 without one. */
  readonly loglevel?: number;
  /** A program in front of it, such as what enters a network namespace, and its arguments. */
  readonly under?: readonly string[];
}

export interface SendOptions {
  readonly to: string;
  readonly content?: string | { readonly hex: string };
  readonly title?: string | { readonly hex: string };
  readonly fields?: Readonly<Record<string, Wire>>;
  readonly method?: 'opportunistic' | 'direct' | 'propagated';
  readonly replyTo?: string;
  /** Seconds. */
  readonly timestamp?: number;
  readonly includeTicket?: boolean;
  /** ms to wait for an announce of a recipient who is not known yet; 15 s without one. */
  readonly timeout?: number;
}

/** `start` of the peer: hashes are hex; `ports` has one entry for each interface, null for clients. */
interface Started {
  readonly identity: string;
  readonly publicKey: string;
  readonly destination: string;
  readonly transport: string;
  readonly ports: readonly (number | null)[];
  readonly rns: string;
  readonly lxmf: string;
}

const patience = 20_000;

/**
 * Why tests against this reference cannot run here, for node:test's `skip`; false when they can.
 * Never a reason when `CI` is set: then a missing Python fails.
 */
export async function missingReference(version: ReferenceVersion): Promise<string | false> {
  return (await ensureVenv(version)) === undefined ? `rns ${version} is not available` : false;
}

/** Starts a reference LXMF node in a process of its own. Dispose it with `await using`. */
export async function startPeer(options: PeerOptions = {}): Promise<Peer> {
  const { version = '1.5.7', directory, under, ...params } = options;
  const python = await ensureVenv(version);
  if (python === undefined) throw new Error(`rns ${version} is not available`);
  const configdir = directory ?? (await mkdtemp(join(tmpdir(), 'kos-peer-')));
  const child = new PeerProcess(python, join(import.meta.dirname, 'peer.py'), under);
  try {
    const started = (await child.ask('start', { ...params, configdir }, 30_000)) as Started;
    return new Peer(child, started, configdir, directory === undefined);
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
}

/** A running reference node. Methods reject with the peer's error and the end of its log; timeouts are in ms. */
export class Peer implements AsyncDisposable {
  readonly identity: string;
  readonly publicKey: string;
  /** Its LXMF delivery destination. */
  readonly destination: string;
  /** The identity hash under which it forwards as a transport node. */
  readonly transport: string;
  readonly version: { readonly rns: string; readonly lxmf: string };
  readonly directory: string;
  readonly #child: PeerProcess;
  readonly #ports: readonly (number | null)[];
  readonly #temporary: boolean;

  constructor(child: PeerProcess, started: Started, directory: string, temporary: boolean) {
    this.#child = child;
    this.identity = started.identity;
    this.publicKey = started.publicKey;
    this.destination = started.destination;
    this.transport = started.transport;
    this.version = { rns: started.rns, lxmf: started.lxmf };
    this.directory = directory;
    this.#ports = started.ports;
    this.#temporary = temporary;
  }

  /** The port of its first server interface. */
  get port(): number {
    const port = this.#ports.find(one => one !== null);
    if (port === undefined || port === null) throw new Error('this peer listens on no port');
    return port;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Events that nobody has taken yet. */
  get events(): readonly PeerEvent[] {
    return this.#child.events;
  }

  /** Takes the first event that `wanted` accepts, past or to come. */
  waitFor<Wanted extends PeerEvent>(
    wanted: (event: PeerEvent) => event is Wanted,
    timeout = patience,
  ): Promise<Wanted> {
    return this.#child.waitFor(wanted, timeout);
  }

  /** Takes the next event of one kind, past or to come, that `where` accepts. */
  next<Kind extends PeerEvent['event']>(
    kind: Kind,
    where: (event: PeerEventOf<Kind>) => boolean = () => true,
    timeout = patience,
  ): Promise<PeerEventOf<Kind>> {
    const wanted = (event: PeerEvent): event is PeerEventOf<Kind> =>
      event.event === kind && where(event as PeerEventOf<Kind>);
    return this.#child.waitFor(wanted, timeout);
  }

  /** Announces the LXMF destination, or another one of this peer. */
  async announce(of: { readonly destination?: string; readonly appData?: string } = {}): Promise<void> {
    await this.#ask('announce', of);
  }

  /** Hands a message to the router; requests the path first where nothing is known of the recipient. */
  send(message: SendOptions): Promise<SentMessage> {
    const { timeout = 15_000 } = message;
    return this.#ask('send', { ...message, timeout: timeout / 1000 }, timeout);
  }

  state(hash: string): Promise<SentMessage> {
    return this.#ask('state', { hash });
  }

  /** Waits until a sent message has ended, and gives the end; or its state after `timeout`. */
  delivered(hash: string, timeout = 30_000): Promise<DeliveryState> {
    return this.#ask('delivered', { hash, timeout: timeout / 1000 }, timeout);
  }

  async cancel(hash: string): Promise<void> {
    await this.#ask('cancel', { hash });
  }

  /** Every message accepted so far, in order. */
  received(): Promise<readonly ReceivedMessage[]> {
    return this.#ask('received', {});
  }

  announces(): Promise<readonly Announce[]> {
    return this.#ask('announces', {});
  }

  async stampCost(cost: number | null): Promise<void> {
    await this.#ask('stamp_cost', { cost });
  }

  /** Sends a message that is wrong in one way; `source` needs the hash it pretends to be from. */
  forge(
    message: SendOptions & {
      readonly kind: 'signature' | 'source' | 'stranger' | 'garbage';
      readonly source?: string;
    },
  ): Promise<SentMessage & { readonly sender: string }> {
    const { timeout = 15_000 } = message;
    return this.#ask('forge', { ...message, timeout: timeout / 1000 }, timeout);
  }

  path(to: string): Promise<{ known: boolean; hops: number | null; via: string | null }> {
    return this.#ask('path', { to });
  }

  requestPath(
    to: string,
    timeout = 15_000,
  ): Promise<{ known: boolean; hops: number | null; via: string | null }> {
    return this.#ask('request_path', { to, timeout: timeout / 1000 }, timeout);
  }

  forgetPath(to: string): Promise<boolean> {
    return this.#ask('forget_path', { to });
  }

  recall(
    to: string,
  ): Promise<{ identity: string; publicKey: string; appData: string | null; ratchet: string | null } | null> {
    return this.#ask('recall', { to });
  }

  /** Registers one more destination, such as `app.echo`, with the request handlers /echo, /size and /nothing. */
  async addDestination(
    name: string,
    how: { readonly proof?: 'none' | 'app' | 'all'; readonly ratchets?: boolean } = {},
  ): Promise<string> {
    const made = await this.#ask<{ destination: string }>('destination', { name, ...how });
    return made.destination;
  }

  /** Sends one packet to a destination of that name and waits for its proof. */
  packet(to: string, name: string, what: Payload, timeout = 15_000): Promise<Proven> {
    return this.#ask('packet', { to, name, ...what, timeout: timeout / 1000 }, timeout);
  }

  /** Registers a group, or a plain destination where there is no key (hex); its hash. */
  async addShared(name: string, key?: string): Promise<string> {
    const { destination } = await this.#ask<{ destination: string }>('shared', { name, key: key ?? null });
    return destination;
  }

  /** Sends to a group or a plain destination that was registered there. */
  sendShared(destination: string, text: string): Promise<boolean> {
    return this.#ask('shared_send', { destination, text });
  }

  openLink(to: string, name: string, timeout = 15_000): Promise<LinkState> {
    return this.#ask('link_open', { to, name, timeout: timeout / 1000 }, timeout);
  }

  linkState(link: string): Promise<LinkState> {
    return this.#ask('link_state', { link });
  }

  /** Sends one packet over a link, whichever side opened it, and waits for its proof. */
  sendOnLink(link: string, what: Payload, timeout = 15_000): Promise<Proven> {
    return this.#ask('link_send', { link, ...what, timeout: timeout / 1000 }, timeout);
  }

  /** Proves what arrives on a link that this peer has opened, which it does not do on its own. */
  async proveOnLink(link: string): Promise<void> {
    await this.#ask('link_prove_all', { link });
  }

  async identify(link: string): Promise<void> {
    await this.#ask('link_identify', { link });
  }

  /** Opens the channel of a link: what comes is an event, and with `echo` is sent back. */
  openChannel(link: string, echo = false): Promise<{ mdu: number }> {
    return this.#ask('channel_open', { link, echo });
  }

  /** Sends messages, and waits until all are proven. */
  sendOnChannel(
    link: string,
    texts: readonly string[],
    timeout = 60_000,
  ): Promise<{ delivered: boolean; window: number }> {
    return this.#ask('channel_send', { link, texts, timeout: timeout / 1000 }, timeout * 2);
  }

  /** What the channel of a link waits for. */
  channelState(
    link: string,
  ): Promise<{ next: number; held: readonly number[]; sending: readonly (readonly [number, number])[] }> {
    return this.#ask('channel_state', { link });
  }

  /** Reads a stream to its end, which is an event. */
  async readStream(link: string, stream: number): Promise<void> {
    await this.#ask('buffer_read', { link, stream });
  }

  /** Writes a stream and its end, and waits until all is proven. */
  writeStream(
    link: string,
    stream: number,
    what: Payload,
    timeout = 60_000,
  ): Promise<{ delivered: boolean; size: number; sha256: string }> {
    return this.#ask('buffer_write', { link, stream, ...what, timeout: timeout / 1000 }, timeout * 2);
  }

  request(link: string, path: string, data: Wire = null, timeout = 30_000): Promise<Answer> {
    return this.#ask('link_request', { link, path, data, timeout: timeout / 1000 }, timeout);
  }

  sendResource(
    link: string,
    what: Payload,
    how: { readonly compress?: boolean; readonly metadata?: Wire; readonly timeout?: number } = {},
  ): Promise<ResourceEnd> {
    const timeout = how.timeout ?? 120_000;
    return this.#ask('resource_send', { link, ...what, ...how, timeout: timeout / 1000 }, timeout);
  }

  /** Cancels what is on its way over a link, in either direction; gives how many there were. */
  cancelResources(link: string): Promise<number> {
    return this.#ask('resource_cancel', { link });
  }

  /** Refuses every Resource advertised on a link from now on. */
  async refuseResources(link: string): Promise<void> {
    await this.#ask('link_refuse', { link });
  }

  async closeLink(link: string): Promise<void> {
    await this.#ask('link_close', { link });
  }

  /** Puts bytes on the wire as one frame; gives the number of interfaces and repeats they went out on. */
  inject(hex: string, times = 1): Promise<number> {
    return this.#ask('inject', { hex, times });
  }

  /** Sends the last packet to a destination (or the last of all) again, byte for byte. */
  replay(how: { readonly destination?: string; readonly times?: number } = {}): Promise<{ hex: string }> {
    return this.#ask('replay', how);
  }

  /** Puts an identity on this peer's blackhole list; `until` in s since 1970. */
  blackhole(
    identity: string,
    how: { readonly until?: number; readonly reason?: string } = {},
  ): Promise<boolean> {
    return this.#ask('blackhole', { identity, ...how });
  }

  /** Whose announces this peer leaves out, and whose list says so; identity hashes. */
  blackholed(): Promise<Readonly<Record<string, string>>> {
    return this.#ask('blackholed', {});
  }

  /** Interfaces that others announced. */
  discovered(): Promise<readonly Readonly<Record<string, string | number | boolean | null>>[]> {
    return this.#ask('discovered', {});
  }

  /** Breaks every TCP connection of this peer; gives how many there were. */
  cut(): Promise<number> {
    return this.#ask('cut', {});
  }

  stats(): Promise<{
    links: number;
    paths: number;
    announcesHeard: number;
    packetsSent: number;
    interfaces: readonly Readonly<Record<string, Wire>>[];
  }> {
    return this.#ask('stats', {});
  }

  /** Stops it as its user would, so that paths, identities and ratchets are saved for a peer in the same directory. */
  async stop(): Promise<void> {
    await this.#ask('stop', {});
    await this.#child[Symbol.asyncDispose]();
  }

  /** Ends it as a power cut would. */
  kill(): Promise<void> {
    return this.#child.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
    if (this.#temporary) await rm(this.directory, { recursive: true, force: true });
  }

  async #ask<Result>(command: string, params: object, timeout = patience): Promise<Result> {
    return (await this.#child.ask(command, params, timeout + 10_000)) as Result;
  }
}
