/**
 * The contract between a medium and the mesh. A radio, a socket or a LAN implements Interface and
 * knows nothing of what it carries; the mesh gives it an InterfacePort and knows nothing of sockets.
 * An Interface does not reconnect: when its medium is lost, `run` rejects and the supervisor runs it
 * again. How the mesh uses it (mode, access code, caps) is not its business but the attacher's.
 */
export interface Interface {
  /** Unique in this node and stable over restarts: paths are remembered under it. */
  readonly name: string;
  /** Largest packet it can carry, in bytes. */
  readonly mtu: number;
  /** Estimated bit/s: announces are paced by it. */
  readonly bitrate: number;
  /** It only finds peers: what is sent goes to those it attaches, never to itself. */
  readonly listens?: boolean;
  /**
   * It dials the same far end again whenever the connection is lost: ways over it are to outlive a connection, at the
   * other end too.
   */
  readonly dials?: boolean;
  /** Anybody may be heard on it, so that nobody is its far end: a radio, a LAN, datagrams. */
  readonly shared?: boolean;
  /**
   * Opens the medium, calls `port.ready()`, receives until the signal. Resolves after a stop;
   * rejects with `radio/offline` or `radio/device` when the medium is lost. Leaves nothing open.
   */
  run(port: InterfacePort, signal: AbortSignal): Promise<void>;
  /**
   * Resolves when the medium has taken the packet (not when it arrived), which is how it slows its
   * sender down. Rejects with `radio/offline` if it is not ready. The bytes are not changed or kept.
   * A medium that rations what is sent goes by `burden`; without a word of it the packet is our own. One that has
   * taken it before it returns may give `taken`: whoever carries many packets need not wait for that.
   */
  send(packet: Uint8Array, burden?: Burden): Promise<void>;
  /** ms until a packet handed over now is out, where others wait before it: answers come as much later. Default 0. */
  readonly backlog?: number;
  /**
   * Why a message of so many bytes should not be begun now, where the medium rations what is sent over it.
   * Nothing is booked: it is a word to whoever is about to begin.
   */
  hold?(bytes: number, urgency: Urgency): Hold | undefined;
}

/** What `Interface.send` may give where the medium has the packet already. */
export const taken: Promise<void> = Promise.resolve();

/**
 * For whom a packet is sent: `own` is what our messages, links and answers need, `announce` says that we are
 * here, `relayed` is carried for others, and `hearsay` is what is told and asked about others: their announces, ways
 * to them and searches for them.
 */
export type Burden = 'own' | 'announce' | 'relayed' | 'hearsay';

/** How soon a message is wanted, from the most to the least. */
export type Urgency = 'critical' | 'high' | 'normal' | 'bulk';

/** A medium has no room for a message. */
export interface Hold {
  /** ms until there is room; undefined where there never is: the message is too large for the ration. */
  readonly delay: number | undefined;
}

export interface InterfacePort {
  /** The medium is open: packets can be sent. */
  ready(): void;
  /**
   * One whole unframed packet; the bytes change owner. A promise is back-pressure: the medium reads
   * no further until it resolves.
   */
  receive(packet: Uint8Array, quality?: Quality): void | Promise<void>;
  /** A listener or a LAN found a peer: it is run, supervised once, and detached when its run ends. */
  attach(peer: Interface): void;
}

export interface Quality {
  /** dBm */
  readonly rssi?: number;
  /** dB */
  readonly snr?: number;
  /** % of what the medium could do at its best, where it says so. */
  readonly q?: number;
}
